"""Work done ahead of its use, in threads, with results in the order asked for."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Threads that run jobs first come, first served; with 0 threads a job runs where it is submitted.

    A job may wait for jobs submitted before it, as those have started when it does. Leaving the context cancels what
    has not started and does not wait for what has: a job that runs ends by itself, and its thread after it.

    Args:
        n: threads, >= 0.
    """

    def __init__(self, n: int):
        self.n = n
        torch.get_num_threads()  # settles this thread's number, which would be that of the first worker otherwise
        self._pool = ThreadPoolExecutor(n, "seqrec-stream", _use_one_thread) if n else None
        # once, and before an interpreter that exits in mid-epoch has taken the pool's module apart
        self._end = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True) if self._pool else None

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The job's result to come; `Future.result` raises what the job raised, with the job's own traceback."""
        if self._pool is not None:
            return self._pool.submit(job, *args, **kwargs)
        done: Future[T] = Future()
        try:
            done.set_result(job(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end is not None:
            self._end()


def _use_one_thread() -> None:
    """Lets torch split no operation of this thread: helpers of all workers together would wait for each other."""
    torch.set_num_threads(1)


def ahead(items: Iterable[T], n: int) -> Iterator[T]:
    """The same items, each handed on once ``n`` more have been drawn: where drawing submits a job, n are under way."""
    drawn: deque[T] = deque()
    for item in items:
        drawn.append(item)
        if len(drawn) > n:
            yield drawn.popleft()
    yield from drawn
