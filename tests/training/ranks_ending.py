"""What `test_collectives.py` asks of real processes: FOLDER; prints the exit status of each rank.

A script of its own, which forks its ranks after the imports; they end as a script does, its interpreter last.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from seqrec.training.collectives import RankSum

RANKS = 4
sys.setswitchinterval(60)  # seconds: gloo's threads get the interpreter only where the main thread waits

folder = Path(sys.argv[1])
children = []
for rank in range(RANKS):
    child = os.fork()
    if child == 0:
        dist.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=RANKS)
        RankSum(torch.ones(1))
        sys.exit()
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
