"""What a recipe says of the model, and the model that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from functools import partial

from peft import PeftModel
from pydantic import Field
from transformers import PreTrainedModel

from seqrec.errors import TokenizerError, UnsupportedError
from seqrec.event_columns import ColumnName
from seqrec.models.adapters import AdapterSettings, VirtualTokenSettings, attach
from seqrec.models.architectures import NetworkSettings
from seqrec.models.auxiliary import AuxiliaryModel, AuxiliarySettings, check_views
from seqrec.models.backbones import Backbone, usable_positions
from seqrec.models.events import EventEmbedding, EventSettings
from seqrec.models.fused_items import FusedItems, FusedItemsSettings
from seqrec.models.heads import (
    HeadSettings,
    NextItem,
    NextItemSettings,
    OneOutcome,
    SemanticIdSettings,
    Slate,
    build_head,
)
from seqrec.models.item_features import ItemFeatures
from seqrec.models.item_kinds import ItemsSettings, build_items
from seqrec.models.items import IdItemsSettings, ItemAttributes, ItemTable
from seqrec.models.losses import FullSoftmax, FullSoftmaxSettings, LossSettings, build_loss
from seqrec.models.model import SequenceModel
from seqrec.models.outcome import VectorOutcomeModel
from seqrec.models.ranking_model import RankingModel
from seqrec.models.scores import CosineScoresSettings, DotScoresSettings, ScoresSettings
from seqrec.models.semantic import CodeTable, SemanticIdModel, SemanticIds, SemanticItemsSettings
from seqrec.models.semantic.model import tokens
from seqrec.models.slate import SlateModel
from seqrec.models.slate_settings import SlateSettings
from seqrec.models.sources import BackboneSettings, PretrainedBackboneSettings, load_backbone
from seqrec.models.text_histories import HistoryText, HistoryWriter, TextHistorySettings, check_words
from seqrec.models.text_outcome import TextOutcomeModel
from seqrec.outcomes import OutcomeSettings
from seqrec.settings import Settings
from seqrec.users import UserSettings, UserValues


class ModelSettings(Settings):
    """The `model` section of a recipe."""

    items: ItemsSettings = Field(default_factory=IdItemsSettings, description="How items become vectors.")
    events: EventSettings = Field(
        default_factory=EventSettings, description="What of an event is added to the vector of its item."
    )
    users: UserSettings | None = Field(
        default=None, description="What of a user is added to the vector of each of their events; null: nothing."
    )
    backbone: BackboneSettings = Field(description="The sequence model.")
    text: TextHistorySettings | None = Field(
        default=None, description="How histories are written as text; null: the backbone reads item vectors."
    )
    adapter: AdapterSettings | None = Field(
        default=None, description="PEFT adapter around the backbone; null trains the backbone itself, or nothing of it."
    )
    head: HeadSettings = Field(default_factory=NextItemSettings, description="What is predicted.")
    scores: ScoresSettings = Field(
        default_factory=DotScoresSettings, description="How the backbone's vector and an item's make a score."
    )
    loss: LossSettings = Field(default_factory=FullSoftmaxSettings, description="Loss over the catalogue.")
    auxiliary: AuxiliarySettings = Field(
        default_factory=AuxiliarySettings, description="Objectives beside the head's, in training only."
    )

    @property
    def with_mask(self) -> bool:
        """Whether mask tokens are put into inputs."""
        return build_head(self.head).with_mask or self.auxiliary.with_mask

    @property
    def virtual_tokens(self) -> int:
        """Positions that the adapter puts before those of an input."""
        return self.adapter.tokens if isinstance(self.adapter, VirtualTokenSettings) else 0

    @property
    def columns(self) -> dict[ColumnName, str]:
        """What is asked of events beside their items, each with the recipe field that asks for it."""
        of_head: dict[ColumnName, str] = dict.fromkeys(build_head(self.head).columns, "model.head")
        of_backbone = self.backbone.columns if isinstance(self.backbone, NetworkSettings) else {}
        return ({} if self.text is None else self.text.columns) | of_head | of_backbone | self.events.columns


def build_model(
    settings: ModelSettings,
    *,
    n_items: int,
    max_length: int,
    total_steps: int,
    actions: Sequence[str] = (),
    attributes: ItemAttributes | None = None,
    table_rows: slice | None = None,
    features: ItemFeatures | None = None,
    text: HistoryText | None = None,
    users: UserValues | None = None,
) -> RankingModel:
    """The model that a recipe describes, with fresh weights where they are not pretrained.

    Args:
        settings: the `model` section.
        n_items: catalogue size N.
        max_length: positions that the longest input takes.
        total_steps: optimizer steps of the whole training, for adapters with a schedule.
        actions: names of the store's action types, in the order of their codes.
        attributes: what the catalogue says of items, where the settings ask for some of it.
        table_rows: rows of the item table to make, where others are to lie elsewhere; None for all.
        features: of the items, where `model.items` is made of some.
        text: what histories are written with, where `model.text` says so.
        users: what attributes of users can be, where `model.users` names some.
    Raises:
        UnsupportedError: the head and the backbone see in different directions, or parts do not go together.
        TokenizerError: there are no semantic ids of this catalogue.
        BackboneError, AdapterError, RecipeError: a part cannot be built.
    """
    check_parts(settings)
    head = build_head(settings.head)
    ids = None
    if isinstance(settings.items, SemanticItemsSettings):
        ids = SemanticIds.read(settings.items.codes)
        if len(ids.codes) != n_items:
            raise TokenizerError(
                f"there are {len(ids.codes):,} semantic ids for {n_items:,} items",
                where=settings.items.codes,
                do="make them for this store with `seqrec tokenize RECIPE`",
            )
        max_length = tokens(max_length, ids.codes.shape[1])
    base = load_backbone(settings.backbone, positions=max_length + settings.virtual_tokens)
    check_views(settings.auxiliary, base.config)
    if text is not None:
        judged = isinstance(head, OneOutcome)  # after a whole history an item that is none of its events
        check_words(text, usable_positions(base) - settings.virtual_tokens, max_length + judged)
    adapter = settings.adapter
    backbone = Backbone(
        base,
        None if adapter is None else partial(attach, settings=adapter, total_steps=total_steps),
        pretrained=isinstance(settings.backbone, PretrainedBackboneSettings),
        compiled=settings.backbone.compile,
    )
    if head.causal is not None and head.causal != backbone.causal:
        raise UnsupportedError(
            f"head `{settings.head.kind}` needs a {'causal' if head.causal else 'bidirectional'} backbone, "
            f"`{settings.backbone.kind}` ({backbone.config.model_type}) is not",
            where="model.head",
            do=f"set `model.head.kind: {'next_item' if backbone.causal else 'masked_item'}`",
        )
    return assemble(
        settings,
        backbone,
        n_items=n_items,
        n_actions=len(actions),
        attributes=attributes,
        table_rows=table_rows,
        ids=ids,
        features=features,
        text=text,
        users=users,
    )


def assemble(
    settings: ModelSettings,
    backbone: Backbone,
    *,
    n_items: int,
    n_actions: int,
    attributes: ItemAttributes | None = None,
    table_rows: slice | None = None,
    ids: SemanticIds | None = None,
    features: ItemFeatures | None = None,
    text: HistoryText | None = None,
    users: UserValues | None = None,
) -> RankingModel:
    """The model around a backbone that is there, with fresh weights in all else.

    Args:
        settings, n_items, attributes, table_rows, features, text, users: as in `build_model`.
        backbone: the sequence model.
        n_actions: action types of the store.
        ids: semantic ids, where the recipe names items by them.
    """
    head, loss = build_head(settings.head), build_loss(settings.loss)
    if isinstance(settings.items, SemanticItemsSettings):
        assert ids is not None
        assert isinstance(settings.head, SemanticIdSettings)
        assert isinstance(loss, FullSoftmax)
        return SemanticIdModel(CodeTable(ids, settings.items), backbone, settings.head, loss)
    writer = None if settings.text is None else HistoryWriter.of(text)
    if isinstance(settings.head, OutcomeSettings) and settings.head.pooling is not None:
        assert writer is not None  # see `check_parts`, as for what follows
        return TextOutcomeModel(n_items, backbone, writer, settings.head, settings.head.pooling)
    items = build_items(
        settings.items,
        n_items=n_items,
        with_mask=settings.with_mask and settings.text is None,  # text has a word for it
        attributes=attributes,
        rows=table_rows,
        features=features,
    )
    if settings.users is not None and users is None:
        raise UnsupportedError(
            "attributes of users are read, and there is no store to read them from",
            where="model.users",
            do="leave it null",
        )
    events = EventEmbedding(settings.events, items.width, n_actions, init_std=settings.items.init_std, users=users)
    if isinstance(settings.head, SlateSettings):
        return SlateModel(items, backbone, Slate(settings.head), loss, events, settings.head)
    if isinstance(settings.head, OutcomeSettings):
        return VectorOutcomeModel(items, backbone, head, events, settings.head)
    temperature = settings.scores.temperature if isinstance(settings.scores, CosineScoresSettings) else None
    if settings.auxiliary.asked:
        assert isinstance(head, NextItem)  # see `check_parts`
        return AuxiliaryModel(items, backbone, head, loss, events, settings.auxiliary, temperature=temperature)
    return SequenceModel(items, backbone, head, loss, events, temperature=temperature, writer=writer)


def check_parts(settings: ModelSettings) -> None:
    """Refuses parts that do not go together, before anything is loaded.

    Raises:
        UnsupportedError: which, and the way out.
    """
    head, kind = settings.head, settings.head.kind
    if isinstance(settings.items, SemanticItemsSettings) != isinstance(head, SemanticIdSettings):
        raise UnsupportedError(
            f"head `{kind}` does not go with items `{settings.items.kind}`",
            where="model.head.kind",
            do="set `model.items.kind: semantic_ids` and `model.head.kind: semantic_id` together",
        )
    own_scores = isinstance(head, SemanticIdSettings | SlateSettings | OutcomeSettings)
    if own_scores and not isinstance(settings.scores, DotScoresSettings):
        raise UnsupportedError(
            f"the head `{kind}` scores in its own way",
            where=f"model.scores.kind: {settings.scores.kind}",
            do="leave `model.scores` out",
        )
    own_loss: dict[type[Settings], str] = {
        SemanticIdSettings: "tells a few codes apart, and no negatives are drawn from them",
        OutcomeSettings: "has a binary cross-entropy of its own",
    }
    if type(head) in own_loss and not isinstance(settings.loss, FullSoftmaxSettings):
        raise UnsupportedError(
            f"the head `{kind}` {own_loss[type(head)]}",
            where=f"model.loss.kind: {settings.loss.kind}",
            do="leave `model.loss` out",
        )
    weighted = isinstance(settings.items, FusedItemsSettings) and settings.items.cold_weight != 1
    if weighted and isinstance(head, OutcomeSettings):
        raise UnsupportedError(
            f"the head `{kind}` has no items for targets, of which cold ones could count more",
            where="model.items.cold_weight",
            do="leave it out",
        )
    _check_text(settings)
    if settings.users is not None and (settings.text is not None or isinstance(head, SemanticIdSettings)):
        raise UnsupportedError(
            "attributes of users are added to vectors of items, which histories as text or codes do not have",
            where="model.users",
            do="leave it null, or `model.text`" if settings.text is not None else "leave it null",
        )
    if settings.auxiliary.asked:
        _check_objectives(settings)
    if isinstance(head, SemanticIdSettings):
        _check_search(settings)


def _check_text(settings: ModelSettings) -> None:
    """Sees that what is asked of histories can be had of text."""
    head, text = settings.head, settings.text
    pooled = isinstance(head, OutcomeSettings) and head.pooling is not None
    if text is None:
        if pooled:
            raise UnsupportedError(
                "what is taken together is a history and an event written as one text",
                where="model.head.pooling",
                do="set `model.text`, or leave it null",
            )
        return
    if isinstance(head, OutcomeSettings) and not pooled:
        raise UnsupportedError(
            "an outcome is read off a whole text", where="model.text", do="set `model.head.pooling`, as `mean`"
        )
    if isinstance(head, SemanticIdSettings | SlateSettings):
        raise UnsupportedError(f"the head `{head.kind}` reads item vectors", where="model.text", do="leave it null")
    if pooled and settings.items != IdItemsSettings():
        raise UnsupportedError(
            "an outcome is read off a text, and there are no item vectors", where="model.items", do="leave it out"
        )
    if text.question and not pooled:
        raise UnsupportedError(
            f"the head `{head.kind}` asks about no single event",
            where="model.text.question",
            do="leave it out, or set `model.head.kind: outcome`",
        )
    unsaid = {name: field for name, field in settings.columns.items() if text.columns.get(name) != field}
    if unsaid:
        raise UnsupportedError(
            f"histories as text do not say {' and '.join(unsaid)} of events",
            where=next(iter(unsaid.values())),
            do="leave it out, or `model.text` null; actions can be said by `model.text.actions`",
        )


def _check_objectives(settings: ModelSettings) -> None:
    """Sees that the model has what objectives beside its head's ask for."""
    where = f"model.auxiliary.{settings.auxiliary.asked[0]}"
    if not isinstance(settings.head, NextItemSettings):
        raise UnsupportedError(
            f"it goes with the head `next_item`, and not with `{settings.head.kind}`", where=where, do="leave it null"
        )
    if settings.text is not None:
        raise UnsupportedError(
            "histories as text are written for the head alone", where=where, do="leave it, or `model.text`, null"
        )


