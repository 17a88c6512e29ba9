"""All prefixes of a catalogue's semantic ids, as tables on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from seqrec.models.semantic.codes import SemanticIds


class CodeTrie(nn.Module):
    """A trie in compressed sparse rows: what may follow a prefix is a slice.

    Ids are sorted, so that those with a prefix in common are neighbours. The prefixes of l codes are the nodes of depth
    l, numbered in that order: one root, and N leaves of depth m, one an item. So the children of a node are numbered
    on end, and so are the leaves below it.

    Args:
        ids: of the catalogue.

    Attributes:
        most_children: for each depth below m, the most children that a node has.
        leaf_item: int64 (N,), the item of each leaf.
        item_leaf: int64 (N,), row i - 1 for item i.
    """

    leaf_item: Tensor
    item_leaf: Tensor

    def __init__(self, ids: SemanticIds):
        super().__init__()
        codes = ids.codes.cpu().numpy()
        order = np.lexsort(codes.T[::-1])
        ordered = codes[order]
        self.depth = codes.shape[1]
        self.most_children: list[int] = []
        starts = np.zeros(1, dtype=np.int64)  # first leaf below each node of a depth
        opens = np.arange(len(codes)) == 0  # leaves at which another prefix begins
        self._keep("leaves", 0, np.append(starts, len(codes)))
        for depth in range(self.depth):
            opens = opens | np.append(True, ordered[1:, depth] != ordered[:-1, depth])
            node = np.cumsum(opens) - 1
            below = np.append(node[starts], opens.sum())
            starts = np.flatnonzero(opens)
            self.most_children.append(int(np.diff(below).max()))
            self._keep("children", depth, below)
            self._keep("codes", depth + 1, ordered[starts, depth])
            self._keep("leaves", depth + 1, np.append(starts, len(codes)))
        self.register_buffer("leaf_item", torch.from_numpy(order + 1), persistent=False)
        self.register_buffer("item_leaf", torch.from_numpy(np.argsort(order)), persistent=False)

    def _keep(self, name: str, depth: int, values: np.ndarray) -> None:
        self.register_buffer(f"_{name}_{depth}", torch.from_numpy(values.astype(np.int64)), persistent=False)

    def extensions(self, nodes: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """The children of nodes, padded to the most that any has.

        Args:
            nodes: int64 (…), of ``depth``.
            depth: 0..m - 1.
        Returns:
            Nodes of the next depth int64 (…, children), and bool (…, children): which are children, not padding.
        """
        bounds = self.get_buffer(f"_children_{depth}")
        place = torch.arange(self.most_children[depth], device=nodes.device)
        first, stop = bounds[nodes].unsqueeze(-1), bounds[nodes + 1].unsqueeze(-1)
        found = first + place
        return found.minimum(stop - 1), found < stop

    def nodes(self, items: Tensor, depth: int) -> Tensor:
        """The nodes of a depth 0..m, int64 (…), above items int64 (…), 1..N."""
        first_leaves = self.get_buffer(f"_leaves_{depth}")
        return torch.searchsorted(first_leaves, self.item_leaf[items - 1], right=True) - 1

    def codes(self, nodes: Tensor, depth: int) -> Tensor:
        """The last codes, int64 (…), of nodes of a depth 1..m."""
        return self.get_buffer(f"_codes_{depth}")[nodes]

    def log_probs(self, logits: Tensor, nodes: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities among the codes that go on to an item, whatever the others' logits are.

        So the probabilities of all items sum to one.

        Args:
            logits: float (…, C), of what follows the nodes.
            nodes: int64 (…), of ``depth``.
            depth: 0..m - 1.
        Returns:
            The nodes' children int64 (…, children), as `extensions` has them, and their log-probabilities float32
            (…, children), ``-inf`` for padding.
        """
        children, there = self.extensions(nodes, depth)
        own = logits.gather(-1, self.codes(children, depth + 1)).float()
        return children, own.masked_fill(~there, -torch.inf).log_softmax(-1)

    def leaves(self, nodes: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """First leaf below each node of a depth, and the one behind the last, int64 (…)."""
        bounds = self.get_buffer(f"_leaves_{depth}")
        return bounds[nodes], bounds[nodes + 1]
