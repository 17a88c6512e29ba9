"""Training in real processes that are killed and go on: each row once, and the same weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .workplace import Workplace, check_equal


@pytest.mark.parametrize(("partitions", "kill"), [(1, "1"), (4, "0,1")])
def test_killed_on_two_ranks_and_continued_on_one_two_and_three(
    make: Callable[..., Workplace], partitions: int, kill: str
) -> None:
    """With dropout; on two ranks the weights equal those of a run that nobody killed, bit for bit."""
    place = make(partitions)
    stop = place.stream.n_steps + 4  # within the second epoch, where neither rank can have saved in this step
    assert (stop + 1) % 3
    place.fit("killed", 2, kill=f"{kill}:{stop}:0")
    for ranks in (1, 2, 3):
        place.copy("killed", f"on{ranks}")
        place.fit(f"on{ranks}", ranks)
        first = min(line["step"] for line in place.starts(f"on{ranks}")[1])
        assert place.stream.n_steps < first <= stop  # it went on within the epoch, and lost some steps
        place.check_each_row_once(f"on{ranks}")
    place.fit("whole", 2)
    assert place.committed("whole") == place.committed("on1") == place.committed("on2") == place.committed("on3")
    check_equal(place.weights("whole"), place.weights("on2"))
    with pytest.raises(AssertionError):  # the comparison can fail: three ranks sum in another order
        check_equal(place.weights("whole"), place.weights("on3"))


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_killed_run_ends_with_the_same_bits(make: Callable[..., Workplace], ranks: int) -> None:
    """On three ranks the order in which gradients are summed must not depend on when a process started."""
    place = make(1)
    place.fit("whole", ranks)
    place.fit("killed", ranks, kill=f"0:{place.stream.n_steps + 5}:0")
    place.fit("killed", ranks)
    check_equal(place.weights("whole"), place.weights("killed"))


def test_across_numbers_of_ranks_weights_agree_in_float64(make: Callable[..., Workplace]) -> None:
    """Killed twice: on two ranks, whose steps have two micro-batches, and on three, between two micro-batches.

    With dropout, whose masks belong to the row.
    """
    place = make(4, precision="64-true")
    place.fit("whole", 1)
    place.fit("moved", 2, kill=f"0:{place.stream.n_steps // 2}:1")
    place.fit("moved", 3, kill=f"2:{2 * place.stream.n_steps - 2}:0")
    place.fit("moved", 1)
    place.check_each_row_once("moved")
    moved = place.weights("moved")
    for name, weight in place.weights("whole").items():
        difference, norm = float((moved[name] - weight).norm()), float(weight.norm())
        assert difference <= 1e-9 * norm, f"{name}: {difference} of {norm}"
