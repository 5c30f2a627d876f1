"""accelerate's settings of FSDP: qtune's own, and before them what `train.fsdp_config` says."""

from __future__ import annotations

from typing import Any

from qtune.values import Config

# accelerate/commands/launch.py, fsdp_args; the last is of utils/launch.py alone.
KEYS = frozenset(
    f"fsdp_{name}"
    for name in (
        *("version", "offload_params", "min_num_params", "sharding_strategy", "reshard_after_forward"),
        *("auto_wrap_policy", "transformer_layer_cls_to_wrap", "backward_prefetch", "state_dict_type"),
        *("forward_prefetch", "use_orig_params", "cpu_ram_efficient_loading", "sync_module_states"),
        *("activation_checkpointing", "ignored_modules"),
    )
)
"""What accelerate's file can say of FSDP."""

_BOTH = {
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "fsdp_cpu_ram_efficient_loading": True,
    "fsdp_offload_params": False,
    "fsdp_reshard_after_forward": True,
    "fsdp_state_dict_type": "FULL_STATE_DICT",
}
_VERSION_1 = {
    "fsdp_backward_prefetch": "BACKWARD_PRE",
    "fsdp_sync_module_states": True,
    "fsdp_use_orig_params": False,
}


def said(config: Config) -> dict[str, Any]:
    """What `train.fsdp_config` says to accelerate, with the prefix that its keys have there."""
    given = config.block("train").get("fsdp_config")
    if not isinstance(given, dict):
        return {}
    named = {f"fsdp_{key.removeprefix('fsdp_')}": value for key, value in given.items()}
    return {key: value for key, value in named.items() if key in KEYS}


def settings(config: Config, *, packed: bool) -> dict[str, Any]:
    """The `fsdp_config` of accelerate's file.

    packed: whether the weights have 4 or 8 bits. FSDP 2 loses their scales, and casts what is packed in
    16 bits to float32 and back, which changes bytes (accelerate/utils/fsdp_utils.py, fsdp2_prepare_model
    and fsdp2_load_full_state_dict).
    """
    given = said(config)
    version = given.get("fsdp_version", 1 if packed else 2)
    own: dict[str, Any] = {"fsdp_version": version, **(_VERSION_1 if version == 1 else {}), **_BOTH}
    if version == 1:
        own["fsdp_reshard_after_forward"] = "FULL_SHARD"
    if "fsdp_sharding_strategy" in given:
        del own["fsdp_reshard_after_forward"]  # the older name of the same, which wins
    return {**own, **given}
