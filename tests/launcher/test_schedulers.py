"""Commands of torchrun and Slurm, and what they do with their scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from seqrec.errors import LaunchError
from seqrec.launcher import FILES, Command, Shape, slurm, torchrun

RECIPE = Path("shop.yaml")


def test_torchrun_of_two_machines() -> None:
    meeting = "--rdzv-endpoint=one:29400"
    command = torchrun(RECIPE, ["optimizer.lr=0.1"], Shape("1:2", 8, True), [meeting])
    numbers = ["--nnodes=1:2", "--nproc-per-node=8"]
    assert command.words[2:] == [*numbers, meeting, "shop.yaml", "optimizer.lr=0.1"]
    shown = command.show()
    assert shown.startswith(f"bash {FILES}/torchrun.sh --nnodes=1:2 ")
    assert shown.endswith((FILES / "torchrun.sh").read_text())


def test_several_machines_need_a_place_to_meet() -> None:
    with pytest.raises(LaunchError, match="--option=--rdzv-endpoint=HOST"):
        torchrun(RECIPE, [], Shape("2", 8, True), [])
    with pytest.raises(LaunchError, match="neither a number nor MIN:MAX"):
        torchrun(RECIPE, [], Shape("0", 8, True), [])


def test_slurm_asks_for_as_many_tasks_and_gpus_as_processes() -> None:
    command = slurm(RECIPE, ["seed=3"], Shape("2", 8, True), ["--time=60"], name="shop")
    asked = ["--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--time=60"]
    assert command.words == ["sbatch", "--job-name=shop", *asked, str(FILES / "slurm.sbatch"), "shop.yaml", "seed=3"]
    on_cpu = slurm(RECIPE, [], Shape("2", 8, False), [], name="shop")
    assert not [word for word in on_cpu.words if "gpus" in word]
    with pytest.raises(LaunchError, match="--nodes 1:2 is not a number of nodes for Slurm"):
        slurm(RECIPE, [], Shape("1:2", 8, True), [], name="shop")


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with pytest.raises(LaunchError, match="no command `no-such-scheduler` on this machine"):
        Command(["no-such-scheduler"]).run()


def test_the_torchrun_script_passes_options_on_and_explains_itself(tmp_path: Path) -> None:
    fake = tmp_path / "torchrun"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)

    def started(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run([FILES / "torchrun.sh", *words], env=environment, capture_output=True, text=True)

    words = started("--nnodes=2", "--rdzv-endpoint=one:29400", "recipes/shop.yaml", "seed=1").stdout.split("\n")
    assert words.index("--rdzv-endpoint=localhost:0") < words.index("--rdzv-endpoint=one:29400")
    assert words[-6:-1] == ["-m", "seqrec", "fit", "recipes/shop.yaml", "seed=1"]
    words = started("--nnodes=1", "--standalone", "recipes/shop.yaml").stdout.split("\n")
    assert words.index("--standalone") < words.index("-m")
    assert words[-5:-1] == ["-m", "seqrec", "fit", "recipes/shop.yaml"]
    explained = started()
    assert explained.returncode == 2
    assert explained.stderr.startswith(
        "The same command on every machine: launch/torchrun.sh [TORCHRUN OPTIONS] RECIPE"
    )
