"""GRU and LSTM: each block is one recurrent layer, as in GRU4Rec, Hidasi et al. 2016, arXiv:1511.06939."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from seqrec.models.architectures.base import Network, NetworkConfig, NetworkSettings, register

Cell = Literal["gru", "lstm"]


class RecurrentConfig(NetworkConfig):
    """Sizes of a stack of recurrent layers."""

    model_type = "seqrec_recurrent"
    cell: str = "gru"


class RecurrentSettings(NetworkSettings):
    """Recurrent layers over the sequence, which know positions by themselves; without adapters."""

    kind: Cell

    def network_config(self, positions: int) -> PretrainedConfig:
        """For inputs of so many positions."""
        return RecurrentConfig(
            cell=self.kind,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            dropout=self.dropout,
            max_position_embeddings=positions,
        )


class RecurrentBlock(GradientCheckpointingLayer):  # type: ignore[misc]
    """One recurrent layer, with dropout in front of it where it is not the first."""

    def __init__(self, config: RecurrentConfig, *, first: bool):
        super().__init__()
        kind = nn.GRU if config.cell == "gru" else nn.LSTM
        self.dropout = nn.Dropout(0.0 if first else config.dropout)  # inputs have theirs
        self.cell = kind(config.hidden_size, config.hidden_size, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """float (B, L, H); padding lies right of all that is read, so rows need not be packed."""
        states: Tensor = self.cell(self.dropout(hidden))[0]
        return states


class RecurrentNetwork(Network):
    """A stack of `RecurrentBlock`s."""

    config_class: ClassVar[type[PretrainedConfig]] = RecurrentConfig
    config: RecurrentConfig
    _no_split_modules: ClassVar[list[str]] = ["RecurrentBlock"]

    def __init__(self, config: RecurrentConfig):
        super().__init__(config)
        self.layers = nn.ModuleList(RecurrentBlock(config, first=n == 0) for n in range(config.num_hidden_layers))
        self.post_init()

    def hidden_states(self, vectors: Tensor, **columns: Tensor | None) -> Tensor:
        """As `Network` says."""
        for layer in self.layers:
            vectors = layer(vectors)
        return vectors


register(RecurrentConfig, RecurrentNetwork)
