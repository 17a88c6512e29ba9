"""Five ranks, of which one hangs before a collective, one is stopped and one dies.

Prints JSON: for each rank its process, how it ended, and what it said. Forked, so that imports are done once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from seqrec.training.rank_watch import Meeting, is_collective_failure

N_RANKS = 5
HANGS, STOPS, DIES = 1, 2, 4


def reads_for_ever() -> None:
    time.sleep(60)


def rank(number: int, folder: Path) -> None:
    out = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    port = {"init_method": f"file://{folder / 'rendezvous'}"}
    dist.init_process_group("gloo", rank=number, world_size=N_RANKS, timeout=timedelta(seconds=5), **port)
    meeting = Meeting.open()
    dist.barrier()
    if number == HANGS:
        reads_for_ever()
    if number == STOPS:
        os.kill(os.getpid(), signal.SIGSTOP)
    if number == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        dist.all_reduce(torch.ones(1))
    except RuntimeError as error:
        if is_collective_failure(error):
            print(meeting.call_roll(error), flush=True)


def main(folder: Path) -> None:
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    processes = []
    for number in range(N_RANKS):
        process = os.fork()
        if process == 0:
            rank(number, folder)
            os._exit(0)
        processes.append(process)
    ends = {}
    for number, process in enumerate(processes):
        if number != STOPS:
            ends[number] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.kill(processes[STOPS], signal.SIGKILL)
    ends[STOPS] = os.waitstatus_to_exitcode(os.waitpid(processes[STOPS], 0)[1])
    print(json.dumps([[processes[n], ends[n], (folder / str(n)).read_text()] for n in range(N_RANKS)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
