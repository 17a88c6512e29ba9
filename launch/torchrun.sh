#!/usr/bin/env bash
# The same command on every machine: launch/torchrun.sh [TORCHRUN OPTIONS] RECIPE [KEY=VALUE ...]
# An option's value is joined to it by =, as in --nnodes=2.
#   one machine, 2 processes   launch/torchrun.sh --nproc-per-node=2 recipes/demo.yaml
#   2 machines, 8 GPUs each    launch/torchrun.sh --nnodes=2 --nproc-per-node=8 --rdzv-endpoint=HOST:29400 RECIPE
# HOST is one of the machines. With --nnodes=1:2 the run goes on when one of two is lost, and takes it in again.
# A process that dies restarts all; the run then goes on from its last checkpoint.
set -euo pipefail
options=()
while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
done
if (($# == 0)); then
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
# else the ranks' store outlives them, and a restarted rank may be sent to the address of one that has ended
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# options given win, as they come last
exec torchrun --rdzv-backend=c10d --rdzv-endpoint=localhost:0 --rdzv-id="$(basename "$1")" --max-restarts=3 \
    "${options[@]}" -m seqrec fit "$@"
