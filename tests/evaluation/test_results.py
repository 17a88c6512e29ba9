from __future__ import annotations

import json

from seqrec.evaluation.results import EvaluationResult, MetricValue, SliceResult, UserCounts
from seqrec.evaluation.slices import Slice

RESULT = EvaluationResult(
    protocol={"split": "leave-one-out", "seen_items": "filter"},
    counts=UserCounts(1234, {"no event after the cut": 850, "no history": 0}, 17),
    model={
        "ndcg@10": MetricValue(0.05432, 0.0501, 0.0585),
        "popularity@10": MetricValue(1234.56, 1200.0, 1300.0),
        "gini@10": MetricValue(0.5),
    },
    baselines={"popular": {"ndcg@10": MetricValue(0.01, 0.008, 0.012)}, "item_knn": {}},
    slices=(SliceResult(Slice("target", "cold"), 17, {"model": {"ndcg@10": MetricValue(0.001, 0.0, 0.002)}}),),
)


def test_json_form():
    written = json.loads(json.dumps(RESULT.to_dict()))
    assert written == {
        "protocol": {"split": "leave-one-out", "seen_items": "filter"},
        "counts": {
            "users_evaluated": 1234,
            "users_left_out": {"no event after the cut": 850, "no history": 0},
            "cold_targets": 17,
        },
        "model": {"ndcg@10": 0.05432, "popularity@10": 1234.56, "gini@10": 0.5},
        "baselines": {"popular": {"ndcg@10": 0.01}, "item_knn": {}},
        "intervals": {
            "model": {"ndcg@10": [0.0501, 0.0585], "popularity@10": [1200.0, 1300.0]},
            "popular": {"ndcg@10": [0.008, 0.012]},
            "item_knn": {},
        },
        "slices": [
            {"by": "target", "slice": "cold", "users": 17, "model": {"ndcg@10": [0.001, 0.0, 0.002]}},
        ],
    }


def test_what_nobody_tells_is_null_in_json():
    unknown = MetricValue(float("nan"), float("nan"), float("nan"))
    result = EvaluationResult(protocol={}, counts=UserCounts(1, {}, 0), model={"user_auc": unknown}, baselines={})
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert written["model"] == {"user_auc": None}
    assert written["intervals"]["model"] == {"user_auc": [None, None]}
