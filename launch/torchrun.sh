#!/usr/bin/env bash
# One machine, N processes: launch/torchrun.sh N RECIPE [KEY=VALUE ...]
# The same command again continues the run. `seqrec` must be on the PATH's Python.
set -euo pipefail
if (($# < 2)); then
    echo "usage: $0 N RECIPE [KEY=VALUE ...]" >&2
    exit 2
fi
processes=$1
shift
exec torchrun --standalone --nproc-per-node="$processes" -m seqrec fit "$@" \
    trainer.devices="$processes" trainer.strategy=ddp
