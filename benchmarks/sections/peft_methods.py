"""Methods of fine-tuning on one backbone."""

from __future__ import annotations

from typing import Any

from sections.common import number, table

FILES = "peft-*.json"
TITLE = "Methods of fine-tuning: {rest}"
ABOUT = """`seqrec benchmark peft` ([what it does](peft-benchmark.md)): one pretrained backbone, frozen but for what the
method trains, beside the same trainable item table; learning rates by validation with the first seed, equal numbers of
steps for all. Means over seeds, 95 % intervals over users in brackets. An asterisk: the learning rate is at the edge of
those tried. Times and memory are of a process of one thread, while other work took its share of the machine: they
tell orders of magnitude. Both were halted now and then besides, most of all MiniLM's `layer_norm` and `bottleneck`, and
SmolLM2's `full` and `head_only`, whose times mean nothing. SmolLM2's first 8 blocks alone are no language model: their
loss on titles is 23 to begin with.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row an experiment, then what is advised, and how stable the order is."""
    protocol, tau = figures["protocol"], figures["agreement_of_seeds"]
    lines = table([row(one, protocol["metric"]) for one in figures["rows"]])
    stem = "peft-minilm" if "minilm" in protocol["recipe"] else "peft-smollm2"
    stable = "only one seed" if tau is None else f"Kendall's tau between the orders of the seeds on test: {tau:.2f}"
    return [
        f"Settings: {', '.join(f'`{s}`' for s in figures['settings'])}; seeds {protocol['seeds']}, learning rates "
        f"{protocol['learning_rates']}; {protocol['users']:,} users on test; {protocol['seconds'] / 60:.0f} minutes of "
        f"training on {figures['processes']} processes.\n",
        *lines,
        f"\n{figures['advice']} {stable}.\n",
        f"![{protocol['metric']} over parameters]({stem}.svg)",
    ]


def row(one: dict[str, Any], metric: str) -> dict[str, Any]:
    """Cells of an experiment."""
    language = one["language"] or {}
    before, after = (language.get(name) for name in ("next_token_loss_before", "next_token_loss"))
    told = f"{before} → {after}" if after is not None else number(language.get("similarity_drift"))
    return {
        "method": one["name"],
        "size": one["size"] if one["size"] > 1 else None,
        "parameters": one["parameters"],
        "KiB": round(one["adapter_bytes"] / 1024),
        "lr": f"{one['lr']:g}{'*' if one['lr_at_edge'] else ''}",
        f"validation {metric}": interval(one["validation"]),
        f"test {metric}": interval(one["test"]),
        "seeds": " ".join(f"{value:.4f}" for value in one["test_of_seeds"]),
        "behind the best": None if one["test_behind"] is None else interval(one["test_behind"], "+"),
        "minutes": round(one["seconds"] / 60, 1),
        "s to 95 %": one["seconds_to_quality"],
        "events/s": one["tokens_per_second"],
        "GiB": one["peak_memory_gib"],
        "ms for 64 users": one["answer_ms"].get("live, 64"),
        "merged": one["answer_ms"].get("merged, 64"),
        "language": told,
    }


def interval(found: dict[str, float], sign: str = "") -> str:
    """A value with its interval."""
    return f"{found['value']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
