from __future__ import annotations

from pathlib import Path

from seqrec.evaluation import CurvePoint
from seqrec.recipe import training_curve


def write(folder: Path, version: int, text: str) -> None:
    path = folder / f"csv/version_{version}/metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_a_step_that_was_done_twice_counts_as_done_last(tmp_path: Path) -> None:
    """The run was killed after step 3 and went on from the checkpoint after step 1."""
    write(tmp_path, 2, "epoch,step,train_loss,val/ndcg@10\n0,1,4.0,\n0,1,,0.10\n0,2,3.0,\n0,3,2.5,\n")
    write(tmp_path, 10, "epoch,step,train_loss,val/ndcg@10,val/hr@5\n0,2,2.9,,\n0,3,2.4,,\n0,3,,0.25,0.5\n")
    assert training_curve(tmp_path, "ndcg@10") == (
        CurvePoint(1, train_loss=4.0, valid=0.10),
        CurvePoint(2, train_loss=2.9, valid=None),
        CurvePoint(3, train_loss=2.4, valid=0.25),
    )
    assert [point.valid for point in training_curve(tmp_path, "hr@5")] == [None, None, 0.5]


def test_a_run_without_csv_has_no_curve(tmp_path: Path) -> None:
    assert training_curve(tmp_path, "ndcg@10") == ()
