"""Proposals and their bookkeeping; nothing is trained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna.trial import Trial

from seqrec.sweep import parse_space
from seqrec.sweep.trials import Trials

SPACE = parse_space(["lr=1e-4..1e-2", "layers=1..4", "kind=one,other"])
OWN = {"lr": 1e-3, "layers": 2, "kind": "one"}


def opened(folder: Path, space: tuple = SPACE, first: dict | None = OWN) -> Trials:
    return Trials(folder, space, seed=3, first=first)


def value_of(trial: Trial) -> float | None:
    return None if trial.params["kind"] == "other" else trial.params["lr"] * trial.params["layers"]


def make(trials: Trials, most: int) -> None:
    while True:
        with trials.take(most) as trial:
            if trial is None:
                return
            trials.tell(trial, value_of(trial), note="")


def test_an_interrupted_sweep_proposes_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    make(whole, 24)
    for most in (1, 9, 24):  # each time in what might be another process
        parts = opened(tmp_path / "parts")
        make(parts, most)
        with parts.take(25) as lost:  # its process dies: it is never told of
            assert lost is not None
    found = [t.params for t in opened(tmp_path / "parts").ended()]
    assert found == [t.params for t in whole.ended()]
    assert found[0] == OWN
    assert len({str(params) for params in found}) == 24


def test_a_lost_trial_is_proposed_again(tmp_path: Path) -> None:
    with opened(tmp_path).take(5) as first:
        assert first is not None
        with opened(tmp_path).take(5) as beside:  # the first is still held
            assert beside is not None
            assert beside.params != first.params
    with opened(tmp_path).take(5) as again, opened(tmp_path).take(5) as other:
        assert again is not None
        assert other is not None
        assert [again.params, other.params] == [first.params, beside.params]


def test_no_more_are_taken_than_asked_for(tmp_path: Path) -> None:
    trials = opened(tmp_path)
    make(trials, 4)
    assert len(trials.ended()) == 4
    with trials.take(5) as last, trials.take(5) as none:
        assert last is not None
        assert none is None


def test_processes_share_the_trials(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make(opened(tmp_path), 12), range(4)))
    assert len(opened(tmp_path).ended()) == 12


def test_a_small_space_is_tried_once_each(tmp_path: Path) -> None:
    trials = opened(tmp_path, parse_space(["layers=1..3", "kind=one,other"]), None)
    assert trials.size == 6
    while True:
        with trials.take(100) as trial:
            if trial is None:
                break
            trials.tell(trial, trial.params["layers"])
    assert sorted((t.params["layers"], t.params["kind"]) for t in trials.ended()) == [
        (layers, kind) for layers in (1, 2, 3) for kind in ("one", "other")
    ]


def test_it_searches(tmp_path: Path) -> None:
    trials = opened(tmp_path)
    make(trials, 60)
    made = trials.ended()
    late = [value_of(trial) or 0 for trial in made[-20:]]
    random = [value_of(trial) or 0 for trial in made[1:11]]
    assert sum(late) / 20 > 2 * sum(random) / 10
    importances = trials.importances()
    assert sum(importances.values()) == pytest.approx(1)
    assert importances["lr"] > importances["kind"]  # settings of the other kind have no value
    assert opened(tmp_path / "new").importances() == {}
