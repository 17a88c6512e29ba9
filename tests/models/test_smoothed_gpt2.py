from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, DynamicCache

from seqrec.errors import RecipeError
from seqrec.models import Backbone, ConfiguredBackboneSettings, load_backbone
from seqrec.models.smoothed_gpt2 import CausalAverages, SmoothedAttention


def make(**config: Any) -> Any:
    torch.manual_seed(0)
    settings = ConfiguredBackboneSettings(
        kind="smoothed_gpt2", layers=1, heads=2, width=16, dropout=0.4, config={"smoothing_groups": 4} | config
    )
    return load_backbone(settings, positions=9)


def test_averages_weigh_what_came_before_by_its_distance() -> None:
    averages = CausalAverages(width=4, groups=2)
    with torch.no_grad():
        averages.log_decay.copy_(torch.tensor([2.0, 3.0]).log().log())  # a step further counts 1/2, in the other 1/3
        averages.beta.copy_(torch.tensor([0.0, 1.0, 0.0, 0.5]))
    x = torch.tensor([[[7.0], [1.0], [4.0]]]).expand(1, 3, 4)
    found = averages(x)[0, 2]
    half, third = (4 + 1 / 2 + 7 / 4) / (1 + 1 / 2 + 1 / 4), (4 + 1 / 3 + 7 / 9) / (1 + 1 / 3 + 1 / 9)
    torch.testing.assert_close(found, torch.tensor([half, 4.0, third, third + (4 - third) / 4]))
    torch.testing.assert_close(averages(x)[0, 0], torch.full((4,), 7.0))


def test_the_share_mixes_averages_with_attention() -> None:
    block = make(smoothing_share=0.25).h[0].attn.eval()
    assert isinstance(block, SmoothedAttention)
    x = torch.randn(2, 5, 16)
    attended, _ = block.attention(x)
    torch.testing.assert_close(block(x)[0], 0.75 * attended + 0.25 * block.averages(x))


def test_it_loads_as_it_was_saved(tmp_path: Path) -> None:
    model = make(smoothing_share=0.6).eval()
    with torch.no_grad():
        model.h[0].attn.averages.log_decay += 1.0
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    x = torch.randn(2, 5, 16)
    assert torch.equal(loaded(inputs_embeds=x).last_hidden_state, model(inputs_embeds=x).last_hidden_state)


def test_dropout_belongs_to_the_row() -> None:
    backbone = Backbone(make()).train()
    x, lengths = torch.randn(3, 5, 16), torch.tensor([5, 5, 5])
    backbone.dropout_keys.rows = torch.tensor([4, 5, 6])
    whole = backbone(x, lengths)
    backbone.dropout_keys.rows = torch.tensor([6])
    torch.testing.assert_close(backbone(x[2:], lengths[2:])[0], whole[2])


def test_first_decays_are_of_events_that_take_several_positions() -> None:
    one, three = (make(smoothing_positions=positions).h[0].attn.averages.log_decay.exp() for positions in (1, 3))
    torch.testing.assert_close(one, 3 * three)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_further_positions_are_smoothed_with_what_the_cache_keeps(attention: str) -> None:
    model = make(smoothing_share=0.6)
    model.set_attn_implementation(attention)
    backbone = Backbone(model).eval()
    x, cache = torch.randn(1, 7, 16), DynamicCache(config=model.config)
    backbone(x[:, :4], torch.tensor([3]), cache=cache)  # a position of padding, which none sees
    own = torch.tensor([[True, False], [False, True]])
    history = torch.tensor([True, True, True, False]).expand(2, -1)
    # two ways to go on: positions 4 and 5 stand for the same place
    one = backbone.step(x[:, 4:6], torch.tensor([[3, 3]]), torch.cat([history, own], 1).unsqueeze(0), cache)
    last = torch.tensor([[True, True, True, False, False, True, True]])
    two = backbone.step(x[:, 6:], torch.tensor([[4]]), last.unsqueeze(0), cache)
    for places, found in (([0, 1, 2, 4], one[:, 0]), ([0, 1, 2, 5], one[:, 1]), ([0, 1, 2, 5, 6], two[:, 0])):
        whole = backbone(x[:, places], torch.tensor([len(places)]))[:, -1]
        torch.testing.assert_close(found, whole)


def test_groups_must_divide_the_width() -> None:
    with pytest.raises(RecipeError, match="3 groups do not divide the width of 16"):
        make(smoothing_groups=3)
