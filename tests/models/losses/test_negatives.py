from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from scipy import stats

from seqrec.models import FullSoftmax, NegativeSampler, NegativesSettings, SampledSoftmax
from seqrec.models.losses.negatives import popularity_weights

N = 10
COUNTS = np.array([0, 100, 50, 30, 20, 10, 5, 3, 2, 1, 0])  # item 10 is cold


def sampler(seed: int = 1, **draws: float) -> NegativeSampler:
    return NegativeSampler(NegativesSettings.model_validate(draws), N, seed=seed, train_counts=COUNTS)


def test_negatives_are_of_the_seed_and_the_step() -> None:
    def items(seed: int, *position: int) -> list[int]:
        drawn = sampler(seed, uniform=40, popularity=40).draw(*position)
        return np.repeat(drawn.items.numpy(), drawn.counts.numpy().astype(int)).tolist()

    assert items(1, 0, 5) == items(1, 0, 5)
    assert len({tuple(items(*key)) for key in [(1, 0, 5), (2, 0, 5), (1, 1, 5), (1, 0, 6), (1, 5, 0)]}) == 5


def test_items_are_different_and_ascending_and_counts_are_all_draws() -> None:
    drawn = sampler(uniform=30, popularity=20).draw(0, 0, np.array([3, 3, 1]))
    assert (drawn.items.diff() > 0).all()
    assert drawn.counts.sum() == 53
    assert drawn.counts.dtype == drawn.log_expected.dtype == torch.float64


def test_expected_counts_by_hand() -> None:
    drawn = sampler(uniform=30, popularity=20, popularity_power=1, in_batch=3).draw(0, 0, np.array([3, 3, 1]))
    share = COUNTS[drawn.items.numpy()] / COUNTS.sum()
    assert drawn.log_expected.exp().numpy() == pytest.approx(30 / N + 20 * share + 3 * share)
    # fewer targets than asked for: as many as there were
    only = sampler(in_batch=8).draw(0, 0, np.array([5, 1]))
    assert only.items.tolist() == [1, 5]
    assert only.log_expected.exp().tolist() == pytest.approx([2 * 100 / 221, 2 * 10 / 221])


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0])
def test_popularity_draws_follow_counts(power: float) -> None:
    drawn = sampler(popularity=200_000, popularity_power=power).draw(0, 0)
    assert drawn.items.tolist() == list(range(1, 10))  # the cold item never comes
    expected = COUNTS[1:10] ** power
    frequency = drawn.counts.numpy()
    assert stats.chisquare(frequency, expected / expected.sum() * frequency.sum()).pvalue > 1e-3
    assert drawn.log_expected.exp().numpy() == pytest.approx(expected / expected.sum() * 200_000, rel=1e-5)


def test_each_item_comes_as_often_as_expected() -> None:
    """What the correction supposes: over many steps counts / expected has mean 1 for every item, from mixed sources."""
    mixed = sampler(uniform=20, popularity=20)
    weights = np.zeros(N + 1)
    n_steps = 4000
    for step in range(n_steps):
        drawn = mixed.draw(0, step)
        weights[drawn.items.numpy()] += (drawn.counts / drawn.log_expected.exp()).numpy()
    spread = 1 / math.sqrt(n_steps * 20 / N)  # of an item that only uniform draws bring
    assert np.abs(weights[1:] / n_steps - 1).max() < 4 * spread


@pytest.mark.parametrize("draws", [{"uniform": 1000}, {"uniform": 500, "popularity": 500}])
def test_sampled_sums_estimate_the_full_one(draws: dict[str, int]) -> None:
    """exp of the loss is linear in the negatives' weights, so that its mean over steps is that of the full softmax."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    table = torch.randn(N, 4, generator=generator, dtype=torch.float64)
    loss, source, target = SampledSoftmax(NegativesSettings(uniform=1)), sampler(**draws), torch.tensor([2])
    mean = np.mean([loss(hidden, target, table, source.draw(0, step)).exp() for step in range(300)])
    assert mean == pytest.approx(FullSoftmax()(hidden, target, table).exp().item(), rel=0.01)


def test_popularity_weights_are_integers_and_the_same_everywhere() -> None:
    assert popularity_weights(np.array([0, 1, 16, 81]), 0.75).tolist() == [0, 2**20, 8 * 2**20, 27 * 2**20]
    assert popularity_weights(np.array([0, 2, 3]), 0.5).tolist() == [0, math.isqrt(2 * 2**40), math.isqrt(3 * 2**40)]


@pytest.mark.parametrize("power", [0.0, 0.31, 0.75, 1.0])
def test_popularity_weights_are_those_of_exact_arithmetic(power: float) -> None:
    counts = np.concatenate([np.arange(1500), 10 ** np.arange(4, 10), np.arange(2**30, 2**30 + 200)])
    expected = [int(Decimal(c) ** Decimal(str(power)) * 2**20) if c else 0 for c in counts.tolist()]
    assert popularity_weights(counts, power).tolist() == expected


def test_popularity_needs_training_counts() -> None:
    for draws in ({"popularity": 3}, {"in_batch": 3}):
        for counts in (None, np.zeros(N + 1, np.int64)):
            with pytest.raises(ValueError, match="need the items' training counts"):
                NegativeSampler(NegativesSettings.model_validate(draws), N, seed=0, train_counts=counts)
    NegativeSampler(NegativesSettings(uniform=3), N, seed=0)


def test_uniform_draws_may_be_among_some_items() -> None:
    among = np.array([2, 5, 9])
    drawn = NegativeSampler(NegativesSettings(uniform=100), N, seed=1, among=among).draw(0, 3)
    assert drawn.items.tolist() == among.tolist()
    assert drawn.counts.sum() == 100
    torch.testing.assert_close(drawn.log_expected.exp(), torch.full((3,), 100 / 3, dtype=torch.float64))
