"""Which preset comes first, and why: the ranking's properties, the users' own rules, the cost model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import TINY_MODEL

from qtune.advice.candidates import Field, gather
from qtune.advice.choices import Candidate, Choice, batches, with_batch
from qtune.advice.reasons import reason
from qtune.advice.recommend import Room, rank, speed_text
from qtune.advice.remedies import remedies
from qtune.advice.speed import Speed, Yardstick, predict_speed
from qtune.config.project import Project
from qtune.config.resolve import overrides
from qtune.data.lengths.sample import RowLengths
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.predict.memory.estimate import Estimate, Range
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.total import estimate
from qtune.predict.models.find import from_config, load
from qtune.predict.models.shapes import Model
from qtune.predict.parameters.trainable import Trainable
from qtune.values import Config, KeyPath, Origin, Value

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
LADDER = ("deepspeed", "stage2_offload", "stage3", "minimal")
GB = 2**30
AWQ = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "quantization_config": {"quant_method": "awq", "bits": 4},
}


def field(model: Model, machine: Hardware, names: Sequence[str] = (), *assignments: str) -> Field:
    """The candidates in a directory that is no project."""
    layer = overrides([f"model_name_or_path={model.name}", *assignments])
    return gather(Project(Path("/nowhere")), model, machine, [layer], None, names)


def ranked(
    name: str,
    hardware: str,
    names: Sequence[str] = (),
    *assignments: str,
    room: Room | None = None,
    rows: RowLengths | None = None,
) -> list[Choice]:
    model, machine = load(name, Path("/")), parse_hardware(hardware)
    candidates = field(model, machine, names, *assignments).candidates
    return rank(
        candidates, model, machine, room or Room(), lambda config, on: estimate(config, model, on), rows
    )


def one(choices: Sequence[Choice], name: str) -> Choice:
    return next(choice for choice in choices if choice.name == name)


# The users' own rules for the 0.5B model on one GPU: over 12 GB `deepspeed`, 6 to 12 `stage2_offload`, 4 to 6
# `stage3`, under 4 `minimal`. They are about these four, which are one another's step_down.


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("deepspeed", (80, 48, 24, 20, 16, 14)), ("stage2_offload", (8, 7, 6)), ("stage3", (5,))],
)
def test_the_ladder_follows_the_memory_as_its_users_take_it(preset: str, sizes: tuple[int, ...]) -> None:
    firsts = {size: ranked(SMALL, f"1x{size}GB", LADDER)[0] for size in sizes}
    assert {size: (first.name, first.verdict) for size, first in firsts.items()} == {
        size: (preset, "fits") for size in sizes
    }


@pytest.mark.parametrize(
    ("size", "rule"), [*((size, "stage2_offload") for size in (12, 11, 10)), (4, "minimal")]
)
def test_at_the_rules_edges_no_slower_rung_is_taken(size: int, rule: str) -> None:
    """Up to 12 GB the rule steps down already where `deepspeed` still fits at half its batch, or nearly."""
    first = ranked(SMALL, f"1x{size}GB", LADDER)[0]
    assert first.verdict == "fits" and LADDER.index(first.name) <= LADDER.index(rule)


def test_under_4_gb_minimal_is_the_nearest_and_shorter_rows_make_it_fit() -> None:
    model, machine = load(SMALL, Path("/")), parse_hardware("1x3GB")
    nearest = ranked(SMALL, "1x3GB", LADDER)[0]
    assert nearest.name == "minimal"
    helping = remedies(nearest, model, machine, Room(), lambda config, on: estimate(config, model, on))
    assert ("cutoff_len=512",) in [remedy.settings for remedy in helping]
    assert ranked(SMALL, "1x3GB", ["minimal"], "cutoff_len=512")[0].verdict == "fits"


def test_without_the_ladder_named_what_comes_first_is_no_slower() -> None:
    for size in (24, 16, 12, 8, 6, 5):
        rung, first = (ranked(SMALL, f"1x{size}GB", names)[0] for names in (LADDER, ()))
        assert first.speed.per_token <= rung.speed.per_token * 1.1  # by another yardstick: ranks differ


# The ranking by itself, over made-up needs.

TINY = load(str(TINY_MODEL), Path("/"))


def config_of(train: dict[str, Any], zero: dict[str, Any] | None = None) -> Config:
    blocks = {"train": {"finetuning_type": "lora", "cutoff_len": 1024, **train}, "zero": zero or {}}
    values: dict[KeyPath, Value] = {
        (block, key): Value(value, Origin("test"))
        for block, keys in blocks.items()
        for key, value in keys.items()
    }
    return Config("test", values)


def needing(config: Config, machine: Hardware) -> Estimate:
    """Memory of `lora_alpha` GB and as many for each row as `lora_dropout` says; hosts the same."""
    train = config.block("train")
    need = int((train["lora_alpha"] + train["lora_dropout"] * train["per_device_train_batch_size"]) * GB)
    gpu = Range(need, need, need + need // 10)
    verdict = gpu.verdict(machine.gpu_memory_gb * GB)
    return Estimate((), "", gpu, gpu, verdict, Trainable(()), need, 0, 0)


candidate_configs = st.builds(
    lambda base, row, batch, accumulation, rank, stage: config_of(
        {
            "lora_alpha": base,
            "lora_dropout": row,
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "lora_rank": rank,
        },
        {"stage": stage, "offload_param": {"device": "cpu"}} if stage else None,
    ),
    st.integers(1, 12),
    st.floats(0.1, 6),
    st.integers(1, 12),
    st.integers(1, 8),
    st.sampled_from((4, 8, 64)),
    st.sampled_from((0, 2, 3)),
)
several = st.lists(candidate_configs, min_size=1, max_size=4).map(
    lambda configs: [
        Candidate(f"c{number}", config, "next" if number % 2 else None)
        for number, config in enumerate(configs)
    ]
)


@given(several, st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_more_memory_never_makes_the_first_choice_worse(
    candidates: list[Candidate], memory: int, more: int, host: int
) -> None:
    """By its cost, up to what counts as equal: 1% between batches of one preset, and 10% between presets."""
    card, room = "A10G", Room((host + more) * GB)  # of one speed, whatever it holds
    less = rank(candidates, TINY, Hardware(1, memory, True, 8, card), Room(host * GB), needing)[0]
    larger = rank(candidates, TINY, Hardware(1, memory + more, True, 8, card), room, needing)[0]
    if less.verdict == "fits":
        assert larger.verdict == "fits"
        assert larger.cost <= less.cost * 1.111


@given(several, st.integers(1, 40))
def test_what_fits_comes_first_and_the_first_fits_where_anything_does(
    candidates: list[Candidate], memory: int
) -> None:
    machine = Hardware(1, memory, True, 8)
    choices = rank(candidates, TINY, machine, Room(), needing)
    order = ["fits", "tight", "does not fit"]
    verdicts = [order.index(choice.verdict) for choice in choices]
    assert verdicts == sorted(verdicts) and len(choices) == len(candidates)
    anything = any(
        needing(with_batch(item.config, size), machine).verdict == "fits"
        for item in candidates
        for size in batches(item.config, item.step_down is not None)
    )
    assert (choices[0].verdict == "fits") == anything
    for choice in choices:
        assert (choice.verdict == "fits") == (not choice.lacking)
        assert reason(choice, choices)


@given(candidate_configs, st.booleans())
def test_the_effective_batch_stays(config: Config, gives_way: bool) -> None:
    train = config.block("train")
    own, product = (
        train["per_device_train_batch_size"],
        train["per_device_train_batch_size"] * train["gradient_accumulation_steps"],
    )
    sizes = batches(config, gives_way)
    assert own in sizes and product in sizes and min(sizes) >= (own // 2 if gives_way else 1)
    for size in sizes:
        changed = with_batch(config, size).block("train")
        assert changed["per_device_train_batch_size"] == size
        assert size * changed["gradient_accumulation_steps"] == product


def test_a_batch_that_was_said_is_kept() -> None:
    config = config_of(
        {
            "lora_alpha": 1,
            "lora_dropout": 1.0,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 4,
        }
    )
    machine = Hardware(1, 80, True, 8)
    for adjustable, batch in ((True, 16), (False, 4)):
        candidate = Candidate("x", config, adjustable=adjustable)
        assert rank([candidate], TINY, machine, Room(), needing)[0].batch == batch


# Whole rankings, by the real estimate.


@pytest.mark.parametrize("hardware", ["1x8GB", "1x24GB", "2x24GB", "8x80GB", "cpu"])
def test_every_choice_keeps_its_presets_effective_batch(hardware: str) -> None:
    processes = max(1, parse_hardware(hardware).gpus)
    for choice in ranked("Qwen/Qwen2.5-1.5B", hardware):
        train = choice.candidate.config.block("train")
        own = train["per_device_train_batch_size"] * train["gradient_accumulation_steps"]
        assert choice.effective_batch == own * processes


def test_little_host_memory_rules_offloading_out() -> None:
    plenty, scarce = (ranked("Qwen/Qwen2.5-7B", "1x24GB", room=Room(host=size * GB)) for size in (256, 12))
    assert one(plenty, "stage3").verdict == "fits"
    assert one(scarce, "stage3").verdict == "does not fit"
    assert "of host memory" in reason(one(scarce, "stage3"), scarce)
    assert one(scarce, "qlora").verdict == "fits"


def test_a_full_disk_rules_everything_out() -> None:
    choices = ranked(SMALL, "1x24GB", room=Room(disk=1000))
    assert {choice.verdict for choice in choices} == {"does not fit"}
    assert "of disk" in reason(choices[0], choices)


def test_several_gpus_let_zero3_share_what_one_cannot_hold() -> None:
    alone, shared = (ranked("Qwen/Qwen2.5-32B", hardware) for hardware in ("1x24GB", "8x24GB"))
    assert one(shared, "stage3").estimate.gpu.high < one(shared, "lora").estimate.gpu.high
    assert one(shared, "stage3").estimate.gpu.expected <= one(alone, "stage3").estimate.gpu.expected * 4
    assert shared[0].verdict == "fits"


def test_a_model_that_is_far_too_large_fits_nowhere_and_says_what_would_help() -> None:
    model, machine = load("Qwen/Qwen2.5-72B", Path("/")), parse_hardware("1x8GB")
    names = ("lora", "qlora", "deepspeed")
    choices = ranked("Qwen/Qwen2.5-72B", "1x8GB", names)
    assert [choice.name for choice in choices] == ["qlora", "lora", "deepspeed"]
    assert {choice.verdict for choice in choices} == {"does not fit"}
    helping = remedies(choices[0], model, machine, Room(), lambda config, on: estimate(config, model, on))
    assert [remedy.text for remedy in helping] == ["a GPU of 80GB (84.9 GB)"]


def test_each_remedy_is_enough() -> None:
    model, machine = load("Qwen/Qwen2.5-7B", Path("/")), parse_hardware("1x16GB")
    lora = ranked("Qwen/Qwen2.5-7B", "1x16GB", ["lora"])[0]
    assert lora.verdict == "does not fit"
    helping = remedies(lora, model, machine, Room(), lambda config, on: estimate(config, model, on))
    assert len(helping) >= 2
    for remedy in helping:
        if remedy.settings:
            assert ranked("Qwen/Qwen2.5-7B", "1x16GB", ["lora"], *remedy.settings)[0].verdict == "fits"


def test_a_quantised_checkpoint_carries_adapters_alone() -> None:
    model = from_config("org/some-awq", AWQ, source="test")
    found = field(model, parse_hardware("1x24GB"))
    assert {item.name for item in found.candidates} == {"lora", "stage2_offload"}
    assert "awq" in found.unsuitable["full"] and "already" in found.unsuitable["qlora"]
    assert "shard" in found.unsuitable["stage3"]


ROWS_OF_160 = RowLengths(Counter({120: 50, 160: 50}), certain=True)
ROWS_OF_4096 = RowLengths(Counter({4096: 100}), certain=True)
FEW_LONG_ROWS = RowLengths(Counter({900: 97, 4096: 3}), certain=True)


def test_short_rows_are_priced_as_they_are() -> None:
    asked = ("Qwen/Qwen2.5-7B", "1x12GB", ["qlora"])
    (short,) = ranked(*asked, rows=ROWS_OF_160)
    assert (short.verdict, short.cutoff_len, short.cut) == ("fits", 192, 0)
    (unknown,) = ranked(*asked)
    assert unknown.cutoff_len == 1024 and unknown.batch < short.batch
    assert "cutoff_len 1024 instead of 2048 to fit" in reason(unknown, [unknown])


def test_long_rows_are_not_cut_but_where_nothing_else_fits_and_then_it_is_said() -> None:
    roomy = ranked("Qwen/Qwen2.5-7B", "1x80GB", rows=ROWS_OF_4096)[0]
    assert (roomy.name, roomy.cutoff_len, roomy.cut) == ("lora", 4096, 0)
    tight = ranked("Qwen/Qwen2.5-7B", "1x16GB", ["qlora", "stage3"], rows=ROWS_OF_4096)
    assert [choice.name for choice in tight] == ["stage3", "qlora"]
    assert "cuts 100% of the rows, at 2048 tokens" in reason(tight[1], tight)


def test_a_few_long_rows_are_cut_before_anything_is_offloaded() -> None:
    first = ranked("Qwen/Qwen2.5-7B", "1x12GB", rows=FEW_LONG_ROWS)[0]
    assert (first.name, first.cutoff_len) == ("qlora", 1024)
    assert "cuts 3% of the rows" in reason(first, [first])


def test_a_cutoff_that_was_said_is_kept() -> None:
    asked = ("Qwen/Qwen2.5-7B", "1x12GB", ["qlora"], "cutoff_len=1536")
    assert [choice.cutoff_len for choice in ranked(*asked, rows=ROWS_OF_160)] == [1536]


def test_speeds_are_words() -> None:
    choices = ranked("Qwen/Qwen2.5-72B", "8xH100")
    words = {choice.name: speed_text(choice, choices) for choice in choices}
    assert words["zero3"] == "fastest" and words["stage3"] == words["minimal"] == "many times slower"
    assert words["lora"] == ""


def test_full_tuning_is_said_to_be_another_training() -> None:
    choices = ranked(SMALL, "1x80GB")
    assert "another training" in reason(one(choices, "full"), choices)
    assert "cuts rows at 1024 tokens" in reason(one(choices, "minimal"), choices)
    assert "rank 8" in reason(one(choices, "minimal"), choices)


def test_what_shares_a_model_among_gpus_is_of_no_use_to_one() -> None:
    model, machine = load("Qwen/Qwen2.5-7B", Path("/")), parse_hardware("1x24GB")
    shared = {"deepspeed", "zero3", "zero3_full", "fsdp_qlora"}
    assert shared <= field(model, machine).unsuitable.keys()
    assert {item.name for item in field(model, machine, ["deepspeed", "zero3"]).candidates} <= shared
    assert "lora" in {item.name for item in field(model, machine, (), "launch.launcher=torchrun").candidates}
    assert "lora" in {item.name for item in field(model, machine, (), "zero.stage=2").candidates}
    assert not shared & field(model, parse_hardware("2x24GB")).unsuitable.keys()


def test_where_full_tuning_is_asked_for_presets_made_for_it_come_first() -> None:
    choices = ranked("Qwen/Qwen2.5-7B", "8x80GB", (), "finetuning_type=full")
    assert choices[0].name == "zero3_full"
    assert {choice.name for choice in choices if choice.verdict == "fits"} >= {"zero3", "deepspeed", "stage3"}


def test_on_a_cpu_nothing_is_gained_by_deepspeed() -> None:
    choices = ranked(SMALL, "cpu", room=Room(host=64 * GB))
    assert choices[0].name == "lora"
    assert one(choices, "full").verdict == "fits"
    assert ranked(SMALL, "cpu", room=Room(host=GB))[0].verdict == "does not fit"


# The cost model.


def speed_of(config: Config, hardware: str = "1x24GB", name: str = "Qwen/Qwen2.5-7B") -> Speed:
    model, machine = load(name, Path("/")), parse_hardware(hardware)
    setting = Setting.of(config, model, machine)
    return predict_speed(setting, setting.trainable, Yardstick(1024, 64), machine)


@pytest.mark.parametrize(
    ("faster", "slower"),
    [
        ("lora", "full"),
        ("lora", "qlora"),
        ("lora", "dora"),
        ("deepspeed", "stage2_offload"),
        ("stage2_offload", "stage3"),
        ("stage3", "minimal"),
    ],
)
@pytest.mark.parametrize("hardware", ["1x24GB", "8x80GB"])
def test_what_spares_memory_costs_time(faster: str, slower: str, hardware: str) -> None:
    model, machine = load("Qwen/Qwen2.5-7B", Path("/")), parse_hardware(hardware)
    configs = {item.name: item.config for item in field(model, machine, (faster, slower)).candidates}
    first, second = (speed_of(configs[name], hardware) for name in (faster, slower))
    assert first.per_token < second.per_token


def test_a_larger_batch_is_never_slower() -> None:
    model, machine = load("Qwen/Qwen2.5-7B", Path("/")), parse_hardware("2x24GB")
    for item in field(model, machine).candidates:
        times = [
            speed_of(with_batch(item.config, size), "2x24GB").per_token
            for size in batches(item.config, False)
        ]
        assert all(later <= earlier for earlier, later in itertools.pairwise(times)), item.name


@pytest.mark.parametrize(
    ("name", "hardware", "settings", "more", "share"),
    [
        # LitGPT's table: 0.20 s more for a micro-batch, forward and backward
        (
            "meta-llama/Llama-2-7b",
            "1x24GB",
            ["disable_gradient_checkpointing=true", "cutoff_len=512"],
            0.20,
            None,
        ),
        # Qwen's table (QwenLM/Qwen, README): 5.2 and 7.0 s for 8 rows of 2,048 tokens, and 8.4 and 11.8
        ("Qwen/Qwen2.5-7B", "1xA100-80GB", ["per_device_train_batch_size=1"], None, 0.743),
        ("Qwen/Qwen2.5-14B", "1xA100-80GB", ["per_device_train_batch_size=1"], None, 0.712),
    ],
)
def test_qlora_costs_what_was_measured(
    name: str, hardware: str, settings: list[str], more: float | None, share: float | None
) -> None:
    model, machine = load(name, Path("/")), parse_hardware(hardware)
    found = field(model, machine, ("lora", "qlora"), *settings).candidates
    lora, qlora = (speed_of(item.config, hardware, name) for item in found)
    if more is not None:
        micro_batches = 4
        extra = (sum(qlora.seconds.values()) - sum(lora.seconds.values())) / micro_batches
        assert extra == pytest.approx(more, rel=0.15)
    if share is not None:
        assert lora.per_token / qlora.per_token == pytest.approx(share, rel=0.1)


def test_zero3_over_nvlink_costs_what_was_measured() -> None:
    """Qwen's table: LoRA of the 72B model by ZeRO-3 on four A100, seconds for 8 rows of so many tokens."""
    model, machine = load("Qwen/Qwen2.5-72B", Path("/")), parse_hardware("4xA100-80GB")
    for length, seconds in {256: 17.6, 1024: 29.4, 2048: 45.7, 4096: 83.4}.items():
        settings = (f"cutoff_len={length}", "per_device_train_batch_size=1", "gradient_accumulation_steps=8")
        (candidate,) = field(model, machine, ["zero3"], *settings).candidates
        found = sum(speed_of(candidate.config, "4xA100-80GB", model.name).seconds.values())
        assert found == pytest.approx(seconds, rel=0.25), length


