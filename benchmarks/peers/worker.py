"""One recommender system as a process that trains an epoch, or lists items, whenever it is asked.

    PYTHON benchmarks/peers/worker.py rectools/sasrec.py --data FILE.npz --blocks 1 --max-length 50 --folder FOLDER

Runs in the system's own environment. A line on the standard input is an order, one on the standard output an event,
both JSON; what the system itself prints goes to the standard error.

                                                   → {"event": "ready", "settings": …, "versions": …}
    {"do": "epoch"}                                → {"event": "epoch", "seconds": 3.2, "share": 1.0}
    {"do": "lists", "part": "test", "to": FILE}    → {"event": "lists", "seconds": 0.4, "users": 22363}, and FILE.npy
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from system import System, Task, Turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", help="file of this folder with a class `Sasrec`")
    parser.add_argument("--data", type=Path, required=True, help="behaviour sequences, as `Task` says")
    parser.add_argument("--recipe", type=Path, help="for seqrec")
    parser.add_argument("--negatives", type=int, default=0, help="of the sampled loss; 0: full softmax")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for files of the system")
    parser.add_argument("--seed", type=int, default=1)
    arguments = vars(parser.parse_args())
    system = load(arguments.pop("system"), Task(**arguments))
    turns = Turns(system)
    system.train(turns)
    turns.end()


def load(file: str, task: Task) -> System:
    """The system of a file of this folder."""
    path = Path(__file__).parent / file
    sys.path.insert(0, str(path.parent))  # for what the systems of a folder share
    spec = spec_from_file_location("sasrec", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    system: System = module.Sasrec(task)
    return system


if __name__ == "__main__":
    main()
