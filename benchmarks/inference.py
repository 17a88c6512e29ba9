"""Test users a second for whom seqrec and its peers rank the whole catalogue and list ten unseen items.

    SEQREC_DATA=… python benchmarks/inference.py

From histories as each system keeps them to its own form of lists, in turn; untrained weights, which do not change the
speed. Writes benchmarks/results/inference.json.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from harness import rows_of_today, write_result
from systems import OWN, SYSTEMS, Worker, add_choice, find, write_sequences

NAME = "inference"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser)
    parser.add_argument("--rounds", type=int, default=4, help="the first does not count")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = rows_of_today(NAME, fresh=arguments.fresh)
    for data in arguments.datasets:
        peers = [name for name in arguments.systems if name != OWN and not find(rows, data, "full", name)]
        if not peers:
            continue
        write_sequences(data, arguments.folder)
        rows = [row for row in rows if (row["data"], row["system"]) != (data, OWN)] + measure(data, peers, arguments)
        write_result(NAME, {"rows": rows})


def measure(data: str, peers: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Test lists in turn, seqrec's before each peer's."""
    options = {"threads": arguments.threads, "folder": arguments.folder}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(SYSTEMS[name], data, "full", **options)) for name in (OWN, *peers)}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(arguments.rounds):
            for name in (name for peer in peers for name in (OWN, peer)):
                lists, event = workers[name].lists("test")
                seconds[name].append(event["seconds"])
                print(f"{data}, {name}: {len(lists) / event['seconds']:,.0f} users/s", flush=True)
        return [
            {
                "data": data,
                "loss": "full",
                "system": name,
                "users": len(lists),
                "seconds": taken,
                "users_per_s": round(len(lists) / median(taken[1:] or taken)),
            }
            | workers[name].ready
            for name, taken in seconds.items()
        ]


if __name__ == "__main__":
    main()
