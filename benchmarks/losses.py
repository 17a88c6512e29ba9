"""Full cross-entropy over the catalogue: time, extra memory and exactness against the plain formula and torch's own.

    python benchmarks/losses.py             # 8 to 10 minutes on 2 cores
    python benchmarks/losses.py --quick     # two small sizes

Forward and backward passes in float32 at width 64, in turns, so that what else the machine does falls on all alike.
"floor" is the bare matrix products, three a chunk in the chunks of seqrec's kernel: no exact method that multiplies by
this BLAS takes less. Extra memory is the peak of the resident set (VmHWM, reset before the pass) over the resident set
before it, each method in a process of its own, Linux only. The gradients' error is the norm of the difference from the
plain formula in float64, 64 positions at a time, over that formula's norm. Writes benchmarks/results/losses.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import write_result
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions

from seqrec.models import FullSoftmax
from seqrec.models.losses.full_softmax_kernel import _chunk_size

WIDTH = 64
REFERENCE_POSITIONS = 64  # whose logits over a million items take 0.5 GB in float64
Method = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Size:
    name: str
    items: int
    positions: int
    rounds: int
    leave_out: tuple[str, ...] = ()  # what would not fit, or take minutes


SIZES = [
    Size("Beauty", 12_101, 2048, 9),
    Size("Beauty, 512", 12_101, 512, 9),
    Size("Beauty, 8192", 12_101, 8192, 3),
    Size("ML-1M, 2048", 3_416, 2048, 9),
    Size("ML-1M, 8192", 3_416, 8192, 5),
    Size("200 k", 200_000, 1024, 3, ("torch",)),
    Size("1 M, 256", 1_000_000, 256, 3, ("torch",)),
    Size("1 M", 1_000_000, 4096, 1, ("torch", "plain", "floor")),
]
QUICK = ["Beauty", "ML-1M, 2048"]


def plain(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ table.T, targets - 1, reduction="sum")


def torch_default(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    options = LinearCrossEntropyOptions()
    return F.linear_cross_entropy(hidden, table, targets - 1, reduction="sum", options=options)


def torch_tuned(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Chunks of 4 MB of logits, at least 64 positions: the fastest of the sizes tried."""
    chunk = min(len(hidden), max(64, 2**20 // len(table)))
    options = LinearCrossEntropyOptions(batch_chunk_size=chunk)
    return F.linear_cross_entropy(hidden, table, targets - 1, reduction="sum", options=options)


METHODS: dict[str, Method] = {
    "seqrec": FullSoftmax(),
    "torch tuned": torch_tuned,
    "torch": torch_default,
    "plain": plain,
}


def inputs(size: Size) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(size.positions, WIDTH, generator=generator).div_(2)
    table = torch.randn(size.items, WIDTH, generator=generator).div_(5)
    return hidden, torch.randint(1, size.items + 1, (size.positions,), generator=generator), table


def gradients(method: Method, hidden: Tensor, targets: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    leaves = hidden.detach().requires_grad_(), table.detach().requires_grad_()
    return torch.autograd.grad(method(leaves[0], targets, leaves[1]), leaves)


def floor(hidden: Tensor, targets: Tensor, table: Tensor) -> None:
    chunk = _chunk_size(len(hidden), len(table))
    space, d_hidden, d_table = torch.ones(len(table) * chunk), torch.empty_like(hidden), torch.zeros_like(table)
    for start in range(0, len(hidden), chunk):
        x = hidden[start : start + chunk]
        logits = torch.mm(table, x.t(), out=space[: len(table) * len(x)].view(len(table), len(x)))
        torch.mm(logits.t(), table, out=d_hidden[start : start + chunk])
        d_table.addmm_(logits, x)


def timings(size: Size, threads: int) -> dict[str, list[float]]:
    """Seconds of each pass by method, the methods in turns; one pass before is not counted where there are several."""
    torch.set_num_threads(threads)
    data = inputs(size)
    runs: dict[str, Callable[[], Any]] = {"floor": lambda: floor(*data)}
    runs |= {name: lambda method=method: gradients(method, *data) for name, method in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs if name not in size.leave_out}
    for turn in range(size.rounds + (size.rounds > 1)):
        for name, times in seconds.items():
            start = time.perf_counter()
            runs[name]()
            if turn or size.rounds == 1:
                times.append(time.perf_counter() - start)
    return seconds


def errors(size: Size) -> dict[str, float]:
    """Relative error of each method's gradients, the larger of the two."""
    hidden, targets, table = inputs(size)
    d_table, wide = torch.zeros(table.shape, dtype=torch.float64), table.double()
    parts = []
    for x, t in zip(hidden.double().split(REFERENCE_POSITIONS), targets.split(REFERENCE_POSITIONS), strict=True):
        part, d_part = gradients(plain, x, t, wide)
        parts.append(part)
        d_table += d_part
    expected = torch.cat(parts), d_table
    return {
        name: max(
            ((found.double() - true).norm() / true.norm()).item()
            for found, true in zip(gradients(method, hidden, targets, table), expected, strict=True)
        )
        for name, method in METHODS.items()
        if name not in size.leave_out
    }


def resident_megabytes(field: str) -> float:
    """VmRSS, what is resident, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def extra_memory(size: Size, method: str) -> None:
    """Prints what one pass adds to the peak of this process, in MB, and its seconds."""
    small = Size("", 100, 64, 1)
    gradients(METHODS[method], *inputs(small))
    data = inputs(size)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak; getrusage's would begin with the parent's
    before, start = resident_megabytes("VmRSS"), time.perf_counter()
    gradients(METHODS[method], *data)
    seconds = time.perf_counter() - start
    print(json.dumps({"extra_mb": round(resident_megabytes("VmHWM") - before), "seconds": seconds}))


def measure(size: Size, threads: int) -> dict[str, Any]:
    alone = {}
    for name in METHODS:
        if name not in size.leave_out:
            command = [sys.executable, __file__, "--alone", size.name, name]
            alone[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # one round: the pass that measures memory is the timed one
    seconds = {n: [a["seconds"]] for n, a in alone.items()} if size.rounds == 1 else timings(size, threads)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    wrong = errors(size)
    methods = {
        name: {
            "median_ms": round(middle[name] * 1e3, 1),
            "best_ms": round(min(seconds[name]) * 1e3, 1),
            "times_seqrec": round(middle[name] / middle["seqrec"], 2),
            "extra_mb": alone[name]["extra_mb"],
            "gradient_error": float(f"{wrong[name]:.1e}"),
        }
        for name in wrong
    }
    products = 6 * size.positions * size.items * WIDTH
    figures = {
        "size": size.name,
        "items": size.items,
        "positions": size.positions,
        "threads": threads,
        "logits_mb": round(size.positions * size.items * 4 / 2**20),
        "gflops": round(products / middle["seqrec"] / 1e9, 1),
    }
    if "floor" in middle:
        best = min(seconds["floor"])
        figures |= {
            "floor_ms": round(middle["floor"] * 1e3, 1),
            "share_of_floor": round(middle["floor"] / middle["seqrec"], 3),
            "share_of_floor_best": round(best / min(seconds["seqrec"]), 3),
        }
    return figures | {"methods": methods}


def show(results: list[dict[str, Any]]) -> None:
    names = ["size", "threads", "method", "ms", "x seqrec", "of floor", "extra MB", "of logits", "gradient error"]
    table = Table(*names)
    for figures in results:
        for name, row in figures["methods"].items():
            share = f"{figures['share_of_floor']:.0%}" if name == "seqrec" and "share_of_floor" in figures else ""
            cells = [figures["size"], figures["threads"], name, row["median_ms"], row["times_seqrec"], share]
            cells += [row["extra_mb"], f"{row['extra_mb'] / figures['logits_mb']:.1%}", f"{row['gradient_error']:.0e}"]
            table.add_row(*(str(cell) for cell in cells))
        table.add_section()
    Console(width=130).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small sizes; nothing is written")
    parser.add_argument("--alone", nargs=2, metavar=("SIZE", "METHOD"), help="memory of one method in this process")
    options = parser.parse_args()
    by_name = {size.name: size for size in SIZES}
    if options.alone:
        extra_memory(by_name[options.alone[0]], options.alone[1])
        return
    cores = len(os.sched_getaffinity(0))
    results = []
    for size in [by_name[name] for name in QUICK] if options.quick else SIZES:
        small = size.items * size.positions < 2**25
        for threads in sorted({1, cores}) if small else [cores]:
            results.append(measure(size, threads))
            show(results[-1:])
    show(results)
    if not options.quick:
        print(write_result("losses", {"width": WIDTH, "dtype": "float32", "sizes": results}))


if __name__ == "__main__":
    main()
