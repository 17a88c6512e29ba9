from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrec.errors import UnknownIdError
from seqrec.event_columns import NO_COLUMNS
from seqrec.export import Encoded
from seqrec.export.scoring import history_scores
from seqrec.models import ModelSettings, SequenceModel, build_model
from seqrec.ranking import Diversifier, Diversity, VectorSimilarity
from seqrec.serving import Recommendation, Recommender
from seqrec.serving import recommender as module

N_ITEMS = 9
ITEM_IDS = [f"-{item}" for item in range(1, N_ITEMS + 1)]
COUNTS = np.array([3, 0, 5, 5, 1, 0, 2, 9, 4])
MAX_LENGTH = 4


def build(kind: str = "gpt2") -> SequenceModel:
    torch.manual_seed(0)
    values = {"backbone": {"kind": kind, "layers": 1, "width": 8}, "items": {"width": 8, "init_std": 1.0}}
    head = {"head": {"kind": "masked_item"}} if kind == "bert" else {}
    model_settings = ModelSettings.model_validate(values | head)
    return build_model(model_settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=1)


MODEL = build()


def recommender(seen: str = "filter", model: SequenceModel = MODEL) -> Recommender:
    return Recommender(model, ITEM_IDS, seen=seen, max_length=MAX_LENGTH, popular=COUNTS)  # type: ignore[arg-type]


def expected(items: list[int], k: int, *, filtered: bool, model: SequenceModel = MODEL) -> list[tuple[str, float]]:
    scores = history_scores(model, [Encoded(torch.tensor(items), NO_COLUMNS)], max_length=MAX_LENGTH)[0].tolist()
    left = [i for i in range(1, N_ITEMS + 1) if not (filtered and i in items)]
    return [(ITEM_IDS[i - 1], scores[i - 1]) for i in sorted(left, key=lambda i: -scores[i - 1])[:k]]


@settings(max_examples=30, deadline=None)
@given(
    histories=st.lists(st.lists(st.integers(1, N_ITEMS), min_size=1, max_size=12), min_size=1, max_size=6),
    k=st.integers(1, 12),
    seen=st.sampled_from(["filter", "allow"]),
)
def test_slates_are_the_best_scores_of_each_history_alone(histories: list[list[int]], k: int, seen: str) -> None:
    slates = recommender(seen).recommend([[ITEM_IDS[i - 1] for i in items] for items in histories], k)
    for items, slate in zip(histories, slates, strict=True):
        best = expected(items, k, filtered=seen == "filter")
        assert [entry.item_id for entry in slate] == [item_id for item_id, _ in best]
        assert [entry.score for entry in slate] == pytest.approx([score for _, score in best], abs=1e-5)
        assert all(entry.fallback is None for entry in slate)


def test_lists_are_re_ranked_and_keep_the_models_scores() -> None:
    scores = {one.item_id: one.score for one in recommender().recommend([["-5", "-1"]], 99)[0]}
    slates = []
    for weight in (1.0, 0.0):
        diversifier = Diversifier(Diversity("mmr", weight), VectorSimilarity.of(MODEL.item_vectors()))
        diverse = Recommender(
            MODEL, ITEM_IDS, seen="filter", max_length=MAX_LENGTH, popular=COUNTS, diversifier=diversifier
        )
        slates.append(diverse.recommend([["-5", "-1"]], 5)[0])
        assert {one.item_id: one.score for one in slates[-1]} == pytest.approx(
            {one.item_id: scores[one.item_id] for one in slates[-1]}
        )
    assert [one.item_id for one in slates[0]] == [item_id for item_id, _ in expected([5, 1], 5, filtered=True)]
    assert [one.item_id for one in slates[0]] != [one.item_id for one in slates[1]]


def test_a_masked_head_sees_one_event_less_and_never_recommends_its_mask() -> None:
    model = build("bert")
    [slate] = recommender("allow", model).recommend([["-5", "-1", "-2", "-3"]], 99)
    best = expected([1, 2, 3], 99, filtered=False, model=model)
    assert [entry.item_id for entry in slate] == [item_id for item_id, _ in best]
    assert sorted(entry.item_id for entry in slate) == ITEM_IDS


def test_a_new_user_gets_the_most_popular_items() -> None:
    [new, known] = recommender().recommend([[], ["-1"]], 4)
    assert new == [
        Recommendation("-8", 9.0, "popular"),
        Recommendation("-3", 5.0, "popular"),  # of equal counts the earlier item
        Recommendation("-4", 5.0, "popular"),
        Recommendation("-9", 4.0, "popular"),
    ]
    assert len(known) == 4
    assert known[0].fallback is None
    assert len(recommender().recommend([[]], 50)[0]) == N_ITEMS


def test_nothing_asked_nothing_given() -> None:
    assert recommender().recommend([], 5) == []


def test_a_slate_is_shorter_where_less_is_left() -> None:
    [slate] = recommender().recommend([ITEM_IDS[:7]], 5)
    assert {entry.item_id for entry in slate} == {"-8", "-9"}
    assert recommender().recommend([ITEM_IDS], 5) == [[]]


def test_events_beyond_the_input_are_filtered_but_not_seen_by_the_model() -> None:
    long, short = recommender().recommend([["-9", "-1", "-2", "-3", "-4"], ["-1", "-2", "-3", "-4"]], 9)
    assert "-9" not in {entry.item_id for entry in long}
    assert [entry for entry in short if entry.item_id != "-9"] == long


def test_an_unknown_item_offers_the_nearest_known() -> None:
    with pytest.raises(UnknownIdError, match=r"(?s)1 of 3 item ids.*'--7', the nearest known is '-7'"):
        recommender().recommend([["-1"], ["-2", "--7"]], 3)


def test_small_batches_give_the_same_slates(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [ITEM_IDS[i % 3 : i % 3 + 1 + i % 5] for i in range(20)]
    whole = recommender().recommend(histories, 3)
    monkeypatch.setattr(module, "_BATCH_EVENTS", 5)
    monkeypatch.setattr(module, "_BATCH_USERS", 3)
    for one, other in zip(whole, recommender().recommend(histories, 3), strict=True):
        assert [entry.item_id for entry in one] == [entry.item_id for entry in other]
        assert [entry.score for entry in one] == pytest.approx([entry.score for entry in other], abs=1e-5)


def test_dropout_is_off_and_the_mode_comes_back() -> None:
    model = build()
    model.train()
    first, second = (recommender(model=model).recommend([["-1", "-2"]], 5) for _ in range(2))
    assert first == second == recommender(model=build().eval()).recommend([["-1", "-2"]], 5)
    assert model.training


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="9 items, 8 item ids and 9 training counts"):
        Recommender(MODEL, ITEM_IDS[1:], seen="filter", max_length=MAX_LENGTH, popular=COUNTS)
    with pytest.raises(ValueError, match="k is 0"):
        recommender().recommend([[]], 0)
