"""An id of its own for each item."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from seqrec.errors import TokenizerError
from seqrec.tokenize.kmeans import squared_distances
from seqrec.tokenize.quantizer import residual_codes

Prefix = tuple[int, ...]


def separate(latents: Tensor, codebooks: Tensor, taken: Tensor | None = None) -> Tensor:
    """Codes of which no two are alike: items that would share an id get the nearest last codes that are free.

    Among items that have all but the last code in common, last codes are dealt out so that the sum of squared
    distances is least. Where more items share them than a level has codes, those that lie nearest to another code of
    the last level but one go there. No level is added: an id stays as short as it was.

    Args:
        latents: float (n, H).
        codebooks: float (m, C, H).
        taken: int64 (k, m), ids that are not to be had, as those of items that were there before; None for none.
    Returns:
        int64 (n, m).
    Raises:
        TokenizerError: there are fewer ids with the codes of the levels above than items that share these.
    """
    codes, residuals = residual_codes(latents, codebooks)
    occupied = defaultdict(set)
    for *prefix, last in [] if taken is None else taken.tolist():
        occupied[tuple(prefix)].add(last)
    if len(codebooks) > 1:
        _spread(codes, residuals, codebooks, occupied)
    groups: dict[Prefix, list[int]] = defaultdict(list)
    for row, prefix in enumerate(codes[:, :-1].tolist()):
        groups[tuple(prefix)].append(row)
    left = residuals[0] - sum((book[codes[:, i]] for i, book in enumerate(codebooks[:-1])), torch.zeros(1))
    for prefix, rows in groups.items():
        _deal(codes, left, codebooks[-1], rows, occupied[prefix], prefix)
    return codes


def _deal(codes: Tensor, left: Tensor, book: Tensor, rows: list[int], occupied: set[int], prefix: Prefix) -> None:
    """Gives the items of a prefix their last codes, in place; ``left`` is what the levels above leave of each."""
    nearest = squared_distances(left[rows], book)
    wanted = nearest.argmin(1)
    if len(set(wanted.tolist())) < len(rows) or occupied & set(wanted.tolist()):
        free = [code for code in range(len(book)) if code not in occupied]
        if len(free) < len(rows):
            raise TokenizerError(
                f"{len(rows):,} items share the codes {list(prefix)}, and {len(free):,} last codes are free",
                where="tokenizer.quantizer",
                do="raise `codes` or `levels`, or give vectors that tell items apart",
            )
        _, columns = linear_sum_assignment(nearest[:, free].double().numpy())
        wanted = torch.tensor(free)[torch.from_numpy(columns)]
    codes[rows, -1] = wanted


def _spread(codes: Tensor, residuals: Tensor, codebooks: Tensor, occupied: dict[Prefix, set[int]]) -> None:
    """Moves items out of prefixes with more items than free last codes, in place."""
    n_codes = codebooks.shape[1]
    counts = Counter(map(tuple, codes[:, :-1].tolist()))
    counts.update({prefix: len(last) for prefix, last in occupied.items()})
    for full in [prefix for prefix, count in counts.items() if count > n_codes]:
        above = list(full[:-1])
        rows = torch.where((codes[:, :-1] == torch.tensor(full)).all(1))[0]
        distances = squared_distances(residuals[-2, rows], codebooks[-2])
        room = torch.tensor([n_codes - counts[(*above, code)] for code in range(n_codes)])
        # those for which another code is least worse move
        others = distances.masked_fill(room <= 0, torch.inf)
        worse = others.min(1).values - distances[:, full[-1]]
        for row in worse.argsort()[: counts[full] - n_codes].tolist():
            code = int(others[row].argmin())
            if room[code] <= 0:
                return  # `_deal` says so
            codes[rows[row], -2] = code
            counts[(*above, code)] += 1
            room[code] -= 1
            if room[code] <= 0:
                others[:, code] = torch.inf
        counts[full] = n_codes
