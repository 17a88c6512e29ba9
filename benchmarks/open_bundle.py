"""A program of somebody else: the scores that a bundle promises, by peft, transformers and safetensors alone."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

base, bundle = map(Path, sys.argv[1:])  # the base model's folder, and the bundle's
model = PeftModel.from_pretrained(AutoModel.from_pretrained(base, dtype=torch.float32), bundle / "adapter").eval()
tensors, item_ids = load_file(bundle / "items.safetensors"), json.loads((bundle / "items.json").read_text())
most = json.loads((bundle / "bundle.json").read_text())["max_length"] - 1  # the mask takes a place
apart = 0.0
for sample in json.loads((bundle / "samples.json").read_text())["samples"]:
    vectors = tensors["items.weight"][[item_ids.index(item) for item in sample["history"][-most:]]]
    vectors = torch.cat([vectors, tensors["items.mask"].unsqueeze(0)])
    inputs = torch.nn.functional.linear(vectors, tensors["project_in.weight"], tensors["project_in.bias"])
    with torch.no_grad():
        user = model(inputs_embeds=inputs.unsqueeze(0), use_cache=False).last_hidden_state[0, -1]
    scores = tensors["items.weight"] @ torch.nn.functional.linear(
        user, tensors["project_out.weight"], tensors["project_out.bias"]
    )
    scale = max(1.0, sample["top"][0]["score"])
    listed = [*sample["top"], *sample["others"]]
    apart = max(apart, *(abs(float(scores[item_ids.index(one["item_id"])]) - one["score"]) / scale for one in listed))
print(json.dumps({"apart": apart, "foreign": sorted({"seqrec", "lightning"} & set(sys.modules))}))
