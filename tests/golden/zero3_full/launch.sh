#!/usr/bin/env bash
# What `qtune train` starts, by hand, in the environment that has llamafactory-cli; from any directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
export NPROC_PER_NODE=1
export RECORD_VRAM=1
export FORCE_TORCHRUN=1
export NNODES=1
export NODE_RANK=0
export MASTER_ADDR=127.0.0.1
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF-${PYTORCH_ALLOC_CONF-expandable_segments:True}}"
exec llamafactory-cli train rendered/zero3_full/train.yaml "$@"
