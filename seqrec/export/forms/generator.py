"""A model of semantic ids as a causal language model whose words are codes: what `transformers.generate` takes."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from peft import PeftModel
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from seqrec.errors import BundleError
from seqrec.export.forms import answer_generator, item_generator
from seqrec.export.forms.answer import TOP, milliseconds
from seqrec.export.forms.compare import answers_of, fresh_answers, refuse_unlike, report_of
from seqrec.export.forms.questions import Answers, Histories, Questions, stacked
from seqrec.export.forms.report import FormReport
from seqrec.export.scoring import evaluating
from seqrec.export.weights import quiet_transformers
from seqrec.models import PAD, ListRequest, RankingModel, SemanticIdModel, is_quantized, merged
from seqrec.models.adapters import why_not_merged

FOLDER = "generate"
IDS_FILE = "ids.json"
_PAD = "<pad>"


def check_generator(model: RankingModel, *, merge: bool, where: str) -> None:
    """Sees that a causal language model can hold the model.

    Raises:
        BundleError: it cannot.
    """
    if not isinstance(model, SemanticIdModel):
        raise BundleError(
            "the model ranks items by their vectors, and generates none by its words",
            where=where,
            do="ask for `generate` with semantic ids, and for onnx, int8 or index here",
        )
    network = model.backbone.model
    if isinstance(network, PeftModel) and not merge:
        n_codes, words = len(model.items.weight), network.get_base_model().config.vocab_size
        reason = why_not_merged(network)
        raise BundleError(
            f"plain LoRA for vLLM or transformers is not enough: the model's words are {n_codes:,} codes, which the "
            f"base model's vocabulary of {words:,} lacks, and an adapter alone does not bring them",
            where=where,
            do="export with `--merge`: the whole model then has them"
            if reason is None
            else f"serve the bundle itself with seqrec; this adapter cannot be merged: {reason}",
        )
    if type(model.backbone.config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise BundleError(
            f"transformers has no causal language model of `{model.backbone.config.model_type}`",
            where=where,
            do="export without forms, or train with `model.backbone.kind=gpt2`",
        )
    if is_quantized(network):
        raise BundleError("a quantized base model is not written whole", where=where, do="export without forms")
    if model.items.width != model.backbone.width:
        raise BundleError(
            f"codes have vectors of width {model.items.width} and the backbone reads {model.backbone.width}: through "
            "the maps between them inputs and outputs are no longer the same vectors, and tied weights, of which a "
            "causal language model has one table for both, would change the scores",
            where=where,
            do=f"train with `model.items.width={model.backbone.width}`, or export without forms",
        )


def write_generator(
    folder: Path, model: SemanticIdModel, item_ids: Sequence[str], questions: Questions, *, max_length: int
) -> FormReport:
    """Writes `generate/` into a bundle: model, tokenizer, the id of each item, and what keeps beams to those.

    Args:
        folder: of the bundle.
        model: on the CPU.
        item_ids: N ids.
        questions: by which it is compared with the model.
        max_length: most events of a history.
    Raises:
        BundleError: its scores differ from the model's by more than 1e-5.
    """
    place = folder / FOLDER
    with evaluating(model), quiet_transformers():
        language_model(model).save_pretrained(str(place))
    words = _words(model.items.sizes)
    _tokenizer(words).save_pretrained(str(place))
    codes = model.items.codes + model.items.first_rows
    about = {
        "max_history": max_length,
        "ids": {item: "".join(words[c] for c in row) for item, row in zip(item_ids, codes.tolist(), strict=True)},
    }
    (place / IDS_FILE).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    shutil.copy(item_generator.__file__, place)
    with evaluating(model), tempfile.TemporaryDirectory() as scratch:
        live = _live_answers(model, questions)
        library, told = fresh_answers(place, questions.arrays(), Path(scratch), answer_generator.__file__)
    report = report_of(place / "model.safetensors", library, answers_of(told, questions), live, questions)
    refuse_unlike(report, "the language model's")
    return report


def language_model(model: SemanticIdModel) -> PreTrainedModel:
    """A causal language model of the same weights, the adapter merged into them.

    Its words are the codes of all levels one after another, and one to pad with. It has one table for inputs and
    outputs, as the model has.
    """
    base = merged(model)
    config = copy.deepcopy(base.config)
    n_codes = len(model.items.weight)
    config.vocab_size, config.tie_word_embeddings = n_codes + 1, True
    config.bos_token_id = config.eos_token_id = None
    config.pad_token_id = n_codes
    found: PreTrainedModel = AutoModelForCausalLM.from_config(config).float().eval()
    unused = {f"{name}.weight" for name, part in base.named_modules() if part is base.get_input_embeddings()}
    body = {name: tensor.float() for name, tensor in base.state_dict().items() if name not in unused}
    left = found.base_model.load_state_dict(body, strict=False)
    assert set(left.missing_keys) == unused
    assert not left.unexpected_keys
    table = found.get_input_embeddings().weight
    table.data.zero_()
    table.data[:n_codes] = model.items.weight.detach().float()
    found.tie_weights()
    levels = model.items.levels
    found.generation_config = GenerationConfig(
        num_beams=model.list_limit,
        num_return_sequences=model.list_limit,
        max_new_tokens=levels,
        min_new_tokens=levels,
        length_penalty=0.0,  # a score is the sum of its codes' log-probabilities
        do_sample=False,
        pad_token_id=n_codes,
    )
    return found


def _words(sizes: Sequence[int]) -> list[str]:
    """How each code is written: its level, from a, and its number."""
    return [f"<{_letters(level)}{code}>" for level, size in enumerate(sizes) for code in range(size)]


def _letters(level: int) -> str:
    return chr(ord("a") + level) if level < 26 else f"level{level}_"


def _tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Reads and writes codes, with padding before them: what comes next must follow the last."""
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate([*words, _PAD])}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("<[^>]*>"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_PAD, padding_side="left")


def _live_answers(model: SemanticIdModel, questions: Questions) -> Answers:
    """The model's own; it is in evaluation mode, on the CPU."""

    def lists(histories: Histories) -> tuple[Tensor, Tensor]:
        assert model.list_limit is not None
        found = model.rank(ListRequest(*histories, k=model.list_limit))
        return found.top_items, found.top_scores.where(found.top_items > PAD, 0)

    return Answers(
        scores=[lists(histories)[1].numpy() for histories in questions.shapes],
        top_items=stacked([lists(histories)[0][:, :TOP].numpy() for histories in questions.held_out]),
        milliseconds={
            str(len(histories.items)): milliseconds(partial(lists, histories)) for histories in questions.timed
        },
    )
