"""Manifests beside the published schemas, which kubeflow-trainer-api holds as pydantic models."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import yaml
from kubeflow_trainer_api import models
from pydantic import BaseModel

from seqrec.errors import LaunchError
from seqrec.launcher import Shape, kubernetes
from seqrec.recipe import parse_recipe

MODELS = {"JobSet": models.JobsetV1alpha2JobSet, "TrainJob": models.TrainerV1alpha1TrainJob}
Kind = Literal["jobset", "trainjob"]


def manifests(recipe: str, kind: Kind, *, gpus: bool = True) -> list[dict[str, Any]]:
    shape = Shape("2", 8, gpus)
    command = kubernetes(
        recipe, ["seed=3"], shape, ["--namespace=shop"], name="Shop.causal_1", kind=kind, image="a/b:1", claim="work"
    )
    assert command.words == ["kubectl", "apply", "--namespace=shop", "-f", "-"]
    assert command.text is not None
    return list(yaml.safe_load_all(command.text))


def faults(manifest: dict[str, Any], model: type[BaseModel]) -> list[str]:
    """Keys that the schema does not know: the models drop them in silence. Raises where a value is of a wrong type."""
    known = model.from_dict(manifest).to_dict()  # type: ignore[attr-defined]

    def lost(given: Any, kept: Any, path: str) -> list[str]:
        if isinstance(given, dict):
            if not isinstance(kept, dict):
                return [path]
            return [fault for key in given for fault in lost(given[key], kept.get(key), f"{path}.{key}")]
        if isinstance(given, list) and isinstance(kept, list):
            pairs = zip(given, kept, strict=True)
            return [fault for i, (one, other) in enumerate(pairs) for fault in lost(one, other, f"{path}[{i}]")]
        return [] if given == kept else [path]

    return lost(manifest, known, model.__name__)


@pytest.mark.parametrize("kind", ["jobset", "trainjob"])
@pytest.mark.parametrize("gpus", [True, False])
def test_manifests_keep_to_the_published_schemas(kind: Kind, gpus: bool) -> None:
    config, job = manifests("name: Shop.causal_1\n", kind, gpus=gpus)
    assert (config["kind"], job["kind"].lower()) == ("ConfigMap", kind)
    model = MODELS[job["kind"]]
    assert faults(job, model) == []
    # the comparison can fail, deep inside too
    job["spec"]["replicas"] = 1
    (job["spec"].get("runtimePatches") or job["spec"]["replicatedJobs"])[0]["sidecars"] = []
    assert len(faults(job, model)) == 2


@pytest.mark.parametrize("kind", ["jobset", "trainjob"])
def test_a_job_trains_the_recipe_that_it_carries(recipe_values: dict[str, Any], kind: Kind) -> None:
    config, job = manifests(yaml.safe_dump(recipe_values), kind)
    parse_recipe(yaml.safe_load(config["data"]["recipe.yaml"]), where="manifest")
    name = job["metadata"]["name"]
    assert name == "shop-causal-1"
    if kind == "jobset":
        (node,) = job["spec"]["replicatedJobs"]
        pods = node["template"]["spec"]
        assert (pods["completions"], pods["parallelism"], pods["completionMode"]) == (2, 2, "Indexed")
        command = pods["template"]["spec"]["containers"][0]["command"]
        assert {"--nnodes=2", "--nproc-per-node=8", f"--rdzv-endpoint={name}-node-0-0.{name}:29400"} <= set(command)
    else:
        trainer = job["spec"]["trainer"]
        command = trainer["command"]
        assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert command[-5:] == ["-m", "seqrec", "fit", "/recipe/recipe.yaml", "seed=3"]


def test_a_name_that_no_job_can_have_is_refused() -> None:
    with pytest.raises(LaunchError, match="cannot name a job after the run `007`"):
        kubernetes("", [], Shape("1", 1, True), [], name="007", kind="jobset", image="a", claim="b")