@pytest.mark.parametrize(
    ("preset", "name", "hardware", "batch", "seconds"),
    [
        ("lora", "meta-llama/Llama-2-7b", "2xRTX3090", 4, 881 / 128),
        ("lora", "meta-llama/Llama-2-7b", "2xRTX4090", 4, 437 / 128),
        ("qlora", "meta-llama/Llama-2-7b", "2xRTX3090", 8, 875 / 64),
        ("qlora", "meta-llama/Llama-2-7b", "2xRTX4090", 8, 450 / 64),
        ("fsdp_qlora", "meta-llama/Llama-2-7b", "2xRTX3090", 1, 1564 / 512),
        ("fsdp_qlora", "meta-llama/Llama-2-7b", "2xRTX4090", 10, 466 / 51.2),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "4xA5000", 1, 4829 / 256),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "8xA5000", 1, 2613 / 128),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "2xA100-40GB", 1, 3277 / 512),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "4xA100-40GB", 4, 1266 / 64),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "8xA100-40GB", 4, 672 / 32),
        ("fsdp_qlora", "meta-llama/Llama-2-70b", "4xH100", 8, 667 / 32),
    ],
)
def test_other_cards_and_links_cost_about_what_was_measured(
    preset: str, name: str, hardware: str, batch: int, seconds: float
) -> None:
    """AnswerDotAI/fsdp_qlora, benchmarks_03_2024.md: rows of 2,048 tokens; seconds: of a micro-batch."""
    settings = (f"per_device_train_batch_size={batch}", "gradient_accumulation_steps=1")
    (candidate,) = field(load(name, Path("/")), parse_hardware(hardware), [preset], *settings).candidates
    found = sum(speed_of(candidate.config, hardware, name).seconds.values())
    assert 1 / 1.7 < found / seconds < 1.7
