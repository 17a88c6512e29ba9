"""Random numbers as pure functions of a key, so that no random state has to be saved.

Two families:

- *shared draws* (`raw_bits`, `perm`, `draw_items`, `draw_weighted`): one stream a key, the same on every rank. Philox
  (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by BLAKE2b of the key's parts.
- *draws by row* (`row_keys`, `uniform`, `row_words`): one number for each (row, position), in whatever order, batch or
  rank the row is met, by the integer mixing of SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number
  generators").

Everything is made from raw bits: numpy keeps the bits of a bit generator across its versions, but may change what the
methods of `numpy.random.Generator` (`permutation`, `integers`, ...) make of them (NEP 19).
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

KeyPart = int | str

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment: odd, 2**64 over the golden ratio
_MAX_ITEMS = 2**32
_LOW = np.uint64(0xFFFFFFFF)


def raw_bits(n: int, *key: KeyPart) -> npt.NDArray[np.uint64]:
    """The first n words of the key's Philox stream.

    Args:
        n: words wanted, >= 0.
        key: integers and strings; 1 and "1" differ, and so do ("a", "b") and ("ab",).
    Returns:
        uint64 (n,), uniform over all 64 bits; a longer draw begins with a shorter one.
    """
    return np.random.Philox(key=int.from_bytes(_digest(key), "little")).random_raw(n)


def perm(n: int, *key: KeyPart) -> npt.NDArray[np.int64]:
    """A permutation of 0..n-1, the stable argsort of n random 32-bit numbers.

    Args:
        n: length, >= 0.
        key: as for `raw_bits`; every length has a permutation of its own.
    Returns:
        int64 (n,). Equal numbers keep their order, so of two elements the earlier one comes first with a probability of
        1/2 + 2**-33: a bias far below notice.
    """
    digits = raw_bits(-(-n // 2), "perm", n, *key).astype("<u8", copy=False).view("<u2")
    low, high = digits[: 2 * n : 2], digits[1 : 2 * n : 2]
    # numpy sorts 16 bits by radix; a stable sort by the lower half and then by the upper one is the stable sort by both
    order = np.argsort(low, kind="stable")
    return order[np.argsort(high[order], kind="stable")]


def draw_items(n: int, n_items: int, *key: KeyPart) -> npt.NDArray[np.int64]:
    """Items drawn uniformly with replacement, as negatives that all ranks share.

    The upper word of the 128-bit product word * n_items ("multiply-shift", Lemire 2019, arXiv:1805.10941), without
    rejection so that draw i always uses word i. An item's probability is off by at most 1 / 2**64, relatively by
    n_items / 2**64: 5e-14 for a million items, out of reach of any test.

    Args:
        n: draws, >= 0.
        n_items: size of the catalogue, 1..2**32.
        key: as for `raw_bits`, usually (seed, step).
    Returns:
        int64 (n,), each 1..n_items.
    Raises:
        ValueError: n_items out of range.
    """
    if not 1 <= n_items <= _MAX_ITEMS:
        raise ValueError(f"n_items is {n_items:,}; draws are made from 1..{_MAX_ITEMS:,} items")
    return _below(n_items, raw_bits(n, "items", *key)) + 1


def draw_weighted(n: int, cumulative: npt.NDArray[np.int64], *key: KeyPart) -> npt.NDArray[np.int64]:
    """Indices drawn with replacement in proportion to integer weights, exactly but for the 1 / 2**64 of `draw_items`.

    Args:
        n: draws, >= 0.
        cumulative: int64 (m,), running sums of weights >= 0; the last, their total, is positive.
        key: as for `raw_bits`.
    Returns:
        int64 (n,), each 0..m - 1 with a positive weight.
    """
    below = _below(int(cumulative[-1]), raw_bits(n, "weighted", *key))
    return np.searchsorted(cumulative, below, side="right").astype(np.int64, copy=False)


def row_keys(seed: int, epoch: int, rows: npt.NDArray[np.int64], purpose: str = "rows") -> npt.NDArray[np.uint64]:
    """A key for each row, to be spent by `uniform` and `row_words`.

    Args:
        seed, epoch, purpose: draws for two purposes (which positions to mask, where to crop) are independent.
        rows: int64 (n,), row numbers in the store, >= 0.
    Returns:
        uint64 (n,). For one (seed, epoch, purpose) different rows never share a key.
    """
    base = np.frombuffer(_digest(("row keys", purpose, seed, epoch))[:8], dtype="<u8").astype(np.uint64)
    return _mix(base + rows.astype(np.uint64) * _GAMMA)


def uniform(keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A number for each (key, position), whatever else is in the batch.

    Args:
        keys: uint64 (n,), from `row_keys`.
        positions: int64 (m,), >= 0.
    Returns:
        float64 (n, m) in [0, 1), multiples of 2**-53.
    """
    return (row_words(keys, positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def row_words(keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """The 64 bits that each number of `uniform` is made from: uint64 (n, m)."""
    counters = (positions.astype(np.uint64) + np.uint64(1)) * _GAMMA
    return _mix(keys[:, None] + counters[None, :])


def _below(size: int, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """floor(word * size / 2**64) for a size up to 2**63, from products of halves, since 64 bits cannot hold theirs."""
    shift, high, low = np.uint64(32), np.uint64(size >> 32), np.uint64(size) & _LOW
    carried = (words & _LOW) * low >> shift
    middle = (words >> shift) * low + carried
    other = (words & _LOW) * high + (middle & _LOW)
    below: npt.NDArray[np.int64] = ((words >> shift) * high + (middle >> shift) + (other >> shift)).astype(np.int64)
    return below


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser, a bijection on 64-bit words; array products wrap around without a warning."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _digest(key: tuple[KeyPart, ...]) -> bytes:
    # JSON tells 1 from "1" and keeps parts apart; int() lets numpy's integers name the same key as Python's
    parts = [part if isinstance(part, str) else int(part) for part in key]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()