def _check_search(settings: ModelSettings) -> None:
    """Sees that a beam search over semantic ids can go on from what the backbone has read."""
    backbone = settings.backbone
    if settings.events.columns:
        raise UnsupportedError(
            "codes stand for items, and nothing is added to them of an event",
            where=next(iter(settings.events.columns.values())),
            do="leave `model.events` out",
        )
    if isinstance(backbone, NetworkSettings):
        raise UnsupportedError(
            "a search goes on from keys and values that were kept, and seqrec's own backbones keep none",
            where=f"model.backbone.kind: {backbone.kind}",
            do="set it to `gpt2`, `smoothed_gpt2` or `llama`",
        )
    if settings.virtual_tokens:
        raise UnsupportedError(
            "a search goes on from keys and values of its own, beside which an adapter brings none",
            where="model.adapter.kind",
            do="take `lora`, or another adapter without virtual tokens",
        )
    if backbone.attn_implementation not in ("sdpa", "eager"):
        raise UnsupportedError(
            "a search masks what each beam may see, which this implementation does not take",
            where=f"model.backbone.attn_implementation: {backbone.attn_implementation}",
            do="set it to `sdpa`",
        )


def with_table(model: RankingModel, settings: ModelSettings) -> tuple[RankingModel, ModelSettings]:
    """The model with a plain table where its item vectors are made of more, and its settings; else itself.

    All else is the model's own, not a copy.
    """
    items = model.items
    if isinstance(items, FusedItems):
        table = items.as_table()
    elif isinstance(items, ItemTable) and items.attributes is not None:
        table = ItemTable.of(items.vectors().detach(), items.mask)
    else:
        return model, settings
    plain = copy(model)
    plain._modules = {**model._modules, "items": table}
    return plain, settings.model_copy(update={"items": IdItemsSettings(width=items.width)})


def merged(model: RankingModel) -> PreTrainedModel:
    """A copy of the backbone, in evaluation mode, with its adapter merged into the weights.

    The model itself stays as it is.

    Raises:
        ValueError: merged weights are not finite.
    """
    backbone = deepcopy(model.backbone.model)
    base: PreTrainedModel = backbone.merge_and_unload(safe_merge=True) if isinstance(backbone, PeftModel) else backbone
    return base.eval()
