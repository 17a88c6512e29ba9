from __future__ import annotations

import json

from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts

RESULT = EvaluationResult(
    protocol={"split": "leave-one-out", "seen_items": "filter"},
    counts=UserCounts(1234, {"no event after the cut": 850, "no history": 0}, 17),
    model={"ndcg@10": MetricValue(0.05432, 0.0501, 0.0585), "popularity@10": MetricValue(1234.56, 1200.0, 1300.0)},
    baselines={"popular": {"ndcg@10": MetricValue(0.01, 0.008, 0.012)}, "item_knn": {}},
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
        "model": {"ndcg@10": 0.05432, "popularity@10": 1234.56},
        "baselines": {"popular": {"ndcg@10": 0.01}, "item_knn": {}},
        "intervals": {
            "model": {"ndcg@10": [0.0501, 0.0585], "popularity@10": [1200.0, 1300.0]},
            "popular": {"ndcg@10": [0.008, 0.012]},
            "item_knn": {},
        },
    }
