"""What ranks tell each other beside gradients."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


class RankSum:
    """A sum over ranks that begins when it is made and is awaited when it is needed, so that other work hides it.

    Args:
        values: any shape; summed in place, and theirs already where there is one process.
    """

    def __init__(self, values: Tensor):
        self._values = values
        grouped = dist.is_available() and dist.is_initialized()
        self._work = dist.all_reduce(values, async_op=True) if grouped else None

    def wait(self) -> Tensor:
        """The sum; on an accelerator its stream waits and the process goes on."""
        if self._work is not None:
            self._work.wait()
        return self._values
