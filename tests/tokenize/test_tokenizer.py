"""Codes of made-up vectors: clusters of clusters, so that what is right is known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seqrec.errors import TokenizerError
from seqrec.models import SemanticIds
from seqrec.store import Sequences
from seqrec.tokenize import (
    CoOccurrenceVectorSettings,
    RqKMeansSettings,
    RqVaeSettings,
    Tokenizer,
    co_occurrence_vectors,
)
from seqrec.tokenize.collisions import separate
from seqrec.tokenize.kmeans import kmeans, nearest
from seqrec.tokenize.quantizer import residual_codes

CORNERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
SMALLER = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
BOOKS = torch.stack([CORNERS, SMALLER])


def vectors_in_clusters(each: int = 3) -> Tensor:
    """4 clusters of 4 clusters of ``each`` vectors."""
    noise = 0.01 * torch.randn(16 * each, 2, generator=torch.Generator().manual_seed(0))
    return (CORNERS[:, None] + SMALLER).flatten(0, 1).repeat_interleave(each, 0) + noise


def test_k_means_finds_the_clusters_and_repeats() -> None:
    vectors = vectors_in_clusters()
    centres = kmeans(vectors, 4, "test")
    assert torch.equal(centres, kmeans(vectors, 4, "test"))
    for corner in CORNERS:
        assert float((centres - corner).norm(dim=1).min()) < 0.1
    distances, labels = nearest(vectors, centres)
    assert torch.bincount(labels).tolist() == [12] * 4
    assert float(distances.max()) < 1.2


def test_k_means_of_equal_vectors_ends() -> None:
    centres = kmeans(torch.ones(5, 2), 3, "test")
    assert torch.equal(centres, torch.ones(3, 2))


def test_separated_codes_cost_least_of_all_that_differ() -> None:
    rows = torch.tensor([[0.9, 0.1], [0.8, 0.0], [1.0, 0.1]])  # all of the corner 0 and nearest to its code 0
    codes = separate(rows, BOOKS)
    assert (codes[:, 0] == 0).all()

    def cost(last: tuple[int, ...]) -> float:
        return float((rows - SMALLER[list(last)]).square().sum())

    best = min(itertools.permutations(range(4), 3), key=cost)
    assert codes[:, 1].tolist() == list(best)


def test_ids_that_are_taken_are_not_given_again() -> None:
    rows = torch.tensor([[0.9, 0.1]])
    assert separate(rows, BOOKS).tolist() == [[0, 0]]
    assert separate(rows, BOOKS, taken=torch.tensor([[0, 0], [1, 2]])).tolist() == [[0, 2]]


def test_what_does_not_fit_below_a_code_goes_to_the_next_nearest() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.5, 0.5], [3.0, 0.0]])  # five items, four last codes
    codes = separate(rows, BOOKS)
    assert codes[:4, 0].tolist() == [0] * 4
    assert codes[4, 0] == 1  # the nearest to another corner
    assert len(torch.unique(codes, dim=0)) == 5


def test_too_many_items_for_the_ids_are_refused() -> None:
    with pytest.raises(TokenizerError, match="items share the codes"):
        separate(torch.zeros(17, 2), BOOKS)


@pytest.mark.parametrize(
    "settings",
    [
        RqKMeansSettings(levels=2, codes=8),
        RqVaeSettings(kind="rq_vae", levels=2, codes=8, width=2, epochs=30, lr=3e-3),
    ],
    ids=["rq_kmeans", "rq_vae"],
)
def test_a_tokenizer_names_items_and_is_read_back_to_name_new_ones(
    tmp_path: Path, settings: RqKMeansSettings | RqVaeSettings
) -> None:
    vectors = vectors_in_clusters()
    blocks = [vectors, torch.arange(48.0).unsqueeze(1)]
    tokenizer, report = Tokenizer.train(blocks, settings, weights=[1.0, 0.1], seed=0)
    again, _ = Tokenizer.train(blocks, settings, weights=[1.0, 0.1], seed=0)
    assert torch.equal(tokenizer.ids.codes, again.ids.codes)
    assert len(torch.unique(tokenizer.ids.codes, dim=0)) == report.items == 48
    joined = tokenizer.blocks.joined(blocks)
    plain, _ = residual_codes(tokenizer.quantizer.latents(joined), tokenizer.quantizer.codebooks)
    assert report.ids_before == len(torch.unique(plain, dim=0)) < 48
    assert report.moved == int((plain != tokenizer.ids.codes).any(1).sum())
    assert report.error_before <= report.error_after < 0.5
    assert [level.used for level in report.levels] == [len(set(row)) for row in tokenizer.ids.codes.T.tolist()]

    folder = tokenizer.save(tmp_path / "ids", {"made": "of clusters"})
    assert torch.equal(SemanticIds.read(folder).codes, tokenizer.ids.codes)
    read = Tokenizer.read(folder)
    new = [vectors[:2] + 0.01, None]  # of what is not known, the mean
    codes = read.encode(new)
    assert torch.equal(codes, tokenizer.encode(new))
    assert len(torch.unique(torch.cat([tokenizer.ids.codes, codes]), dim=0)) == 50
    for wrong in ([None, None], [vectors], [vectors, vectors]):
        with pytest.raises(TokenizerError, match=r"vectors of widths \[.*\] for a tokenizer of \[2, 1\]"):
            read.encode(wrong)
    with pytest.raises(TokenizerError, match="there are semantic ids already"):
        tokenizer.save(folder, {})
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]


def test_codes_that_cannot_name_the_items_are_refused() -> None:
    with pytest.raises(TokenizerError, match=r"48 items are more than the 36 ids of 2 codes, each of 6"):
        Tokenizer.train([vectors_in_clusters()], RqKMeansSettings(levels=2, codes=6), weights=[1.0], seed=0)
    with pytest.raises(TokenizerError, match=r"48 items are fewer than the 256 codes of a level\n.*set it to 7, say"):
        Tokenizer.train([vectors_in_clusters()], RqKMeansSettings(), weights=[1.0], seed=0)


def test_items_that_are_met_together_are_near_and_others_zero() -> None:
    rows = [[1, 2, 3, 1, 2], [2, 3, 1], [4, 5, 6, 5], [6, 4, 5], [7]]  # two groups, and one item alone
    lengths = [len(row) for row in rows]
    sequences = Sequences(
        rows=np.arange(5), offsets=np.cumsum([0, *lengths]), items=np.concatenate(rows).astype(np.int32)
    )
    vectors = co_occurrence_vectors([sequences], 7, CoOccurrenceVectorSettings(kind="co_occurrence", width=3))
    similar = torch.nn.functional.normalize(vectors, dim=1) @ torch.nn.functional.normalize(vectors, dim=1).T
    assert float(similar[:3, 3:6].abs().max()) < 1e-5
    assert float(similar[0, 1]) > 0.3
    assert float(vectors[6].norm()) < 1e-6


def test_repeats_of_one_item_are_no_co_occurrence() -> None:
    settings = CoOccurrenceVectorSettings(kind="co_occurrence", width=2)
    repeats = Sequences(np.arange(2), np.array([0, 2, 3]), np.array([1, 1, 2], np.int32))
    with pytest.raises(TokenizerError, match="no two items lie within"):
        co_occurrence_vectors([repeats], 4, settings)


def test_a_vector_that_is_not_finite_is_named() -> None:
    vectors = vectors_in_clusters()
    vectors[3, 1] = torch.nan
    with pytest.raises(TokenizerError, match=r"(?s)not finite.*of item 4"):
        Tokenizer.train([vectors], RqKMeansSettings(levels=2, codes=8), weights=[1.0], seed=0)


def test_ids_replace_nothing_but_ids(tmp_path: Path) -> None:
    tokenizer, _ = Tokenizer.train([vectors_in_clusters()], RqKMeansSettings(levels=2, codes=8), weights=[1.0], seed=0)
    (tmp_path / "empty").mkdir()
    folder = tokenizer.save(tmp_path / "empty", {"made": "first"})
    tokenizer.save(folder, {"made": "again"}, replace=True)
    assert json.loads((folder / "tokenizer.json").read_text()) == {"made": "again"}
    (folder / "precious.txt").touch()
    with pytest.raises(TokenizerError, match=r"(?s)something else than semantic ids.*precious\.txt"):
        tokenizer.save(folder, {}, replace=True)
    assert (folder / "precious.txt").exists()


def test_ids_alone_are_no_tokenizer(tmp_path: Path) -> None:
    tokenizer, _ = Tokenizer.train([vectors_in_clusters()], RqKMeansSettings(levels=2, codes=8), weights=[1.0], seed=0)
    folder = tokenizer.save(tmp_path / "ids", {})
    save_file({"codes": tokenizer.ids.codes, "sizes": tokenizer.ids.sizes}, folder / "codes.safetensors")
    with pytest.raises(TokenizerError, match=r"only ids"):
        Tokenizer.read(folder)
