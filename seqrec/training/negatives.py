"""The negatives of a step, the same on every rank."""

from __future__ import annotations

from seqrec.errors import UnsupportedError
from seqrec.models import Negatives, NegativeSampler
from seqrec.stream import TrainingBatch, chosen
from seqrec.training.collectives import gather_over_ranks


def draw_negatives(sampler: NegativeSampler, batch: TrainingBatch) -> Negatives:
    """Draws for the step of a batch; ranks meet where targets of the step are among the negatives.

    Raises:
        UnsupportedError: the batch offers another number of its targets than the loss takes.
    """
    n = sampler.settings.in_batch
    if not n:
        return sampler.draw(*batch.position)
    if len(batch.in_batch) != n:
        raise UnsupportedError(
            f"the loss takes {n} targets of a step as negatives, its batches offer {len(batch.in_batch)}",
            where="model.loss.negatives.in_batch",
            do=f"make the datamodule with `in_batch={n}`",
        )
    return sampler.draw(*batch.position, chosen(gather_over_ranks(batch.in_batch), n))
