"""Environments as torchrun and srun leave them, beside what the recipe says."""

from __future__ import annotations

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from seqrec.errors import LaunchError
from seqrec.recipe.processes import Launched, cluster_environment, is_restart, launched, place

TORCHRUN = {"TORCHELASTIC_RUN_ID": "shop", "GROUP_WORLD_SIZE": "2", "WORLD_SIZE": "16"}
SRUN = {"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "16"}
# what Lightning asks for beside
TASKS = {"SLURM_NTASKS": "16", "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_NAME": "shop"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TORCHRUN, Launched("torchrun", 2, 8)),
        (SRUN, Launched("srun", 2, 8)),
        (SRUN | TORCHRUN | {"WORLD_SIZE": "2"}, Launched("torchrun", 2, 1)),  # torchrun under srun
        (SRUN | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1"}, None),  # starts others by itself
        ({"SLURM_JOB_ID": "71"}, None),  # the batch script
    ],
)
def test_who_started_the_process(environment: dict[str, str], found: Launched | None) -> None:
    assert launched(environment) == found


def test_unequal_nodes_are_refused() -> None:
    with pytest.raises(LaunchError, match="srun has started 3 processes on 2 nodes") as error:
        launched(SRUN | {"SLURM_STEP_NUM_TASKS": "3"})
    assert "--ntasks-per-node" in str(error.value)


@pytest.mark.parametrize(
    ("environment", "restart"),
    [
        ({}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "1"}, True),
        ({"SLURM_RESTART_COUNT": "2"}, True),
    ],
)
def test_restarts(environment: dict[str, str], restart: bool) -> None:
    assert is_restart(environment) == restart


def test_several_nodes_of_torchrun_cannot_start_over() -> None:
    with pytest.raises(LaunchError, match="--fresh: on 2 nodes torchrun does not tell a restart"):
        is_restart(TORCHRUN)


def test_the_recipe_and_what_was_started_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place({"devices": 4}) == {}
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    for trainer in ({}, {"devices": 8, "num_nodes": 2}, {"devices": "auto"}, {"devices": -1}):
        assert place(trainer | {"accelerator": "cpu"}) == {"num_nodes": 2, "devices": 8}
    assert place({"devices": [*range(8)], "accelerator": "cpu"})["devices"] == [*range(8)]
    with pytest.raises(LaunchError, match=r"trainer.devices: srun has started 2 × 8 .* the recipe says 4") as error:
        place({"devices": 4})
    assert "--ntasks-per-node=4" in str(error.value)
    with pytest.raises(LaunchError, match=r"trainer.num_nodes: .* the recipe says 1"):
        place({"num_nodes": 1})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)  # as with --gpus-per-task
    with pytest.raises(LaunchError, match="8 processes on this node, and each sees 1 GPUs"):
        place({})


def test_lightning_is_told_who_started_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_environment() == []
    for name, value in ({"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}).items():
        monkeypatch.setenv(name, value)
    assert [type(plugin) for plugin in cluster_environment()] == [LightningEnvironment]
    for name, value in (SRUN | TASKS).items():
        monkeypatch.setenv(name, value)
    (slurm,) = cluster_environment()
    assert isinstance(slurm, SLURMEnvironment)
    assert not slurm.auto_requeue
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert [type(plugin) for plugin in cluster_environment()] == [TorchElasticEnvironment]
