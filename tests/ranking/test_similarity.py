from __future__ import annotations

import math

import torch

from seqrec.ranking import Labels, VectorSimilarity


def test_cosine_of_vectors() -> None:
    similarity = VectorSimilarity.of(torch.tensor([[3.0, 4.0], [0.0, 2.0], [-3.0, -4.0]]))
    found = similarity.between(torch.tensor([[1, 2]]), torch.tensor([[1, 2, 3]]))
    torch.testing.assert_close(found, torch.tensor([[[1.0, 0.8, -1.0], [0.8, 1.0, -0.8]]]))


def test_labels_are_sets() -> None:
    labels = Labels.of(["a|b", " b | a", "a|a", "c|a|b", "", None])
    items = torch.arange(1, 7)[None]
    found = labels.between(items, items)[0]
    expected = torch.tensor([1, 1, 1 / math.sqrt(2), 2 / math.sqrt(6)])
    torch.testing.assert_close(found[0, :4], expected)
    torch.testing.assert_close(found[3, 2], torch.tensor(1 / math.sqrt(3)))
    assert not found[4:, :4].any()
    assert found[4:, 4:].all()  # those without a label are alike
    assert labels.known(items).tolist() == [[True] * 4 + [False] * 2]
    assert labels.n_labels == 3
