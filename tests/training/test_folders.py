"""Which checkpoints are whole, which is taken, which are kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from seqrec.errors import RunError
from seqrec.training.folders import (
    Best,
    Record,
    SavedCheckpoint,
    begin,
    best_of,
    checkpoints_in,
    commit,
    newest_to_continue,
    newest_whole,
    prune,
    written_by,
)


def make(folder: Path, step: int, *, best: int | None = None) -> SavedCheckpoint:
    """A checkpoint whose state is a folder of two files."""
    state = begin(folder, step) / "state"
    (state / "part").mkdir(parents=True)
    (state / "a").write_bytes(bytes([step % 256]) * 1000)
    (state / "part/b").write_bytes(b"b" * 10)
    return commit(state.parent, Record(step, 2, "DDPStrategy", best and Best(best, "val/ndcg@10", 0.5), {}))


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints_in(folder)]


def test_the_record_tells_what_was_saved(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, 120, best=80)
    read = SavedCheckpoint(tmp_path / "step-120")
    assert read == checkpoint
    assert (read.step, read.record.world_size, read.record.strategy) == (120, 2, "DDPStrategy")
    assert read.record.best == Best(80, "val/ndcg@10", 0.5)
    assert {name: file.size_bytes for name, file in read.record.files.items()} == {"state/a": 1000, "state/part/b": 10}
    assert read.damage() is None


def test_each_rank_describes_the_files_that_it_wrote(tmp_path: Path) -> None:
    temporary = begin(tmp_path, 1)
    state = temporary / "state"
    state.mkdir()
    # as torch's distributed checkpoint and DeepSpeed call them
    of_ranks = [
        (".metadata", "__0_0.distcp", "__0_1.distcp", "mp_rank_00_model_states.pt"),
        ("__1_0.distcp", "zero_pp_rank_1_mp_rank_00_model_states.pt", "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"),
        ("__12_0.distcp",),
    ]
    for name in (name for names in of_ranks for name in names):
        (state / name).write_text(name)
    found = [written_by(rank, temporary) for rank in (0, 1, 12)]
    assert [{*files} for files in found] == [{f"state/{name}" for name in names} for names in of_ranks]
    checkpoint = commit(temporary, Record(1, 13, "Fsdp2Strategy", None, found[1]))  # the others it reads itself
    assert checkpoint.record.files == found[0] | found[1] | found[2]
    assert checkpoint.damage() is None


def test_the_newest_is_that_of_most_steps_not_of_the_clock(tmp_path: Path) -> None:
    for step in (1000, 999, 20):
        make(tmp_path, step)
    newest = newest_whole(tmp_path)
    assert newest is not None
    assert newest.step == 1000
    assert newest_whole(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "state/a").write_bytes(b"x" * 999), "state/a has 999 of 1,000 bytes"),
        (lambda folder: (folder / "state/a").write_bytes(b"x" * 1000), "state/a holds other bytes than were saved"),
        (lambda folder: (folder / "state/part/b").unlink(), "state/part/b has 0 of 10 bytes"),
        (lambda folder: (folder / "complete.json").unlink(), "no complete.json"),
        (lambda folder: (folder / "complete.json").write_text("{"), "unreadable complete.json"),
        (lambda folder: (folder / "complete.json").write_text('{"format_version": 9}'), "this seqrec reads 1"),
    ],
)
def test_a_damaged_newest_is_named_and_the_next_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: object, told: str
) -> None:
    make(tmp_path, 1)
    make(tmp_path, 2)
    harm(tmp_path / "step-2")  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        newest = newest_to_continue(tmp_path)
    assert newest is not None
    assert newest.step == 1
    assert "step-2 is damaged" in caplog.text
    assert told in caplog.text
    assert steps(tmp_path) == [1]
    assert (tmp_path / "step-2.damaged").is_dir()
    (tmp_path / "step-1/complete.json").unlink()
    with pytest.raises(RunError, match=r"(?s)all checkpoints are damaged.*step-1: no complete\.json.*--fresh"):
        newest_to_continue(tmp_path)


def test_the_newest_and_what_was_best_to_them_are_kept(tmp_path: Path) -> None:
    for step, best in [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4)]:
        make(tmp_path, step, best=best)
    prune(tmp_path, 2)
    assert steps(tmp_path) == [4, 5]
    make(tmp_path, 6, best=4)
    make(tmp_path, 7, best=7)
    prune(tmp_path, 2)
    assert steps(tmp_path) == [4, 6, 7]  # 4 is the best again, if 7 should turn out damaged
    best = best_of(tmp_path)
    assert best is not None
    assert best.step == 7


def test_a_damaged_best_is_told(tmp_path: Path) -> None:
    make(tmp_path, 1, best=1)
    make(tmp_path, 2, best=1)
    (tmp_path / "step-1/state/a").write_bytes(b"x" * 1000)
    with pytest.raises(RunError, match=r"(?s)step-1: not a whole checkpoint: state/a holds other.*others: +step-2"):
        best_of(tmp_path)


def test_what_a_killed_save_left_is_removed_and_never_taken(tmp_path: Path) -> None:
    make(tmp_path, 1)
    (begin(tmp_path, 2) / "state").write_bytes(b"half")
    newest = newest_whole(tmp_path)
    assert newest is not None
    assert newest.step == 1
    make(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-1", "step-3"]
