"""A program of somebody else: a bundle's lists of semantic ids, by `transformers.generate` on its merged model."""

import json
import sys
from pathlib import Path

bundle = Path(sys.argv[1])
sys.path.insert(0, str(bundle / "generate"))
from item_generator import ItemGenerator  # noqa: E402  # the bundle's own

samples = json.loads((bundle / "samples.json").read_text())["samples"]
lists = ItemGenerator(bundle / "generate").lists([sample["history"] for sample in samples])
apart, same = 0.0, True
for sample, found in zip(samples, lists, strict=True):
    expected = [(one["item_id"], one["score"]) for one in sample["top"]]
    same &= [item for item, _ in found[: len(expected)]] == [item for item, _ in expected]
    scale = max(1.0, *(abs(score) for _, score in expected))
    apart = max(apart, *(abs(a - b) / scale for (_, a), (_, b) in zip(found, expected, strict=False)))
print(json.dumps({"apart": apart, "same": same, "foreign": sorted({"seqrec", "lightning"} & set(sys.modules))}))
