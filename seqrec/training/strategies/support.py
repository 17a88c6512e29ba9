"""What works with what: the pairs of settings that do not, why, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from seqrec.errors import UnsupportedError
from seqrec.training.strategies.registry import Family

PRECISIONS = ("64-true", "32-true", "bf16-mixed", "16-mixed", "bf16-true")

_SHARDED: tuple[Family, ...] = ("fsdp2", "zero_1", "zero_2", "zero_3")
_ZERO: tuple[Family, ...] = ("zero_1", "zero_2", "zero_3")


class Refusal(NamedTuple):
    """A field, or one value of it, that does not work under some strategies.

    Attributes:
        families: the strategies.
        field: dotted path in a recipe.
        value: the value there; None for any but null.
        reason: what happens.
        do: the way out.
    """

    families: tuple[Family, ...]
    field: str
    value: str | None
    reason: str
    do: str


REFUSALS = (
    Refusal(
        _SHARDED,
        "trainer.precision",
        "64-true",
        "Lightning has no float64 there",
        "use `32-true`, or train under `ddp`",
    ),
    Refusal(
        ("fsdp2",),
        "trainer.precision",
        "16-mixed",
        "the scale of the loss would have to follow overflow in any shard, which Lightning does not do",
        "use `bf16-mixed`",
    ),
    Refusal(
        ("fsdp2",),
        "model.adapter.kind",
        "adalora",
        "its penalty and its allocation need whole matrices, and the strategy leaves a shard of each",
        "use `lora`, or train under `ddp`",
    ),
    Refusal(
        _ZERO,
        "model.adapter.kind",
        "adalora",
        "it allocates ranks by gradients, and DeepSpeed keeps them in buffers of its own",
        "use `lora`, or train under `ddp`",
    ),
    Refusal(
        _SHARDED,
        "optimizer.table_updates",
        "rows",
        "the rows of a step lie in the shards of several ranks",
        "set it to `all`, or train under `ddp`",
    ),
    *(
        Refusal(
            (*_SHARDED, "catalogue_parallel"),
            "model.items.kind",
            kind,
            "vectors of all items are made of whole weights, of which the strategy leaves shards",
            "use `ids`, or train under `ddp`",
        )
        for kind in ("features", "fused")
    ),
    Refusal(
        _SHARDED,
        "model.backbone.quantize",
        None,
        "shards would cut through packed weights and their scales",
        "train under `ddp`, where a rank holds the small frozen backbone whole",
    ),
    Refusal(
        ("catalogue_parallel",),
        "trainer.precision",
        "16-mixed",
        "each rank would see overflow in its own rows of the item table only",
        "use `bf16-mixed`",
    ),
    Refusal(
        ("catalogue_parallel",),
        "trainer.precision",
        "bf16-true",
        "its losses are sums in the precision of the item table, for which bfloat16 is too coarse",
        "use `bf16-mixed`",
    ),
    Refusal(
        (*_SHARDED, "catalogue_parallel"),
        "optimizer.ema",
        None,
        "the average would have to be kept and saved in shards, which it is not",
        "leave it null, or train under `ddp`",
    ),
    Refusal(
        (*_SHARDED, "catalogue_parallel"),
        "optimizer.kind",
        "schedule_free_adamw",
        "the average that it moves along would have to be made and saved in shards, which it is not",
        "set it to `adamw`, or train under `ddp`",
    ),
    Refusal(
        ("catalogue_parallel",),
        "model.items.attributes",
        None,
        "an item's vector would be made of rows of two tables, and ranks exchange those of one",
        "leave it empty, or train under `ddp`",
    ),
    Refusal(
        ("catalogue_parallel",),
        "model.loss.label_smoothing",
        None,
        "its loss over shards has no term for the mean over all items",
        "set it to 0, or train under `ddp`",
    ),
    Refusal(
        ("catalogue_parallel",),
        "model.auxiliary",
        None,
        "ranks exchange rows of the table for the batch as it is, and further copies of it were never tried there",
        "leave it out, or train under `ddp`",
    ),
    Refusal(
        ("catalogue_parallel",),
        "data.length_buckets",
        None,
        "ranks exchange rows of the table for the batch as it is, and rows that only fill up were never tried there",
        "leave it null, or train under `ddp`",
    ),
    Refusal(
        (*_SHARDED, "catalogue_parallel"),
        "model.items.kind",
        "semantic_ids",
        "lists take as many passes as an id has codes, in which ranks that share weights would have to meet",
        "train under `ddp`: a model without a table of items is small",
    ),
    Refusal(
        _ZERO,
        "selection.save_in_background",
        "true",
        "DeepSpeed writes its own files, and its ranks meet in training's process group meanwhile",
        "leave it false, or train under `fsdp2`",
    ),
    Refusal(
        ("fsdp2", "zero_3", "catalogue_parallel"),
        "model.head.kind",
        "slate",
        "a search asks for the decoder and all items at each place, outside the passes that weights are gathered for",
        "train under `ddp` or an earlier stage of ZeRO",
    ),
    Refusal(
        ("fsdp2", "zero_3", "catalogue_parallel"),
        "model.head.kind",
        "outcome",
        "ranks judge different numbers of batches, and would wait for each other to gather weights",
        "train under `ddp` or an earlier stage of ZeRO",
    ),
    Refusal(
        _ZERO,
        "trainer.gradient_clip_algorithm",
        "value",
        "DeepSpeed clips by norm only",
        "set it to `norm`, or train under `ddp`",
    ),
)


def refusals(family: Family, chosen: Mapping[str, str | None]) -> list[Refusal]:
    """Why a combination does not work; empty where it does.

    Args:
        family: the strategy's, as `family_of` gives it.
        chosen: values by dotted path; fields that are not there are taken to be harmless.
    """
    given = {field: value for field, value in chosen.items() if value is not None}
    return [
        one
        for one in REFUSALS
        if family in one.families and one.field in given and one.value in (None, given[one.field])
    ]


def named(refusal: Refusal) -> str:
    """The field, and its value where only that one is refused, as a recipe has them."""
    return refusal.field if refusal.value is None else f"{refusal.field}: {refusal.value}"


def check_combination(strategy: str, family: Family, chosen: Mapping[str, str | None]) -> None:
    """Refuses what does not work together, by name.

    Args:
        strategy: as the recipe has it.
        family: its family.
        chosen: as for `refusals`.
    Raises:
        UnsupportedError: all faults in one message.
    """
    precision = chosen.get("trainer.precision")
    if family in (*_SHARDED, "catalogue_parallel") and precision is not None and precision not in PRECISIONS:
        raise UnsupportedError(
            f"`{precision}` has not been tried under `{strategy}`",
            where="trainer.precision",
            do=f"use one of {', '.join(p for p in PRECISIONS if not refusals(family, {'trainer.precision': p}))}",
        )
    found = refusals(family, chosen)
    if not found:
        return
    first, *rest = found
    raise UnsupportedError(
        f"does not work under `trainer.strategy: {strategy}`: {first.reason}",
        where=named(first),
        **{f"also ({i})": f"{named(one)}: {one.reason}; {one.do}" for i, one in enumerate(rest, start=2)},
        do=first.do,
    )
