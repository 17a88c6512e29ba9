"""Kubernetes manifests of a recipe: a JobSet, or a TrainJob of Kubeflow Trainer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import jinja2

from seqrec.errors import LaunchError
from seqrec.launcher.command import FILES, Command
from seqrec.launcher.shape import Shape

RECIPE = "/recipe/recipe.yaml"  # in the pods, from a ConfigMap
PORT = 29400
RESTARTS = 100  # a pod that fails restarts all, which then go on from the last checkpoint
GRACE_SECONDS = 300  # from the announcement of a preemption to its end: the longest step and the saving must fit in


def kubernetes(
    recipe: str,
    overrides: Sequence[str],
    shape: Shape,
    options: Sequence[str],
    *,
    name: str,
    kind: Literal["jobset", "trainjob"],
    image: str,
    claim: str,
) -> Command:
    """The application of a manifest, with the recipe in it.

    Args:
        recipe: the text of the recipe's file.
        overrides: `dotted.path=value`.
        shape: nodes and processes; a node is a pod.
        options: further ones of kubectl, as `--namespace=shop`.
        name: of the run; the job's is made of it.
        kind: which resource.
        image: with seqrec installed.
        claim: PersistentVolumeClaim that all pods can read and write, for stores and runs.
    Raises:
        LaunchError: the number of nodes is no number.
    """
    nodes = shape.fixed_nodes("Kubernetes")
    job = _label(name)
    # torchrun kills what has not ended by then, and Kubernetes torchrun
    torchrun = ["torchrun", f"--shutdown-timeout={GRACE_SECONDS - 30}", "--max-restarts=3"]
    if kind == "jobset":
        numbers = [f"--nnodes={nodes}", f"--nproc-per-node={shape.devices}"]
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={job}-node-0-0.{job}:{PORT}", f"--rdzv-id={job}"]
        torchrun += [*numbers, *meeting]
    else:  # its runtime tells torchrun the rest; a working directory cannot be given
        torchrun = ["sh", "-c", 'cd /work && exec "$@"', "sh", *torchrun]
    values: dict[str, Any] = {
        "name": job,
        "recipe": recipe.rstrip(),
        "nodes": nodes,
        "devices": shape.devices,
        "gpus": shape.gpus,
        "resources": {"nvidia.com/gpu": shape.devices} if shape.gpus else {"cpu": shape.devices},
        "image": image,
        "claim": claim,
        "command": [*torchrun, "-m", "seqrec", "fit", RECIPE, *overrides],
        "grace_seconds": GRACE_SECONDS,
        "restarts": RESTARTS,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    text = environment.get_template(f"{kind}.yaml.j2").render(values)
    return Command(["kubectl", "apply", *options, "-f", "-"], text=text)


def _label(name: str) -> str:
    """A run's name as a DNS label (RFC 1035) that leaves room for what pods get appended."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")
    if not label[:1].isalpha():
        raise LaunchError(
            f"Kubernetes cannot name a job after the run `{name}`",
            where="name",
            do="begin it with a letter, for one start as `name=shop-1`",
        )
    return label
