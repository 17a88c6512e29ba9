import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrec.errors import StoreError
from seqrec.stream.order import fingerprint, plan, steps_per_epoch
from seqrec.stream.order_share import micro_batches_per_step, share, stripe

# see test_random.py: never edit it without raising ORDER_VERSION
GOLDEN_PLAN = "8f11898f34b9c6a88751e2f7a362049095d1f4a10efb1a860d8eb9fa530ee536"


@dataclass
class Case:
    """A store in memory, lengths by unit, with the settings of an order."""

    units: list
    partitions: int
    step_tokens: int
    window_tokens: int = 1
    seed: int = 0

    def plan(self, epoch=0, **changes):
        settings = vars(self) | changes
        settings.pop("units")
        return plan(*self.counts, **settings, epoch=epoch)

    @property
    def counts(self):
        return np.array([len(unit) for unit in self.units]), np.array([sum(unit) for unit in self.units])

    def names(self, unit):
        return [(unit, row) for row in range(len(self.units[unit]))]


class Reader:
    """One rank as a data module would run it: keeps one window a partition, and counts those it reads."""

    def __init__(self, case, epoch_plan, world_size, rank):
        self.case, self.plan, self.world_size = case, epoch_plan, world_size
        self.shares = share(len(epoch_plan.partitions), world_size, rank)
        self.held, self.n_read = {}, 0

    def slot(self, partition, step):
        index = self.plan.window_at(partition, step)
        window = self.plan.partitions[partition][index]
        if self.held.get(partition, (None,))[0] != index:
            names = [name for unit in window.units for name in self.case.names(unit)]
            lengths = np.array([self.case.units[unit][row] for unit, row in names])
            self.held[partition] = index, names, self.plan.slots(partition, index, lengths)
            self.n_read += 1
        _, names, slots = self.held[partition]
        return [names[i] for i in slots[step - window.first_slot]]

    def step(self, step):
        """The rank's micro-batches of one step, as lists of (unit, row)."""
        batches = []
        for part in self.shares:
            rows = self.slot(part.partition, step)
            batches.append(rows[stripe(len(rows), part)])
        g = micro_batches_per_step(len(self.plan.partitions), self.world_size)
        return batches + [[]] * (g - len(batches))


def global_steps(case, epoch_plan, world_size, steps=None):
    """For each step the micro-batches of all ranks, after checking that all ranks have equally many."""
    readers = [Reader(case, epoch_plan, world_size, rank) for rank in range(world_size)]
    for step in steps if steps is not None else range(epoch_plan.n_steps):
        ranks = [reader.step(step) for reader in readers]
        assert len({len(batches) for batches in ranks}) == 1
        yield sorted(row for batches in ranks for batch in batches for row in batch)


units = st.lists(st.lists(st.integers(1, 60), max_size=50), min_size=1, max_size=12).filter(any)
cases = st.builds(Case, units, st.integers(1, 8), st.integers(1, 600), st.integers(1, 3000), seed=st.integers(0, 1000))
worlds = st.integers(1, 8)


@settings(deadline=None)
@given(cases, worlds, st.integers(0, 5))
def test_each_row_once_an_epoch_and_the_same_steps_at_every_world_size(case, world_size, epoch):
    epoch_plan = case.plan(epoch)
    alone = list(global_steps(case, epoch_plan, 1))
    assert alone == list(global_steps(case, epoch_plan, world_size))
    assert len(alone) == epoch_plan.n_steps
    assert all(alone)  # a step without a row has no gradient
    everything = [name for unit in range(len(case.units)) for name in case.names(unit)]
    assert sorted(row for step in alone for row in step) == everything


@settings(deadline=None)
@given(cases, st.data())
def test_going_on_with_another_number_of_ranks_changes_nothing(case, data):
    epoch_plan = case.plan()
    whole = list(global_steps(case, epoch_plan, 1))
    pieced, step = [], 0
    while step < epoch_plan.n_steps:
        stop = data.draw(st.integers(step + 1, epoch_plan.n_steps))
        pieced += global_steps(case, epoch_plan, data.draw(worlds), range(step, stop))
        step = stop
    assert pieced == whole


@given(cases, st.integers(0, 100), st.integers(0, 100))
def test_the_number_of_steps_knows_neither_seed_nor_epoch(case, seed, epoch):
    n_steps = steps_per_epoch(*case.counts, partitions=case.partitions, step_tokens=case.step_tokens)
    epoch_plan = case.plan(epoch, seed=seed)
    assert epoch_plan.n_steps == n_steps
    for windows in epoch_plan.partitions:
        assert sum(window.n_slots for window in windows) == n_steps
        assert [window.first_slot for window in windows] == np.cumsum([0, *[w.n_slots for w in windows]])[:-1].tolist()


