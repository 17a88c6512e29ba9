"""Vectors of a catalogue to semantic ids, and the folder that keeps them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqrec.errors import TokenizerError
from seqrec.models import CODES_FILE, SemanticIds
from seqrec.tokenize.collisions import separate
from seqrec.tokenize.quantizer import Quantizer, residual_codes, residual_kmeans
from seqrec.tokenize.report import TokenizerReport, level_reports
from seqrec.tokenize.rq_vae import layers, train_rq_vae
from seqrec.tokenize.settings import RqKMeansSettings, RqVaeSettings
from seqrec.tokenize.vectors import Blocks

REPORT_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Tokenizer:
    """Names items by semantic ids.

    Attributes:
        blocks: scales of the vectors.
        quantizer: makes codes of them.
        ids: of the catalogue that it was trained on.
    """

    blocks: Blocks
    quantizer: Quantizer
    ids: SemanticIds

    @classmethod
    def train(
        cls,
        blocks: Sequence[Tensor],
        settings: RqKMeansSettings | RqVaeSettings,
        *,
        weights: Sequence[float],
        seed: int,
    ) -> tuple[Self, TokenizerReport]:
        """Learns codebooks from a catalogue's vectors and gives each item an id of its own.

        Args:
            blocks: float (N, D_i), vectors of each kind.
            settings: of the quantizer.
            weights: length of each kind beside the others.
            seed: of what is random.
        Raises:
            TokenizerError: as `check_codes`, or too many items have their first codes in common.
        """
        n_items = len(blocks[0])
        check_codes(settings, n_items)
        scales = Blocks.of(blocks, weights)
        vectors = scales.joined(blocks)
        if isinstance(settings, RqVaeSettings):
            quantizer = train_rq_vae(vectors, settings, seed=seed)
        else:
            books = residual_kmeans(vectors, levels=settings.levels, codes=settings.codes, key=("rq-k-means", seed))
            quantizer = Quantizer(books, nn.Identity(), nn.Identity())
        latents = quantizer.latents(vectors)
        nearest, _ = residual_codes(latents, quantizer.codebooks)
        codes = separate(latents, quantizer.codebooks)
        sizes = torch.full((settings.levels,), settings.codes)
        report = TokenizerReport(
            items=n_items,
            levels=level_reports(codes, sizes.tolist()),
            ids_before=len(torch.unique(nearest, dim=0)),
            moved=int((nearest != codes).any(1).sum()),
            error_before=quantizer.error(vectors, nearest),
            error_after=quantizer.error(vectors, codes),
        )
        return cls(scales, quantizer, SemanticIds.checked(codes, sizes, where="tokenizer")), report

    def encode(self, blocks: Sequence[Tensor | None]) -> Tensor:
        """Ids of new items, other than those of the catalogue.

        Args:
            blocks: float (n, D_i), in the order of training; None for a kind that is not known of them.
        Returns:
            int64 (n, m).
        Raises:
            TokenizerError: these are not the kinds of training, or there are too few ids left.
        """
        latents = self.quantizer.latents(self.blocks.joined(blocks))
        return separate(latents, self.quantizer.codebooks, taken=self.ids.codes)

    def save(self, folder: str | Path, facts: dict[str, Any], *, replace: bool = False) -> Path:
        """Writes `codes.safetensors` and `tokenizer.json` into a new folder, which appears whole.

        Args:
            folder: new, empty, or with ids that are replaced.
            facts: what `tokenizer.json` says: settings, report, what the ids were made from.
            replace: throws away the ids that are there, once the new files are written.
        Raises:
            TokenizerError: as `check_place`.
        """
        destination = Path(folder)
        check_place(destination, replace=replace)
        destination.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{destination.name}.partial-", dir=destination.parent))
        try:
            beside.chmod(0o755)
            save_file({name: value.contiguous() for name, value in self._tensors().items()}, beside / CODES_FILE)
            (beside / REPORT_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(destination, ignore_errors=True)
            beside.rename(destination)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return destination

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            "codes": self.ids.codes,
            "sizes": self.ids.sizes,
            "codebooks": self.quantizer.codebooks,
            **{f"blocks.{name}": value for name, value in self.blocks._asdict().items()},
        }
        for name in ("encoder", "decoder"):
            state = getattr(self.quantizer, name).state_dict()
            tensors |= {f"{name}.{key}": value for key, value in state.items()}
        return tensors

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """What `save` has written.

        Raises:
            TokenizerError: it is not there, or does not name items one by one.
        """
        ids = SemanticIds.read(folder)
        file = Path(folder) / CODES_FILE
        tensors = load_file(file)
        networks = [_network(tensors, name) for name in ("encoder", "decoder")]
        try:
            blocks = Blocks(*(tensors[f"blocks.{name}"] for name in Blocks._fields))
            return cls(blocks, Quantizer(tensors["codebooks"], *networks), ids)
        except KeyError as error:
            raise TokenizerError.unreadable(file, f"it has no tensor {error}, only ids") from error


def check_place(folder: Path, *, replace: bool) -> None:
    """Sees that ids may be written into a folder.

    Raises:
        TokenizerError: there are ids and they are not to be replaced, or it holds anything else.
    """
    if not folder.exists():
        return
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    ids = [name for name in others if name in (CODES_FILE, REPORT_FILE)]
    if len(ids) < len(others):
        raise TokenizerError(
            "there is something else than semantic ids",
            where=str(folder),
            holds=", ".join(sorted(set(others) - set(ids))[:5]),
            do="name a folder of their own",
        )
    if ids and not replace:
        raise TokenizerError(
            "there are semantic ids already",
            where=str(folder),
            do="keep them, or make others with `--fresh`: runs that were trained on these can then not be opened",
        )


def check_codes(settings: RqKMeansSettings | RqVaeSettings, n_items: int) -> None:
    """Sees that there are items for all codes of a level, and ids for all items.

    Raises:
        TokenizerError: there are too few of either.
    """
    if n_items < settings.codes:
        raise TokenizerError(
            f"{n_items:,} items are fewer than the {settings.codes:,} codes of a level",
            where="tokenizer.quantizer.codes",
            do=f"set it to {max(2, round(n_items**0.5)):,}, say",
        )
    if n_items > settings.codes**settings.levels:
        raise TokenizerError(
            f"{n_items:,} items are more than the {settings.codes**settings.levels:,} ids of {settings.levels} "
            f"codes, each of {settings.codes:,}",
            where="tokenizer.quantizer",
            do="raise `levels` or `codes`",
        )


def _network(tensors: dict[str, Tensor], name: str) -> nn.Module:
    """The layers whose weights were saved under a name; the identity where none were."""
    state = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    if not state:
        return nn.Identity()
    matrices = [value for key, value in state.items() if key.endswith("weight")]
    network = layers([matrices[0].shape[1], *(len(matrix) for matrix in matrices)])
    network.load_state_dict(state)
    return network.requires_grad_(False)
