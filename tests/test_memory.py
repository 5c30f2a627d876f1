"""How much memory a training needs: hand-computed cases, and what must hold for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtune.machine.hardware import Hardware, parse_hardware
from qtune.predict.memory.activations import at_work_bytes, logits
from qtune.predict.memory.disk import checkpoint_bytes, checkpoints, kept_bytes, model_bytes
from qtune.predict.memory.estimate import Estimate, Range
from qtune.predict.memory.optimizers import state_bytes
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.states import step
from qtune.predict.memory.total import estimate
from qtune.predict.memory.weights import bytes_of_4_bit, frozen_bytes
from qtune.predict.models.find import Model, from_config
from qtune.values import Config, Origin, Value

MIB = 2**20
SHAPES = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
GPU = Hardware(1, 24.0, bf16=True, cores=8)
OFFLOAD = {"device": "cpu", "pin_memory": True}
TRAIN: dict[str, Any] = {
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "bf16": True,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 4,
    "cutoff_len": 512,
}


def model(**changes: Any) -> Model:
    return from_config("test", {**SHAPES, **changes}, source="a test")


QWEN = model()


def config(
    train: Mapping[str, Any], zero: Mapping[str, Any] | None = None, launch: Mapping[str, Any] | None = None
) -> Config:
    values = {}
    for block, tree in (("train", train), ("zero", zero or {}), ("launch", launch or {})):
        for key, value in tree.items():
            leaves = (
                {(key, name): item for name, item in value.items()}
                if isinstance(value, dict)
                else {(key,): value}
            )
            values |= {(block, *path): Value(item, Origin("test")) for path, item in leaves.items()}
    return Config("test", values)


def setting(hardware: Hardware = GPU, zero: Mapping[str, Any] | None = None, **train: Any) -> Setting:
    return Setting.of(config({**TRAIN, **train}, zero), QWEN, hardware)


def needs(
    train: Mapping[str, Any],
    zero: Mapping[str, Any] | None = None,
    gpus: int = 1,
    of: Model = QWEN,
    launch: Mapping[str, Any] | None = None,
) -> Estimate:
    hardware = replace(GPU, gpus=gpus)
    return estimate(
        config({**TRAIN, **train}, zero, {"nproc_per_node": gpus, **(launch or {})}), of, hardware
    )


# By hand.


def test_machines_share_what_zero_keeps_in_their_memory() -> None:
    """8 GPUs in one machine, and in two of 4: the same for each GPU, half for each machine."""

    def parts(gpus: int, nnodes: int) -> dict[tuple[str, str], int]:
        launch = {"nproc_per_node": gpus, "nnodes": nnodes}
        found = needs({}, {"stage": 2, "offload_optimizer": OFFLOAD}, gpus, launch=launch)
        return {(part.name, part.where): part.bytes for part in found.parts}

    one, two = parts(8, 1), parts(4, 2)
    assert [two[key] for key in two if key[1] == "gpu"] == [one[key] for key in one if key[1] == "gpu"]
    host = {name for name, where in one if where == "host"}
    assert {"master copies", "optimizer states", "gradients", "Python and its libraries"} <= host
    for name in host:
        assert two[name, "host"] == pytest.approx(one[name, "host"] / 2, rel=1e-3), name


def test_four_bits_take_half_a_byte_and_their_scales() -> None:
    assert bytes_of_4_bit(64 * 256, double_quantization=False) == 64 * 256 / 2 + 256 * 4
    assert bytes_of_4_bit(64 * 256, double_quantization=True) == 64 * 256 / 2 + 256 + 4


def test_quantisation_leaves_embeddings_output_and_norms() -> None:
    layer = 896 * 896 * 2 + 896 * 128 * 2 + 3 * 896 * 4864
    assert QWEN.quantizable_parameters == 24 * layer
    rest = QWEN.parameters - 24 * layer
    assert frozen_bytes(setting(quantization_bit=4, double_quantization=False)) == pytest.approx(
        24 * layer * (0.5 + 4 / 64) + 2 * rest
    )


def test_full_tuning_takes_sixteen_bytes_a_parameter_and_the_activations() -> None:
    parts = needs({"finetuning_type": "full"}).of("gpu")
    assert parts["trained weights"] == parts["gradients"] == 4 * QWEN.parameters
    assert parts["optimizer states"] == 8 * QWEN.parameters
    assert parts["activations"] == 24 * 512 * 896 * 4  # the inputs of the layers, in float32
    assert "weights" not in parts


def test_adapters_leave_the_weights_in_their_dtype() -> None:
    found = needs({})
    parts, trained = found.of("gpu"), found.trainable.parameters
    assert parts["weights"] == 2 * QWEN.parameters
    assert parts["trained weights"] == 4 * trained
    assert parts["optimizer states"] == 8 * trained
    assert parts["logits and loss"] == 12 * 512 * 151936
    assert found.moment == "computing the loss"


def test_dora_keeps_two_outputs_of_each_linear_layer_and_weighs_its_matrix_anew() -> None:
    """peft/tuners/lora/dora.py: the base's result and the adapter's, in 16 bits; an identity matrix as wide
    as the inputs in 32 and 16 bits, the product of the adapters, that scaled, the weight and their sum."""
    outputs = 896 + 2 * 128 + 896 + 2 * 4864 + 896
    plain = {"disable_gradient_checkpointing": True}
    kept = [needs({**plain, **more}).of("gpu")["activations"] for more in ({}, {"use_dora": True})]
    assert kept[1] - kept[0] == 24 * 512 * 4 * outputs
    weighing = 6 * 4864**2 + 12 * 4864 * 896
    short = needs({"use_dora": True, "cutoff_len": 1}).of("gpu")["layer at work"]
    assert weighing < short < 1.01 * weighing
    only_q = needs({"use_dora": True, "cutoff_len": 1, "lora_target": "q_proj"})
    assert only_q.allocated < needs({"lora_target": "q_proj", "cutoff_len": 1}).allocated + 18 * 896**2 * 1.01


def test_each_float32_adapter_on_16_bit_weights_keeps_an_input_in_float32() -> None:
    alone = {"bf16": None, "disable_gradient_checkpointing": True}
    everywhere, some = (
        needs({**alone, "lora_target": target}).of("gpu")["activations"]
        for target in ("all", "q_proj,v_proj")
    )
    widths = 3 * 896 + 896 + 4864  # the inputs of k, gate and up, of o, and of down
    assert everywhere - some == 24 * 512 * 4 * widths


@pytest.mark.parametrize(("dtype", "bf16", "each"), [("bfloat16", True, 14), ("float32", None, 16)])
def test_eager_attention_writes_its_scores_down(dtype: str, bf16: bool | None, each: int) -> None:
    written, fused = (
        at_work_bytes(
            Setting.of(config({**TRAIN, "bf16": bf16, "flash_attn": kind}), model(dtype=dtype), GPU)
        )
        for kind in ("disabled", "fa2")
    )
    assert written - fused == each * 14 * 512**2  # 14 heads


def test_fsdp_parts_16_bit_weights_with_states_and_a_step_of_the_same_width() -> None:
    train = {"finetuning_type": "full", "bf16": None, "pure_bf16": True, "optim": "adamw_torch"}
    small = model(vocab_size=1000)
    found = needs(train, gpus=2, of=small, launch={"launcher": "accelerate"})
    parts, share = found.of("gpu"), small.parameters // 2
    assert found.moment == "the optimizer's step"
    assert parts["trained weights"] == parts["gradients"] == parts["the step's own"] == 2 * share
    assert parts["optimizer states"] == 4 * share


def test_deepspeed_casts_all_weights_and_keeps_masters() -> None:
    found = needs({"finetuning_type": "full"}, {"stage": 2, "reduce_bucket_size": 1000}, gpus=2)
    parts, count = found.of("gpu"), QWEN.parameters
    assert parts["trained weights"] == 2 * count
    assert parts["master copies"] == 4 * count // 2
    assert parts["optimizer states"] == 8 * count // 2
    assert parts["gradients"] == 2 * count // 2
    assert parts["reduce buckets"] == 2 * 1000


@pytest.mark.parametrize(
    ("optim", "bytes_each"),
    [
        ("adamw_torch_fused", 8),
        ("adamw_8bit", 2 * (1 + 4 / 256)),
        ("paged_adamw_32bit", 8),
        ("sgd", 0),
        ("lion_32bit", 4),
        ("lion_8bit", 1 + 4 / 256),
        ("rmsprop", 4),
    ],
)
def test_optimizer_states_by_optim(optim: str, bytes_each: float) -> None:
    found = setting(optim=optim)
    assert state_bytes(found) == pytest.approx(bytes_each * found.trainable.parameters)


def test_adafactor_keeps_rows_and_columns() -> None:
    found = setting(optim="adafactor")
    assert state_bytes(found) == 4 * sum(sum(tensor.shape) for tensor in found.trainable.tensors)


def test_low_rank_optimizers_and_badam_keep_less_than_adam() -> None:
    full = {"finetuning_type": "full"}
    adam = state_bytes(setting(**full))
    for changes in ({"use_galore": True}, {"use_apollo": True}, {"use_badam": True}):
        assert state_bytes(setting(**full, **changes)) < adam / 2, changes


def test_a_cpu_holds_everything_in_host_memory() -> None:
    found = estimate(config({**TRAIN, "bf16": None, "use_cpu": True}), QWEN, parse_hardware("cpu"))
    assert found.gpu == Range()
    assert found.allocated == 0
    assert {part.where for part in found.parts} == {"host"}


def test_a_reference_model_is_a_second_set_of_weights() -> None:
    anchored = {"use_asft_loss": True, "ref_model": "the same"}
    assert needs(anchored).of("gpu")["reference model"] == 2 * QWEN.parameters
    small = needs({**anchored, "quantization_bit": 4, "ref_model_quantization_bit": 4}).of("gpu")
    assert small["reference model"] < QWEN.parameters
    assert "reference model" not in needs({"stage": "dpo"}).of("gpu")  # the adapter is switched off
    assert "reference model" in needs({"stage": "dpo", "finetuning_type": "full"}).of("gpu")
    assert "reference model" not in needs(
        {"stage": "dpo", "finetuning_type": "full", "pref_loss": "simpo"}
    ).of("gpu")


def test_fsdp_shares_the_step_and_leaves_autocast_nothing_to_cast() -> None:
    """Each process steps over its own shards; what it has gathered is in 16 bits already."""
    full = setting(finetuning_type="full", optim="adamw_torch")
    sharded = replace(full, fsdp=True, processes=4)
    assert [part.bytes for part in step(full)] == [4 * part.bytes for part in step(sharded)]
    (whole,), (cast,) = logits(full), logits(sharded)
    assert (whole.bytes, cast.bytes) == (10 * 512 * 151936 + 2 * QWEN.parameters, 12 * 512 * 151936)


def test_fsdp_computes_in_16_bits_without_casts() -> None:
    """What is gathered is in 16 bits, so that hidden states and what adapters take are."""
    launch, small = {"launcher": "accelerate"}, model(vocab_size=1000)
    for quantized in (None, 4):
        train = {"quantization_bit": quantized, "gradient_accumulation_steps": 1}
        sharded = needs(train, gpus=2, of=small, launch=launch).of("gpu")
        assert sharded["activations"] == 24 * 512 * 896 * 2, quantized  # the inputs of the layers


@pytest.mark.parametrize(("zero", "launcher"), [({"stage": 3}, "torchrun"), (None, "accelerate")])
def test_scales_of_4_bit_weights_are_whole_in_each_process(
    zero: dict[str, Any] | None, launcher: str
) -> None:
    parts = needs({"quantization_bit": 4}, zero, gpus=4, launch={"launcher": launcher}).of("gpu")
    packed = QWEN.quantizable_parameters
    assert parts["scales of weights"] == pytest.approx(packed / 64 * (1 + 4 / 256), rel=1e-6)
    assert parts["weights"] == pytest.approx((packed / 2 + 2 * (QWEN.parameters - packed)) / 4, rel=1e-3)


def test_liger_writes_no_logits_down() -> None:
    assert needs({"enable_liger_kernel": True}).allocated < needs({}).allocated / 1.5


def test_a_verdict_is_tight_between_expected_and_most() -> None:
    found = Range(8, 9, 10)
    assert [found.verdict(size) for size in (10, 9, 8)] == ["fits", "tight", "does not fit"]


def test_free_host_memory_counts_where_it_is_known() -> None:
    offloaded = config(
        {**TRAIN, "finetuning_type": "full"},
        {"stage": 3, "offload_optimizer": OFFLOAD, "offload_param": OFFLOAD},
    )
    assert estimate(offloaded, QWEN, GPU).verdict == "fits"
    assert estimate(offloaded, QWEN, GPU, free_host=2**30).verdict == "does not fit"


def test_a_checkpoint_holds_the_adapter_and_its_states() -> None:
    found = setting()
    count = found.trainable.parameters
    assert model_bytes(found) == 4 * count + 75 * 151936
    assert checkpoint_bytes(found) == pytest.approx(model_bytes(found) + 8 * count, rel=0.01)
    assert checkpoint_bytes(setting(save_only_model=True)) == pytest.approx(model_bytes(found), rel=0.01)


def test_an_adapter_of_a_resized_vocabulary_holds_each_embedding_three_times() -> None:
    """Measured: tests/e2e/test_export_readers.py has the names in such an adapter."""
    resized, plain = setting(resize_vocab=True), setting()
    embeddings = 2 * 151936 * 896
    assert resized.trainable.of("copy") == embeddings
    # trained in float32 and saved under two names, and once as the base had it in 16 bits
    assert model_bytes(resized) - model_bytes(plain) == (4 + 4 + 2) * embeddings
    named = setting(additional_target="embed_tokens,lm_head")
    assert model_bytes(named) - model_bytes(plain) == 4 * embeddings


@pytest.mark.parametrize(
    ("train", "count"),
    [
        ({"save_total_limit": 2}, 3),
        ({"save_total_limit": 1, "load_best_model_at_end": True}, 3),
        ({"save_steps": 0.1}, 10),
        ({"save_strategy": "no"}, 0),
        ({"save_strategy": "epoch", "num_train_epochs": 5}, 5),
    ],
)
def test_checkpoints_kept_at_once(train: Mapping[str, Any], count: int) -> None:
    found = setting(**train)
    assert checkpoints(found) == count
    assert kept_bytes(found) == count * checkpoint_bytes(found) + model_bytes(found)


# What must hold for all.

TRAINS = st.fixed_dictionaries(
    {
        "finetuning_type": st.sampled_from(["lora", "full", "freeze"]),
        "per_device_train_batch_size": st.integers(1, 32),
        "cutoff_len": st.sampled_from([128, 512, 1024, 4096, 8192]),
        "lora_rank": st.sampled_from([1, 8, 64, 256]),
        "gradient_accumulation_steps": st.sampled_from([1, 4]),
        "bf16": st.booleans(),
        "pure_bf16": st.booleans(),
        "disable_gradient_checkpointing": st.booleans(),
        "optim": st.sampled_from(["adamw_torch", "adamw_torch_fused", "adamw_8bit", "adafactor", "sgd"]),
        "stage": st.sampled_from(["sft", "pt", "dpo", "kto", "rm"]),
        "use_asft_loss": st.booleans(),
        "flash_attn": st.sampled_from(["auto", "fa2", "disabled"]),
        "enable_liger_kernel": st.booleans(),
        "neat_packing": st.booleans(),
        "lora_dropout": st.sampled_from([0.0, 0.1]),
    }
)
ZEROS = st.fixed_dictionaries(
    {
        "stage": st.sampled_from([1, 2, 3]),
        "overlap_comm": st.booleans(),
        "reduce_bucket_size": st.sampled_from(["auto", 10_000_000, 500_000_000]),
    }
)
QUANTIZED = {"finetuning_type": "lora", "quantization_bit": 4}
MORE = settings(max_examples=60)


def _never_less(small: Estimate, large: Estimate) -> None:
    assert small.gpu.expected <= large.gpu.expected
    assert small.host.expected <= large.host.expected
    assert small.checkpoint <= large.checkpoint


@MORE
@given(TRAINS, st.none() | ZEROS, st.integers(1, 16), st.integers(1, 4096), st.integers(1, 64))
def test_more_batch_length_or_rank_never_needs_less(
    train: dict[str, Any], zero: dict[str, Any] | None, batch: int, length: int, rank: int
) -> None:
    base = needs(train, zero)
    for key, more in (("per_device_train_batch_size", batch), ("cutoff_len", length), ("lora_rank", rank)):
        _never_less(base, needs({**train, key: train[key] + more}, zero))


@MORE
@given(TRAINS, st.none() | ZEROS, st.sampled_from(["hidden", "layers", "mlp", "words"]))
def test_more_parameters_never_need_less(
    train: dict[str, Any], zero: dict[str, Any] | None, what: str
) -> None:
    larger = {
        "hidden": {"hidden_size": 1792, "num_attention_heads": 28, "num_key_value_heads": 4},
        "layers": {"num_hidden_layers": 25},
        "mlp": {"intermediate_size": 5000},
        "words": {"vocab_size": 152064},
    }[what]
    _never_less(needs(train, zero), needs(train, zero, of=model(**larger)))


@MORE
@given(TRAINS, ZEROS, st.integers(1, 8), st.integers(1, 8))
def test_more_gpus_under_zero_never_need_more_each(
    train: dict[str, Any], zero: dict[str, Any], gpus: int, more: int
) -> None:
    assert needs(train, zero, gpus + more).gpu.expected <= needs(train, zero, gpus).gpu.expected


@MORE
@given(TRAINS, ZEROS, st.integers(1, 4))
def test_offloading_moves_bytes_and_loses_none(
    train: dict[str, Any], zero: dict[str, Any], gpus: int
) -> None:
    """Of weights, masters and optimizer states: what leaves the GPUs is on the host."""

    def held(found: Estimate) -> int:
        kinds = ("weights", "trained weights", "master copies", "optimizer states", "reference model")
        return sum(found.of("gpu").get(kind, 0) * gpus + found.of("host").get(kind, 0) for kind in kinds)

    plain, optimizer = needs(train, zero, gpus), {**zero, "offload_optimizer": OFFLOAD}
    both = {**optimizer, "offload_param": OFFLOAD}
    moved = needs(train, optimizer, gpus)
    assert held(moved) >= held(plain) - 8 * gpus
    assert moved.gpu.expected <= plain.gpu.expected + 2 * 4 * 151936 * 896
    assert moved.host.expected >= plain.host.expected
    all_moved = needs(train, both, gpus)
    assert held(all_moved) >= held(plain) - 8 * gpus
    assert all_moved.gpu.expected <= moved.gpu.expected


@MORE
@given(TRAINS, st.none() | ZEROS)
def test_quantised_is_smaller_than_full_width(train: dict[str, Any], zero: dict[str, Any] | None) -> None:
    lora = {**train, "finetuning_type": "lora"}
    small, plain = needs({**train, **QUANTIZED}, zero), needs(lora, zero)
    assert small.of("gpu")["weights"] < plain.of("gpu")["weights"]
    tiny = {**train, **QUANTIZED, "double_quantization": True}
    assert needs(tiny, zero).allocated <= needs({**tiny, "double_quantization": False}, zero).allocated


@MORE
@given(TRAINS, st.none() | ZEROS)
def test_gradient_checkpointing_never_needs_more(train: dict[str, Any], zero: dict[str, Any] | None) -> None:
    with_it, without = ({**train, "disable_gradient_checkpointing": off} for off in (False, True))
    assert needs(with_it, zero).allocated <= needs(without, zero).allocated


@MORE
@given(TRAINS, st.none() | ZEROS, st.integers(1, 4))
def test_a_range_is_in_order_and_its_parts_are_whole(
    train: dict[str, Any], zero: dict[str, Any] | None, gpus: int
) -> None:
    found = needs(train, zero, gpus)
    assert 0 < found.gpu.low <= found.gpu.expected <= found.gpu.high
    assert 0 < found.host.low <= found.host.expected <= found.host.high
    assert sum(found.of("gpu").values()) == found.gpu.expected
    assert sum(found.of("host").values()) == found.host.expected
    assert all(part.bytes > 0 for part in found.parts)