@given(cases)
def test_windows_are_bounded(case):
    epoch_plan = case.plan()
    rows, tokens = case.counts
    slot_tokens = -(-case.step_tokens // len(epoch_plan.partitions))
    most = max(case.window_tokens, 64 * slot_tokens)
    for windows in epoch_plan.partitions:
        held = [int(tokens[list(window.units)].sum()) for window in windows]
        assert all(rows[list(window.units)].all() for window in windows)  # empty units are never read
        assert max(held) <= most + tokens.max() or -(-sum(held) // most) > epoch_plan.n_steps


def test_steps_worked_by_hand():
    rows, tokens = np.array([4, 0, 6]), np.array([40, 0, 61])
    assert steps_per_epoch(rows, tokens, partitions=1, step_tokens=25) == 5  # 101 / 25, rounded up
    assert steps_per_epoch(rows, tokens, partitions=1, step_tokens=1000) == 1
    assert steps_per_epoch(rows, tokens, partitions=1, step_tokens=1) == 10  # no more steps than rows
    assert steps_per_epoch(rows, tokens, partitions=8, step_tokens=1) == 5  # P falls to the 2 units that have rows


@pytest.fixture(scope="module")
def shop():
    lengths = np.clip(np.random.default_rng(0).lognormal(1.9, 0.75, (48, 256)).astype(int), 2, 50)
    return Case(lengths.tolist(), partitions=4, step_tokens=400, window_tokens=7_000)


def test_golden_plan():
    rows = np.arange(48) * 37 % 101
    epoch_plan = plan(rows, rows * 9 + 5, partitions=4, step_tokens=100, window_tokens=1, seed=11, epoch=3)
    parts = [[[list(w.units), w.first_slot, w.n_slots] for w in windows] for windows in epoch_plan.partitions]
    slots = epoch_plan.slots(1, 1, np.arange(1, 1001) % 49 + 1)
    text = json.dumps([epoch_plan.n_steps, parts, [slot.tolist() for slot in slots]])
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN_PLAN


def test_epochs_and_seeds_differ(shop):
    first, second, third = (
        list(global_steps(shop, shop.plan(epoch, seed=seed), 1)) for epoch, seed in ((0, 0), (1, 0), (0, 1))
    )
    assert not any(a in (b, c) or b == c for a, b, c in zip(first, second, third, strict=True))
    assert shop.plan(1, seed=0).partitions != shop.plan(0, seed=1).partitions


def test_a_rank_reads_each_of_its_windows_once_and_a_resume_only_what_is_left(shop):
    epoch_plan = shop.plan()
    assert [len(windows) for windows in epoch_plan.partitions] == [4] * 4
    readers = [Reader(shop, epoch_plan, 3, rank) for rank in range(3)]
    for reader in readers:
        for step in range(epoch_plan.n_steps):
            reader.step(step)
        assert reader.n_read == 4 * 2  # two of four partitions, four windows each
    last = epoch_plan.n_steps - 1
    resumed = Reader(shop, epoch_plan, 3, 0)
    resumed.step(last)
    assert resumed.n_read == 2


def test_steps_keep_to_the_token_budget(shop):
    epoch_plan = shop.plan()
    reader = Reader(shop, epoch_plan, 1, 0)
    costs = []
    for step in range(epoch_plan.n_steps):
        batches = [[shop.units[unit][row] for unit, row in batch] for batch in reader.step(step)]
        costs.append(sum(len(batch) * max(batch) for batch in batches))
    assert np.mean(costs) == pytest.approx(400, rel=0.05)
    assert max(costs) < 480
    assert np.mean(np.array(costs) > 320) > 0.99  # the last run of a window is what is left of it


def test_units_spread_over_partitions_by_tokens(shop):
    _, tokens = shop.counts
    held = [sum(tokens[list(window.units)].sum() for window in windows) for windows in shop.plan().partitions]
    assert max(held) - min(held) <= tokens.max()


def test_refuses_an_empty_split_and_impossible_settings():
    with pytest.raises(StoreError, match=r"none of 2 units has a sequence to train on"):
        Case([[], []], partitions=1, step_tokens=10).plan()
    with pytest.raises(ValueError, match="partitions=0"):
        Case([[3]], partitions=0, step_tokens=10).plan()
    with pytest.raises(ValueError, match="tokens from its rows"):
        steps_per_epoch(np.array([3]), np.array([2]), partitions=1, step_tokens=1)


def test_fingerprint_tells_every_part_apart():
    facts = {"length_rule": "2..50", "seed": 0, "partitions": 1, "step_tokens": 2048, "window_tokens": 10**6}
    base = fingerprint("abc", "leave-one-out", **facts)
    assert base == fingerprint("abc", "leave-one-out", **facts)
    others = [fingerprint("abd", "leave-one-out", **facts), fingerprint("abc", "temporal", **facts)]
    others += [fingerprint("abc", "leave-one-out", **facts | {name: 7}) for name in facts]
    assert len({base, *others}) == 8
