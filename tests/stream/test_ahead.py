from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
import torch

from seqrec.stream.ahead import Workers, ahead

from .threads import assert_no_workers


def test_items_come_in_order_with_so_many_drawn_ahead() -> None:
    drawn: list[int] = []

    def draw() -> Iterator[int]:
        for i in range(5):
            drawn.append(i)
            yield i

    items = ahead(draw(), 2)
    assert drawn == []
    assert next(items) == 0
    assert drawn == [0, 1, 2]
    assert list(items) == [1, 2, 3, 4]
    assert list(ahead(range(3), 9)) == [0, 1, 2]
    assert list(ahead(range(3), 0)) == [0, 1, 2]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_job_may_wait_for_an_earlier_one(threads: int) -> None:
    with Workers(threads) as workers:
        first = [workers.submit(pow, 2, i) for i in range(20)]
        total = workers.submit(lambda: sum(job.result() for job in first))
        assert total.result(timeout=30) == 2**20 - 1


@pytest.mark.parametrize("threads", [0, 2])
def test_what_a_job_raises_is_raised_where_its_result_is_asked_for(threads: int) -> None:
    def fail() -> None:
        raise OSError("disk gone")

    with Workers(threads) as workers:
        job: Future[None] = workers.submit(fail)
        with pytest.raises(OSError, match="disk gone") as caught:
            job.result()
    assert caught.traceback[-1].name == "fail"


def test_leaving_cancels_what_waits_and_ends_the_threads() -> None:
    go_on = threading.Event()
    with Workers(1) as workers:
        running = workers.submit(go_on.wait)
        waiting = workers.submit(int)
        while not running.running():
            time.sleep(0.001)
    assert waiting.cancelled()
    go_on.set()
    assert running.result(timeout=30)
    assert_no_workers()


def test_workers_use_one_thread_of_torch_each_and_leave_the_others_alone() -> None:
    before = torch.get_num_threads()
    with Workers(2) as workers:
        assert [workers.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
    assert torch.get_num_threads() == before
