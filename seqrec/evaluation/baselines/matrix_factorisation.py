"""Matrix factorisation by the package `implicit`: classical collaborative filtering, blind to order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
import torch
from scipy import sparse

from seqrec.errors import MissingExtraError
from seqrec.evaluation.baselines.interactions import binary
from seqrec.evaluation.exact import Ints
from seqrec.ranking import DotScorer, ItemLists
from seqrec.store import Sequences

Method = Literal["als", "bpr"]
# stated, not tuned to a log; benchmarks/baselines.py searches others on validation
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "als": {"factors": 64, "regularization": 0.1, "alpha": 10.0, "iterations": 15},
    "bpr": {"factors": 64, "regularization": 0.01, "learning_rate": 0.05, "iterations": 100},
}


def implicit_models() -> ModuleType:
    """`implicit.cpu`'s models.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        import implicit
        import implicit.cpu.als
        import implicit.cpu.bpr
    except ModuleNotFoundError as error:
        if error.name != "implicit":
            raise
        raise MissingExtraError.of("implicit", extra="baselines", needed_for="the baseline `als` or `bpr`") from error
    cpu: ModuleType = implicit.cpu
    return cpu


@dataclass(frozen=True)
class MatrixFactorisation:
    """Scores an item by the inner product of user and item factors, over the binary user-item matrix.

    - `als`: weighted least squares (Hu et al. 2008, "Collaborative filtering for implicit feedback datasets"). A user's
      factors are solved for anew from the history, so that it may be one that was not trained on.
    - `bpr`: pairwise ranking (Rendle et al. 2009, arXiv:1205.2618). A user's factors are those of training; somebody
      without a training event gets the items of the greatest bias.

    Attributes:
        method: `als` or `bpr`.
        model: of `implicit`, fitted.
    """

    method: Method
    model: Any

    @classmethod
    def fit(
        cls,
        sequences: Iterable[Sequences],
        n_users: int,
        n_items: int,
        *,
        method: Method,
        **changes: Any,
    ) -> Self:
        """Factorises; the same factors each time.

        Args:
            sequences: the training events of all users, in any number of parts; a user is in one part only.
            n_users: users of the store.
            n_items: items of the catalogue, N.
            method: as above.
            **changes: hyper-parameters of `implicit` other than ``HYPERPARAMETERS``.
        Raises:
            MissingExtraError: `implicit` is not installed.
        """
        models = implicit_models()
        rows, items = [], []
        for part in sequences:
            rows.append(part.rows[part.row_of_event()])
            items.append(part.items)
        none = np.empty(0, np.int64)
        users = binary(np.concatenate([none, *rows]), np.concatenate([none, *items]), n_users, n_items)
        chosen = {**HYPERPARAMETERS[method], **changes}
        from threadpoolctl import threadpool_limits  # which `implicit` depends on

        with threadpool_limits(1, "blas"):  # it has threads of its own, and warns of others
            if method == "als":
                threads = torch.get_num_threads()
                model = models.als.AlternatingLeastSquares(**chosen, num_threads=threads, random_state=0)
            else:  # threads would race for the factors: then no two fits are the same
                model = models.bpr.BayesianPersonalizedRanking(**chosen, num_threads=1, random_state=0)
            model.fit(sparse.csr_matrix(users), show_progress=False)
        return cls(method, model)

    def scorer(self, histories: ItemLists, rows: Ints) -> DotScorer:
        """As `Baseline` says."""
        items = torch.from_numpy(self.model.item_factors)
        if self.method == "bpr":
            return DotScorer(torch.from_numpy(self.model.user_factors[rows]), items)
        users = binary(histories.rows().numpy(), histories.items.numpy(), len(rows), len(items))
        return DotScorer(torch.from_numpy(self.model.recalculate_user(rows, sparse.csr_matrix(users))), items)
