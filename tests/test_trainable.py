"""What a training changes: known counts, LLaMA-Factory's choices by name, and names that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.errors import QtuneError
from qtune.predict.models.find import Model, from_config, load
from qtune.predict.parameters.trainable import trainable, upcasts

QWEN2 = {
    "model_type": "qwen2",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 10,
}
SMALL = from_config("small", QWEN2, source="config.json")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    nowhere = tmp_path_factory.mktemp("nowhere")
    names = ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B", "meta-llama/Llama-2-7b", "THUDM/chatglm3-6b")
    more = ("internlm/internlm2-7b", "google/gemma-3-4b", "Qwen/Qwen2.5-VL-7B", "Qwen/Qwen3-30B-A3B")
    return {name: load(name, Path(nowhere)) for name in (*names, *more)}


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [  # as LLaMA-Factory, PEFT and their users print them
        ("Qwen/Qwen2.5-7B", {}, 20_185_088),
        ("Qwen/Qwen2.5-7B", {"lora_rank": 16, "lora_target": "all"}, 40_370_176),
        ("Qwen/Qwen2.5-0.5B", {}, 4_399_104),
        ("meta-llama/Llama-2-7b", {"lora_target": "q_proj,v_proj"}, 4_194_304),
        ("meta-llama/Llama-2-7b", {}, 19_988_480),
        ("THUDM/chatglm3-6b", {"lora_target": "query_key_value"}, 1_949_696),
        ("THUDM/chatglm3-6b", {}, 14_823_424),
        ("Qwen/Qwen2.5-7B", {"finetuning_type": "full"}, 7_615_616_512),
    ],
)
def test_known_counts(
    name: str, arguments: dict[str, Any], parameters: int, models: dict[str, Model]
) -> None:
    assert trainable(models[name], arguments).parameters == parameters


def names_of(model: Model, **arguments: Any) -> set[str]:
    """The last two parts of the trained tensors' names, without the layers."""
    found = trainable(model, arguments).tensors
    return {".".join(tensor.name.removesuffix(".weight").split(".")[-2:]) for tensor in found}


def test_all_leaves_out_every_familys_output_layer(models: dict[str, Model]) -> None:
    for model in models.values():
        named = {tensor.name for tensor in trainable(model, {"lora_target": "all"}).tensors}
        assert not any(name.startswith(("lm_head", "output", "transformer.output_layer")) for name in named)
    assert names_of(models["internlm/internlm2-7b"], lora_rank=1) == {
        f"{module}.lora_{part}" for module in ("wqkv", "wo", "w1", "w2", "w3") for part in "AB"
    }


def test_stacked_experts_and_routers_get_no_adapter(models: dict[str, Model]) -> None:
    named = names_of(models["Qwen/Qwen3-30B-A3B"])
    assert named == {f"{letter}_proj.lora_{part}" for letter in "qkvo" for part in "AB"}


@pytest.mark.parametrize("name", ["google/gemma-3-4b", "Qwen/Qwen2.5-VL-7B"])
def test_what_sees_is_frozen_unless_asked_for(name: str, models: dict[str, Model]) -> None:
    def towers(**arguments: Any) -> set[str]:
        found = trainable(models[name], arguments).tensors
        return {tensor.name for tensor in found if "vision_tower" in tensor.name or "visual" in tensor.name}

    for method in ("lora", "full", "freeze"):
        assert towers(finetuning_type=method) == set()
    assert towers(freeze_vision_tower=False) and towers(finetuning_type="full", freeze_vision_tower=False)
    only_tower = trainable(
        models[name], {"finetuning_type": "full", "freeze_vision_tower": False, "freeze_language_model": True}
    )
    assert {tensor.name for tensor in only_tower.tensors} == towers(
        finetuning_type="full", freeze_vision_tower=False
    )


