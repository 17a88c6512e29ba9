"""A program of somebody else: a bundle's lists of semantic ids, by `transformers.generate` on its merged model."""

import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = Path(sys.argv[1])
sys.path.insert(0, str(bundle / "generate"))
from items_only import NOT_FOUND, ItemsOnly  # noqa: E402  # the bundle's own

model = AutoModelForCausalLM.from_pretrained(bundle / "generate")
tokenizer = AutoTokenizer.from_pretrained(bundle / "generate")
about = json.loads((bundle / "generate" / "ids.json").read_text())
ids, named, beams = about["ids"], {text: item for item, text in about["ids"].items()}, model.generation_config.num_beams
tokens, apart, same = tokenizer(list(ids.values())).input_ids, 0.0, True
for sample in json.loads((bundle / "samples.json").read_text())["samples"]:
    history = sample["history"][-about["max_history"] :]
    inputs = tokenizer(["".join(ids[item] for item in history)], return_tensors="pt")
    prompt = inputs.input_ids.shape[1]
    only = ItemsOnly(tokens, about["levels"], prompt, beams=beams)
    found = model.generate(**inputs, logits_processor=[only], return_dict_in_generate=True, output_scores=True)
    scores = found.sequences_scores
    texts = tokenizer.batch_decode(found.sequences[scores > NOT_FOUND, prompt:])
    expected = sample["top"]
    same &= [named[text] for text in texts[: len(expected)]] == [one["item_id"] for one in expected]
    scale = max(1.0, *(abs(one["score"]) for one in expected))
    listed = zip(scores.tolist(), expected, strict=False)
    apart = max(apart, *(abs(score - one["score"]) / scale for score, one in listed))
print(json.dumps({"apart": apart, "same": same, "foreign": sorted({"seqrec", "lightning"} & set(sys.modules))}))
