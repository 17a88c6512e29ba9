"""Items a second that semantic ids are generated at, with the trie and without, and how many ids do not exist without.

    SEQREC_DATA=… python benchmarks/decoding.py --run runs/amazon-beauty-semantic

Lists of 20 for test users of Amazon Beauty (12,101 items), by beam search over the ids that exist and over all tuples
of codes, in turn; and lists of 50 from a catalogue of 9 items, each of which must then be there once. Writes
benchmarks/results/decoding.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import write_result
from safetensors.torch import save_file
from torch import Tensor

from seqrec.models import CODES_FILE, ListRequest, ModelSettings, SemanticIdModel, build_model
from seqrec.models.semantic import Beams, BeamSearch
from seqrec.models.semantic.model import Decoder
from seqrec.recipe import Run

BEAMS, BATCH = 20, 64
FEW, MANY_BEAMS = 9, 50
Search = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/amazon-beauty-semantic"))
    parser.add_argument("--users", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=4, help="the first does not count")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = beauty(Run.open(arguments.run), arguments.users, arguments.rounds)
    print(write_result("decoding", {"beams": BEAMS, "users": arguments.users, "rows": rows, "few": few_items()}))


@torch.inference_mode()
def beauty(run: Run, n_users: int, rounds: int) -> list[dict[str, Any]]:
    """Both searches over the same users, in turn."""
    model = run.model
    assert isinstance(model, SemanticIdModel)
    known = {tuple(row) for row in model.items.codes.tolist()}
    batches = some_users(run, n_users)
    searches: dict[str, Search] = {
        "ids that exist": lambda items, lengths: constrained(model, items, lengths, BEAMS),
        "all tuples": lambda items, lengths: free(model, items, lengths, BEAMS),
    }
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    found: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, search in searches.items():
            started = time.perf_counter()
            lists = [search(items, lengths) for items, lengths in batches]
            seconds[name].append(time.perf_counter() - started)
            found[name] = torch.cat(lists)
            print(name, round(seconds[name][-1], 2), flush=True)
    return [
        {
            "search": name,
            "items": found[name].shape[0] * BEAMS,
            "seconds": taken,
            "items_per_s": round(found[name].shape[0] * BEAMS / median(taken[1:] or taken)),
            "share_of_invalid_ids": share(found[name].flatten(0, 1), lambda row: row not in known),
            "repeated_in_a_list": sum(BEAMS - len({tuple(row) for row in rows}) for rows in found[name].tolist()),
            "share_of_first_ids_invalid": share(found[name][:, 0], lambda row: row not in known),
        }
        for name, taken in seconds.items()
    ]


def share(ids: Tensor, fault: Callable[[tuple[int, ...]], bool]) -> float:
    return sum(fault(tuple(row)) for row in ids.tolist()) / len(ids)


def some_users(run: Run, n_users: int) -> list[tuple[Tensor, Tensor]]:
    """Histories of test users in batches of like length, as an evaluation has them."""
    found: list[tuple[Tensor, Tensor]] = []
    left = n_users
    for batch in run.data.evaluation("test").loader(0, 1):
        for items, lengths in zip(torch.split(batch.items, BATCH), torch.split(batch.lengths, BATCH), strict=True):
            found.append((items[:left, : int(lengths[:left].max())], lengths[:left]))
            left -= len(found[-1][1])
            if not left:
                return found
    return found


def constrained(model: SemanticIdModel, items: Tensor, lengths: Tensor, beams: int) -> Tensor:
    """int64 (B, W, m): the codes of the items found."""
    search = BeamSearch(model.items.trie, beams=beams)
    listed, _ = search.run(len(items), Decoder(model, items, lengths).logits)
    return model.items.codes[listed - 1]


def free(model: SemanticIdModel, items: Tensor, lengths: Tensor, beams: int) -> Tensor:
    """int64 (B, W, m): the most probable tuples, whether they name an item or not."""
    decoder = Decoder(model, items, lengths)
    none = torch.zeros(len(items), 1, dtype=torch.long)
    state, tuples = Beams(none, none.float(), none, none), none.unsqueeze(2)[:, :, :0]
    for level, size in enumerate(model.items.sizes):
        scores = (state.scores.unsqueeze(2) + decoder.logits(level, state).log_softmax(2)).flatten(1)
        best = scores.topk(min(beams, scores.shape[1]))
        parents, codes = best.indices // size, best.indices % size
        state = Beams(none, best.values, parents, codes)
        before = tuples.gather(1, parents.unsqueeze(2).expand(-1, -1, level))
        tuples = torch.cat([before, codes.unsqueeze(2)], dim=2)
    return tuples


def few_items() -> dict[str, Any]:
    """50 beams over 9 items."""
    codes = torch.tensor([[i // 3, i % 3, i % 2] for i in range(FEW)])
    with tempfile.TemporaryDirectory() as folder:
        save_file({"codes": codes, "sizes": torch.tensor([3, 3, 2])}, Path(folder) / CODES_FILE)
        values = {
            "items": {"kind": "semantic_ids", "codes": folder, "width": 16},
            "backbone": {"kind": "gpt2", "layers": 1, "width": 16},
            "head": {"kind": "semantic_id", "beams": MANY_BEAMS},
        }
        settings = ModelSettings.model_validate(values)
        model = build_model(settings, n_items=FEW, max_length=5, total_steps=1).eval()
    items = torch.randint(1, FEW + 1, (100, 5), generator=torch.Generator().manual_seed(0))
    listed = model.rank(ListRequest(items, torch.full((100,), 5), k=MANY_BEAMS)).top_items
    wanted = torch.arange(1, FEW + 1)
    once = [torch.equal(row[row > 0].sort().values, wanted) for row in listed]
    return {"items": FEW, "beams": MANY_BEAMS, "users": 100, "lists_with_every_item_once": sum(once)}


if __name__ == "__main__":
    main()
