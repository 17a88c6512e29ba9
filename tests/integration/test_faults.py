"""Faults one after another on two processes: each has its outcome, and in the end nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from .workplace import Workplace, check_equal


def names(place: Workplace) -> list[str]:
    return sorted(path.name for path in place.run("broken").checkpoints.iterdir())


def test_a_run_that_is_broken_again_and_again_ends_as_one_that_was_not(make: Callable[..., Workplace]) -> None:
    """A full disk, a rank killed in mid-save, a corrupt checkpoint, a loss that is NaN."""
    place = make(4)
    place.fit("whole", 2)

    said = place.fit("broken", 2, fault="full:9")
    assert "step-9: cannot save the checkpoint" in said
    assert "rank 0: OSError: [Errno 27] File too large" in said
    assert "Traceback" not in said
    assert names(place) == ["step-3", "step-6"]

    # in mid-write while training goes on
    said = place.fit("broken", 2, fault="torn:14", overrides=["selection.save_in_background=true"])
    assert "rank 0 (host " in said
    assert "did not meet the other ranks" in said
    assert "its process has ended" in said
    assert names(place) == ["step-12", "step-15.tmp", "step-9"]

    assert place.corrupt_newest("broken") == 12
    said = place.fit("broken", 2, fault="unnamed:17")
    assert "step-12 is damaged and passed over: state holds other bytes" in said
    assert min(line["step"] for line in place.starts("broken")[-1]) == 9
    assert names(place) == ["step-12", "step-12.damaged", "step-15", "step-18.tmp"]

    said = place.fit("broken", 2, fault="nan:19")
    assert "TrainingError: step 19: the loss is nan" in said
    assert "faults.nonfinite_loss=skip" in said
    assert place.run("broken").last.step == 18

    place.copy("broken", "skips")
    place.fit("broken", 2)
    place.check_each_row_once("broken")
    check_equal(place.weights("whole"), place.weights("broken"))
    assert not [name for name in names(place) if name.endswith(".tmp")]

    # one rank's loss is NaN: if the other took the step, its weights would spoil every gradient from there on
    said = place.fit("skips", 2, fault="nan:19", survives=True, overrides=["faults.nonfinite_loss=skip"])
    assert "step 19: the loss is nan, its update is left out (1 so far)" in said
    assert all(bool(torch.isfinite(weight).all()) for weight in place.weights("skips").values())
    with pytest.raises(AssertionError):
        check_equal(place.weights("whole"), place.weights("skips"))
