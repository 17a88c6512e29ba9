"""Starts a recipe on several processes and nodes: what `seqrec launch` shows, runs or submits."""

from seqrec.launcher.command import FILES, Command
from seqrec.launcher.kubernetes import kubernetes
from seqrec.launcher.schedulers import slurm, torchrun
from seqrec.launcher.shape import Shape

__all__ = ["FILES", "Command", "Shape", "kubernetes", "slurm", "torchrun"]
