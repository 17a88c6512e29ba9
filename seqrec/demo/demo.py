"""Simulates a shop and runs its log through prepare, fit, evaluate, recommend and export."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from seqrec.demo.files import packaged_recipe
from seqrec.evaluation import (
    EvaluationResult,
    MetricValue,
    Report,
    ReportItem,
    ReportUser,
    Tally,
    evaluate,
    write_report,
)
from seqrec.recipe import Run, Trained, ensure_store, export_run, fit, load_recipe, open_trained, training_curve
from seqrec.simulate import ShopSettings, read_oracle, simulate_shop, write_shop
from seqrec.store import Catalogue
from seqrec.versions import versions

_USERS_SHOWN = 6
_HISTORY_SHOWN = 8


def run_demo(out: str | Path, *, say: Callable[[str], None]) -> Path:
    """Runs the whole of seqrec on a simulated log.

    Args:
        out: folder for log, store, run, bundle and report; a second call goes on from what is there.
        say: is told what happens.
    Returns:
        The report, an HTML file.
    """
    started = time.time()
    out = Path(out)
    shop = write_shop(simulate_shop(ShopSettings()), out / "log")
    say(f"1/6 simulated a shop's log: {shop.log} ({shop.malformed} rows malformed on purpose)")
    overrides = [f"logs.root={out / 'log'}", f"data.store={out / 'store'}"]
    recipe = load_recipe(packaged_recipe("demo.yaml"), overrides)
    counts = ensure_store(recipe).manifest.counts
    say(f"2/6 prepared {counts.users:,} users, {counts.items:,} items, {counts.events:,} events; "
        f"{counts.rejected:,} rows rejected")  # fmt: skip
    run = fit(recipe, runs=out)
    say(f"3/6 trained {run.folder}")
    result = evaluate(run.model, run.data)
    assert result is not None  # one process
    (out / "metrics.json").write_text(json.dumps(result.to_dict(), indent=2) + "\n")
    say("4/6 evaluated: hr@10 " + ", ".join(f"{n} {v['hr@10'].value:.3f}" for n, v in _rows(result, {}).items()))
    bundle = out / "bundle"
    if not bundle.exists():
        export_run(run, bundle)
    say(f"5/6 exported {bundle}: scores equal in a fresh process")
    trained = open_trained(bundle)
    oracle = _oracle_row(shop.oracle, trained)
    report = _report(run, trained, result, oracle, seconds=time.time() - started)
    path = write_report(out / "report.html", report)
    say(f"6/6 recommended from the bundle and wrote {path}")
    return path


def _rows(result: EvaluationResult, oracle: Mapping[str, MetricValue]) -> dict[str, Mapping[str, MetricValue]]:
    rows = {"model": result.model, **result.baselines}
    return rows | {"oracle": oracle} if oracle else rows


def _oracle_row(path: Path, trained: Trained) -> dict[str, MetricValue]:
    """The oracle's metrics over all users, with the intervals that the model's have."""
    ranks = np.array(list(read_oracle(path, split="test", seen="allow").values())) - 1
    no_lists = np.zeros((len(ranks), 20), dtype=np.int64)
    tally = Tally(trained.data.split.train_counts[1:])
    tally.add(np.arange(len(ranks)), ranks, no_lists)
    return {name: value for name, value in tally.metrics().items() if name.partition("@")[0] in ("hr", "ndcg", "mrr")}


def _report(
    run: Run, trained: Trained, result: EvaluationResult, oracle: Mapping[str, MetricValue], *, seconds: float
) -> Report:
    recipe, store = run.recipe, run.data.store
    parameters = run.model.parameter_counts()
    return Report(
        title="seqrec demo: a simulated shop",
        rows=_rows(result, oracle),
        protocol="Leave-one-out: each user's last event is the target, every item is ranked, items seen before may "
        "come again. The oracle ranks by the simulator's own probabilities: no model can expect to do better.",
        curve=training_curve(run.folder, recipe.selection.metric),
        valid_metric=recipe.selection.metric,
        counts={
            "users evaluated": result.counts.evaluated,
            **{f"left out: {reason}": n for reason, n in result.counts.left_out.items() if n},
            "items": store.manifest.counts.items,
            "events": store.manifest.counts.events,
            "rows rejected": store.manifest.counts.rejected,
        },
        users=_users(trained),
        settings={
            "backbone": f"{recipe.model.backbone.kind}, {parameters.trainable:,} parameters",
            "item table": f"{parameters.item_table:,} parameters",
            "seed": str(recipe.seed),
            "time": f"{seconds:.0f} s for all six stages",
            **{f"{name} version": version for name, version in versions().items()},
        },
    )


def _users(trained: Trained) -> tuple[ReportUser, ...]:
    """Some users' histories before the test target, the bundle's recommendations, and the target."""
    store = trained.data.store
    sequences = next(store.scan())
    catalogue, user_ids = store.catalogue, store.user_ids()
    chosen = np.linspace(0, len(sequences) - 1, _USERS_SHOWN).astype(int)
    names = {row: name for row, name in enumerate(user_ids) if row in set(chosen.tolist())}
    items = [sequences.items[sequences.offsets[row] : sequences.offsets[row + 1]].tolist() for row in chosen]
    histories = [catalogue.decode(events[:-1]) for events in items]
    lists = trained.recommender().recommend(histories, k=10)
    return tuple(
        ReportUser(
            user_id=names[int(row)],
            history=tuple(_item(catalogue, item_id) for item_id in history[-_HISTORY_SHOWN:]),
            recommended=tuple(_item(catalogue, one.item_id) for one in slate),
            target=_item(catalogue, catalogue.decode(events[-1:])[0]),
        )
        for row, events, history, slate in zip(chosen, items, histories, lists, strict=True)
    )


def _item(catalogue: Catalogue, item_id: str) -> ReportItem:
    row = int(catalogue.encode([item_id])[0]) - 1
    titles, categories = catalogue.titles, catalogue.table.column("category")
    assert titles is not None
    return ReportItem(item_id=item_id, title=titles[row], category=categories[row].as_py() or "")
