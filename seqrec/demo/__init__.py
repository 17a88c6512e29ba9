"""The demo: a made-up shop's log through every verb, and a report to look at."""

from seqrec.demo.demo import run_demo

__all__ = ["run_demo"]
