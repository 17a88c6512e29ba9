"""What the packages below say and who runs a recipe need not hear."""

from __future__ import annotations

import logging
import sys
import warnings

# warnings, by the beginning of their text
_NEEDLESS_WARNINGS = (
    r"It is recommended to use .self\.log\(.*sync_dist=True",  # what seqrec logs is summed over ranks already
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r".isinstance\(treespec, LeafSpec\). is deprecated",  # Lightning's use of torch
    r".is_gradient_checkpointing. is deprecated",  # peft's use of transformers, as the next
    r".past_key_values. is deprecated",
    r"Unsupported layer type '.*Norm'",  # normalisations are what peft's own layer for them is for
    r"predict returned None",  # results go to files
    r"The `srun` command is available on your system but is not used",  # a laptop of the cluster, or its login node
    r"Checkpoint directory .* exists and is not empty",  # a run that is continued
)


def quiet_start() -> None:
    """To be called before any of them is imported; seqrec's own log goes to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # a filter, since DeepSpeed sets its level when it is imported
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator to CPU" not in record.getMessage())
    quiet_imports()
    for text in _NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=text)


def quiet_imports() -> None:
    """To be called before peft is imported, which imports bitsandbytes where that is installed.

    Its offer of kernels for scales in bfloat16, with which seqrec never computes, is dropped; all else it says stays.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
        lambda record: "gemm_4bit_forward" not in record.getMessage()
    )


def quiet_packages() -> None:
    """Lightning's advice comes with every start, and twice; transformers draws bars into files.

    To be called once they are imported, as they set their own levels.
    """
    from transformers.utils import logging as transformers_logging

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("lightning"):
            logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
