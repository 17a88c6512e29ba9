"""Methods of parameter-efficient fine-tuning compared on one backbone and one data set."""

from seqrec.peft_benchmark.experiments import Experiment, make_experiments
from seqrec.peft_benchmark.methods import METHODS, Method
from seqrec.peft_benchmark.page import write_page
from seqrec.peft_benchmark.result import BenchmarkResult, read_result
from seqrec.peft_benchmark.run import benchmark_peft
from seqrec.peft_benchmark.table import benchmark_table

__all__ = [
    "METHODS",
    "BenchmarkResult",
    "Experiment",
    "Method",
    "benchmark_peft",
    "benchmark_table",
    "make_experiments",
    "read_result",
    "write_page",
]
