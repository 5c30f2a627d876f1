#!/usr/bin/env bash
# accelerate 1.11.0: `fsdp_reshard_after_forward` in the file of `accelerate launch` has no effect with FSDP 1, of which
# --help says "Supports [...] FULL_SHARD | SHARD_GRAD_OP | NO_RESHARD (FSDP1)", and whose older name
# `fsdp_sharding_strategy` warns that it is deprecated in favour of it.
# The launcher hands on FULL_SHARD, the default of the older one, as FSDP_SHARDING_STRATEGY in every case
# (utils/launch.py, prepare_multi_gpu_env), and what wraps the model takes that first (accelerator.py, prepare_model:
# `fsdp_plugin.sharding_strategy or fsdp_plugin.reshard_after_forward`). A model that was to stay whole between
# forward and backward is gathered twice in each step.
# Expected: SHARD_GRAD_OP in both lines.
# Output seen:
#   fsdp_reshard_after_forward: FULL_SHARD
#   fsdp_sharding_strategy: SHARD_GRAD_OP
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.11.0 accelerate==1.11.0
cat > says.py <<'PYTHON'
from accelerate import FullyShardedDataParallelPlugin

plugin = FullyShardedDataParallelPlugin()
print((plugin.sharding_strategy or plugin.reshard_after_forward).name)
PYTHON
said() {
    printf '%s\n' 'distributed_type: FSDP' 'mixed_precision: "no"' 'num_machines: 1' 'num_processes: 1' \
        'main_process_port: 0' 'fsdp_config:' '  fsdp_version: 1' '  fsdp_cpu_ram_efficient_loading: false' \
        '  fsdp_sync_module_states: false' "  $1: SHARD_GRAD_OP" > config.yaml
    venv/bin/accelerate launch --config_file config.yaml says.py 2> errors | tail -1
}
reshard=$(said fsdp_reshard_after_forward)
strategy=$(said fsdp_sharding_strategy)
echo "fsdp_reshard_after_forward: $reshard"
echo "fsdp_sharding_strategy: $strategy"
[ "$reshard $strategy" = "FULL_SHARD SHARD_GRAD_OP" ]
