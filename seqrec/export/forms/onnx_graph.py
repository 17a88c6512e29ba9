"""A model as an ONNX graph, and the same graph in 8 bits."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from seqrec.models import SequenceModel

_ROWS, _POSITIONS = 3, 7  # of the example; 0 and 1 would be taken for constants
_INPUTS, _OUTPUTS = ("items", "lengths"), ("user_vectors", "scores")


class _Graph(nn.Module):
    """Histories to the users' vectors and the scores of all items."""

    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        users = self.model.user_vectors(items, lengths)
        return users, users @ self.model.item_vectors().T


def write_onnx(model: SequenceModel, file: Path, *, most: int) -> None:
    """Writes the graph from `items` int64 (B, L) and `lengths` int64 (B,) to `user_vectors` (B, D) and `scores` (B, N).

    Args:
        model: in evaluation mode, on the CPU; reads nothing of events but their items.
        file: to write.
        most: longest history, L at most.
    """
    positions = min(_POSITIONS, most)
    example = torch.ones(_ROWS, positions, dtype=torch.int64), torch.full((_ROWS,), positions)
    any_size = torch.export.Dim.DYNAMIC
    graph = _Graph(model).eval()
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes={"items": {0: any_size, 1: any_size}, "lengths": {0: any_size}},
            input_names=_INPUTS,
            output_names=_OUTPUTS,
            verbose=False,
        )
        assert program is not None  # as of dynamo=True
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # where each came from in files of the machine that exports
        program.save(file)


def write_int8(graph: Path, file: Path) -> None:
    """Writes a graph whose linear maps have weights in 8 bits, and inputs too, whose range each call finds anew.

    Item vectors stay as they are: their products with a user's vector are the ranking, in which near scores matter.
    """
    from onnx import load
    from onnxruntime.quantization import QuantType, quantize_dynamic

    scoring = [node.name for node in load(graph).graph.node if "scores" in node.output]
    with tempfile.TemporaryDirectory() as name, _quiet():
        # without the shapes in the file, which are those of the example and which the quantizer would contradict
        bare = Path(name) / "model.onnx"
        _without_shapes(graph, bare)
        quantize_dynamic(
            bare,
            file,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=scoring,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def _without_shapes(graph: Path, file: Path) -> None:
    from onnx import load, save

    model = load(graph)
    del model.graph.value_info[:]
    save(model, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporter and quantizer say of themselves and of torchvision."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
