from __future__ import annotations

import torch
import torch.nn.functional as F

from seqrec.models.architectures import Hstu, HstuConfig

SECOND = 1_000_000


def test_a_block_by_hand() -> None:
    """One head of width 2 over two events, three seconds apart."""
    torch.manual_seed(0)
    config = HstuConfig(hidden_size=2, num_hidden_layers=1, max_position_embeddings=4, time_buckets=3, positions="none")
    network = Hstu(config).double().eval()
    (block,) = network.layers
    x = torch.tensor([[[1.0, 3.0], [2.0, -1.0]]], dtype=torch.float64)
    times = torch.tensor([[10 * SECOND, 13 * SECOND]])

    def norm(vectors: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(vectors, (2,))

    u, v, q, k = F.silu(norm(x[0]) @ block.uvqk_proj.weight.T).chunk(4, dim=-1)
    near, far = block.distance_bias.weight[:2, 0]
    at_once, seconds = block.time_bias.weight[0, 0], block.time_bias.weight[1, 0]  # three seconds are in 2..4
    first = F.silu(q[0] @ k[0] + near + at_once) / 4 * v[0]
    second = F.silu(q[1] @ k[0] + far + seconds) / 4 * v[0] + F.silu(q[1] @ k[1] + near + at_once) / 4 * v[1]
    mixed = norm(torch.stack([first, second]))
    expected = norm(x[0] + (u * mixed) @ block.out_proj.weight.T + block.out_proj.bias)
    found = network(inputs_embeds=x, timestamps=times).last_hidden_state[0]
    torch.testing.assert_close(found, expected)