def test_freeze_takes_the_last_layers_or_the_first() -> None:
    def layers(**arguments: Any) -> set[str]:
        found = trainable(SMALL, {"finetuning_type": "freeze", **arguments}).tensors
        return {tensor.name.split(".")[2] for tensor in found}

    assert layers() == {"2", "3"}
    assert layers(freeze_trainable_layers=-1) == {"0"}
    assert layers(freeze_trainable_layers=9) == {"0", "1", "2", "3"}
    assert layers(freeze_trainable_layers=2, use_llama_pro=True) == {"1", "3"}
    one = trainable(SMALL, {"finetuning_type": "freeze", "freeze_trainable_modules": "mlp"})
    assert one.parameters == 2 * 3 * 8 * 16
    more = {"finetuning_type": "freeze", "freeze_extra_modules": "embed_tokens"}
    assert (
        trainable(SMALL, more).parameters
        == trainable(SMALL, {**more, "freeze_extra_modules": None}).parameters + 80
    )


def test_an_additional_target_is_a_second_copy_and_no_adapter() -> None:
    found = trainable(SMALL, {"lora_target": "q_proj,lm_head", "additional_target": "embed_tokens,lm_head"})
    assert found.of("copy") == found.added - found.of("adapter") == 160
    assert found.of("adapter") == trainable(SMALL, {"lora_target": "q_proj"}).parameters
    tied = from_config("tied", {**QWEN2, "tie_word_embeddings": True}, source="config.json")
    assert trainable(tied, {"additional_target": ["embed_tokens", "lm_head"]}).of("copy") == 160
    assert trainable(tied, {"resize_vocab": True}).of("copy") == 160


def test_a_dora_adapter_has_a_magnitude_for_each_output() -> None:
    plain, dora = (trainable(SMALL, {"use_dora": use}).parameters for use in (False, True))
    assert dora - plain == 4 * (8 + 4 + 4 + 8 + 16 + 16 + 8)
    for other in ("use_rslora", "pissa_init"):
        assert trainable(SMALL, {other: True}).parameters == plain


def test_a_reward_model_has_a_head_of_its_own() -> None:
    more = trainable(SMALL, {"stage": "rm"}).parameters - trainable(SMALL, {"stage": "dpo"}).parameters
    assert more == 8 + 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"lora_target": "q_prj"}, "did you mean `q_proj`"),
        ({"finetuning_type": "oft", "lora_target": "w1"}, "choose from down_proj"),
        ({"finetuning_type": "freeze", "freeze_trainable_modules": "mpl"}, "did you mean `mlp`"),
        ({"finetuning_type": "freeze", "freeze_extra_modules": "embed"}, "choose from embed_tokens"),
        ({"lora_target": "lm_head", "additional_target": "lm_head"}, "nothing is left of lm_head"),
        ({"additional_target": "lm(head"}, "is no pattern"),
        ({"use_llama_pro": True, "freeze_trainable_layers": 3}, "have to divide"),
    ],
)
def test_names_that_the_model_has_not_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(QtuneError) as caught:
        trainable(SMALL, arguments)
    assert says in str(caught.value) and caught.value.where in {*arguments, "freeze_trainable_layers"}


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_more_rank_never_trains_less(low: int, high: int, dora: bool) -> None:
    few, many = (
        trainable(SMALL, {"lora_rank": rank, "use_dora": dora}).parameters for rank in sorted((low, high))
    )
    assert few <= many


@given(st.sampled_from([{"oft_rank": 0}, {"oft_block_size": 0}]), st.integers(1, 50))
def test_oft_blocks_tile_each_input(given_zero: dict[str, int], number: int) -> None:
    other = {"oft_rank": "oft_block_size", "oft_block_size": "oft_rank"}[next(iter(given_zero))]
    for tensor in trainable(SMALL, {"finetuning_type": "oft", **given_zero, other: number}).tensors:
        blocks, triangle = tensor.shape
        size = next(size for size in range(1, 20) if size * (size - 1) // 2 == triangle and 16 % size == 0)
        assert size == 1 or blocks * size in (8, 16)


def test_trainable_parameters_are_upcast_but_for_three_cases() -> None:
    assert upcasts({}, 0) and upcasts({}, 2) and upcasts({"quantization_bit": 4}, 3)
    assert not upcasts({}, 3) and not upcasts({"pure_bf16": True}, 0) and not upcasts({"use_badam": True}, 0)
