"""The shapes of models: where they are found, what they add up to, and what broken files say."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import TINY_MODEL, write_tree

from qtune.errors import QtuneError
from qtune.predict.models.find import from_config, load
from qtune.predict.models.headers import LARGEST_HEADER

# As published: the hubs' counts of safetensors weights, less output layers stored beside the embedding they
# share (Qwen3-0.6B and 1.7B); for models without such files, and those whose files hold layers for predicting
# more than one token, which transformers does not build, the papers' and the library's own counts.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen/Qwen2-57B-A14B": 57_408_658_944,
    "meta-llama/Llama-2-7b": 6_738_415_616,
    "meta-llama/Llama-2-13b": 13_015_864_320,
    "meta-llama/Llama-2-70b": 68_976_648_192,
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": 1_100_048_384,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mistral-Nemo-Base-2407": 12_247_782_400,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "THUDM/chatglm3-6b": 6_243_584_000,
    "THUDM/glm-4-9b": 9_399_951_360,
    "THUDM/glm-4-9b-hf": 9_399_951_360,
    "THUDM/GLM-4-9B-0414": 9_400_279_040,
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-7b": 8_537_680_896,
    "google/gemma-2-2b-it": 2_614_341_888,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-2-27b-it": 27_227_128_320,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-pt": 999_885_952,
    "google/gemma-3-4b-pt": 4_300_079_472,
    "google/gemma-3-12b-pt": 12_187_325_040,
    "google/gemma-3-27b-pt": 27_432_406_640,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/Phi-3-medium-4k-instruct": 13_960_238_080,
    "microsoft/phi-4": 14_659_507_200,
    "internlm/internlm2-7b": 7_737_708_544,
    "internlm/internlm2-1_8b": 1_889_110_016,
    "internlm/internlm2-20b": 19_861_149_696,
    "internlm/internlm3-8b-instruct": 8_804_241_408,
    "Qwen/Qwen2-VL-2B": 2_208_985_600,
    "Qwen/Qwen2-VL-7B": 8_291_375_616,
    "Qwen/Qwen2-VL-72B": 73_405_560_320,
    "Qwen/Qwen2.5-VL-3B": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B": 8_292_166_656,
    "Qwen/Qwen2.5-VL-32B": 33_452_718_336,
    "Qwen/Qwen2.5-VL-72B": 73_410_777_344,
    "Qwen/Qwen3-Coder-480B-A35B": 480_154_875_392,
    "Qwen/Qwen3-Next-80B-A3B": 79_674_391_296,
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-120b": 116_829_156_672,
    "zai-org/GLM-4.5-Air": 106_852_245_504,
    "zai-org/GLM-4.5": 352_797_814_784,
    "deepseek-ai/DeepSeek-V3": 671_026_404_352,
    "ByteDance-Seed/Seed-OSS-36B-Instruct": 36_151_104_512,
    "baidu/ERNIE-4.5-0.3B-PT": 360_748_032,
    "tencent/Hunyuan-4B-Instruct": 4_221_757_440,
    "tencent/Hunyuan-7B-Instruct": 7_504_568_320,
    "Qwen/Qwen3-VL-2B": 2_127_532_032,
    "Qwen/Qwen3-VL-4B": 4_437_815_808,
    "Qwen/Qwen3-VL-8B": 8_767_123_696,
    "Qwen/Qwen3-VL-32B": 33_357_390_064,
    "Qwen/Qwen3-VL-30B-A3B": 31_070_754_032,
    # less the layer that predicts a token further on, which transformers does not load
    "Qwen/Qwen3.5-0.8B": 873_438_784 - 20_452_864,
    "Qwen/Qwen3.5-2B": 2_274_069_824 - 60_828_160,
    "Qwen/Qwen3.5-4B": 4_659_865_088 - 120_599_552,
    "Qwen/Qwen3.5-9B": 9_653_104_368 - 243_290_624,
    "Qwen/Qwen3.5-27B": 27_781_427_952 - 424_699_392,
    "Qwen/Qwen3.5-35B-A3B": 35_951_822_704 - 844_640_768,
    "allenai/OLMoE-1B-7B-0924": 6_919_161_856,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "deepseek-ai/DeepSeek-V2": 235_741_434_880,
    "microsoft/Phi-3.5-MoE-instruct": 41_873_153_344,
    "baidu/ERNIE-4.5-21B-A3B-PT": 21_825_437_888,
    "tencent/Hunyuan-A13B-Instruct": 80_393_183_232,
    "allenai/OLMo-2-1124-7B-Instruct": 7_298_617_344,
    "allenai/OLMo-2-1124-7B": 7_298_617_344,
    "allenai/OLMo-2-1124-13B-Instruct": 13_716_198_400,
    "allenai/OLMo-2-1124-13B": 13_716_198_400,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "ibm-granite/granite-3.3-8b-instruct": 8_170_864_640,
    "ibm-granite/granite-3.1-8b-instruct": 8_170_848_256,
    "ibm-granite/granite-3.1-2b-instruct": 2_533_531_648,
    "microsoft/phi-2": 2_779_683_840,
    "CohereForAI/c4ai-command-r-v01": 34_980_831_232,
    "CohereForAI/aya-expanse-8b": 8_028_033_024,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "mistralai/Mistral-Small-24B-Base-2501": 23_572_403_200,
    "LiquidAI/LFM2-1.2B": 1_170_340_608,
    "LiquidAI/LFM2-350M": 354_483_968,
    "LiquidAI/LFM2-700M": 742_489_344,
    "llava-hf/llava-1.5-7b-hf": 7_063_427_072,
    "llava-hf/llava-v1.6-mistral-7b-hf": 7_566_747_648,
    "meta-llama/Llama-4-Scout-17B-16E": 108_641_793_536,
    "meta-llama/Llama-4-Maverick-17B-128E": 401_583_781_376,
    "meta-llama/Llama-3.2-11B-Vision": 10_670_220_835,
    "OpenGVLab/InternVL3-8B-hf": 7_944_373_760,
    "OpenGVLab/InternVL3-2B-hf": 2_088_957_440,
    "mistralai/Mistral-Small-3.1-24B-Base-2503": 24_011_361_280,
    "HuggingFaceTB/SmolVLM-Instruct": 2_246_272_880,
    # as stored, less the routers' corrections, which are buffers
    "rednote-hilab/dots.llm1.inst": 142_774_381_696 - 7_808,
    "zai-org/GLM-4.5V": 107_710_933_120 - 5_760,
    # and less the layer that predicts a token further on
    "zai-org/GLM-4.7-Flash": 31_221_488_576 - 1_278_097_600,
}
TABLE = json.loads(files("qtune.predict.models").joinpath("models.json").read_text(encoding="utf-8"))
QWEN2 = {
    "model_type": "qwen2",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 10,
}
LISTS = ("layer_types", "mlp_only_layers", "moe_layers", "full_attn_idxs")
LAYER = 8 * (8 + 4 + 4) + 16 + 8 * 8 + 3 * 8 * 16 + 2 * 8  # q, k, v, their biases, o, mlp, norms
QWEN2_PARAMETERS = 2 * 10 * 8 + 2 * LAYER + 8


@pytest.fixture(autouse=True)
def _empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "USE_MODELSCOPE_HUB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))


def safetensors(tensors: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> bytes:
    """A file of the format with weights of zero, two bytes each."""
    header, end = {}, 0
    for name, shape in tensors.items():
        start, end = end, end + 2 * _product(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def _product(shape: tuple[int, ...]) -> int:
    return shape[0] * _product(shape[1:]) if shape else 1


UNKNOWN_TENSORS: dict[str, tuple[int, ...]] = {
    "transformer.wte.weight": (10, 8),
    "transformer.h.0.attn.qkv.weight": (24, 8),
    "transformer.h.0.attn.qkv.bias": (24,),
    "transformer.h.0.ln.weight": (8,),
    "transformer.h.0.attn.rotary_emb.inv_freq": (4,),
    "lm_head.weight": (10, 8),
}
UNKNOWN = {"model_type": "brand_new", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 10}


def unknown_model(root: Path, config: Mapping[str, Any] = UNKNOWN, **more: bytes) -> Path:
    write_tree(root, {"m/config.json": dict(config)})
    for name, content in more.items():
        (root / "m" / name.replace("_safetensors", ".safetensors")).write_bytes(content)
    return root


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry["ids"][0])
def test_the_built_in_table_adds_up_to_the_published_totals(entry: Any, tmp_path: Path) -> None:
    model = load(entry["ids"][0], tmp_path)
    assert model.parameters == PUBLISHED[entry["ids"][0]]
    for hub_id in entry["ids"]:
        assert load(hub_id, tmp_path).parameters == model.parameters, hub_id
    assert model.source.startswith("the built-in table, ")
    assert model.dtype == entry["config"]["torch_dtype"]
    assert sum(model.layer_parameters) < model.parameters
    assert len(model.layer_parameters) == model.num_hidden_layers


@pytest.mark.parametrize(
    ("name", "total", "quantization"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, None),
        ("qwen/qwen2.5-7b-instruct", 7_615_616_512, None),
        ("Qwen2.5-Coder-7B-Instruct", 7_615_616_512, None),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", 7_615_616_512, ("awq", 4)),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", 7_615_616_512, ("gptq", 8)),
        ("unsloth/Qwen2.5-7B-Instruct-bnb-4bit", 7_615_616_512, ("bitsandbytes", 4)),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", 8_190_735_360, ("bitsandbytes", 4)),
        ("Qwen/Qwen3-8B-Base", 8_190_735_360, None),
        ("Qwen/Qwen3-8B-FP8", 8_190_735_360, ("fp8", 8)),
        ("LLM-Research/Meta-Llama-3-8B-Instruct", 8_030_261_248, None),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824, None),
        ("meta-llama/Llama-2-7b-chat-hf", 6_738_415_616, None),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552, None),
        ("ZhipuAI/chatglm3-6b", 6_243_584_000, None),
        ("google/gemma-2-9b-it", 9_241_705_984, None),
        ("google/gemma-3-1b-it", 999_885_952, None),
        ("Qwen/Qwen3-VL-8B-Instruct-FP8", 8_767_123_696, ("fp8", 8)),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", 79_674_391_296, None),
        ("unsloth/gpt-oss-20b-BF16", 20_914_757_184, None),
        ("ByteDance-Seed/Seed-OSS-36B-Base", 36_151_104_512, None),
        ("deepseek-ai/DeepSeek-V3.1-Base", 671_026_404_352, None),
    ],
)
def test_a_hubs_variant_of_a_model_has_its_shape(
    name: str, total: int, quantization: tuple[str, int] | None, tmp_path: Path
) -> None:
    model = load(name, tmp_path)
    assert model.parameters == total
    said = (model.quantization, model.quantization_bits)
    assert said == (quantization or (None, None))


def test_a_checkpoint_stored_in_another_precision_than_its_variants_is_known(tmp_path: Path) -> None:
    found = [
        load(f"{owner}/gemma-2-9b{end}", tmp_path).dtype for owner in ("google", "own") for end in ("", "-it")
    ]
    assert found == ["float32", "bfloat16", "bfloat16", "bfloat16"]


def test_a_name_outside_the_table_is_told_what_it_resembles(tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=r"did you mean `Qwen/Qwen2\.5-7B`"):
        load("Qwen/Qwen2.5-7BB", tmp_path)
    with pytest.raises(QtuneError, match="in no cache here") as caught:
        load("somebody/something-else-entirely", tmp_path)
    assert caught.value.where == "model_name_or_path" and "did you mean" not in str(caught.value)


def test_another_size_of_a_known_family_is_no_guess(tmp_path: Path) -> None:
    for name in (
        "Qwen/Qwen2.5-9B",
        "meta-llama/Llama-3.2-90B-Vision",
        "Qwen/Qwen2.5-7B-Instruct-GGUF",
        "-it",
    ):
        with pytest.raises(QtuneError):
            load(name, tmp_path)


def test_a_local_directory_tells_its_own_shapes() -> None:
    model = load(str(TINY_MODEL), Path("/"))
    assert model.parameters == 156_224 and model.tie_word_embeddings and model.dtype == "float32"
    assert model.source == str(TINY_MODEL / "config.json")


def test_directory_and_caches_go_before_the_table(tmp_path: Path) -> None:
    snapshot = "huggingface/hub/models--Qwen--Qwen2.5-7B"
    write_tree(
        tmp_path,
        {f"{snapshot}/refs/main": "abc\n", f"{snapshot}/snapshots/abc/config.json": QWEN2},
    )
    assert load("Qwen/Qwen2.5-7B", tmp_path).parameters == QWEN2_PARAMETERS
    assert load("Qwen/Qwen2.5-7B", tmp_path, revision="v2").parameters == 7_615_616_512
    write_tree(tmp_path, {"Qwen/Qwen2.5-7B/config.json": {**QWEN2, "num_hidden_layers": 1}})
    assert load("Qwen/Qwen2.5-7B", tmp_path).parameters == QWEN2_PARAMETERS - LAYER


@pytest.mark.parametrize("place", ["hub/models/Own/Some___1", "models/Own/Some.1", "Own/Some___1"])
def test_modelscopes_cache_is_read_in_each_of_its_layouts(place: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {f"modelscope/{place}/config.json": QWEN2})
    assert load("Own/Some.1", tmp_path).parameters == QWEN2_PARAMETERS


def test_a_cache_without_config_leaves_the_table_to_answer(tmp_path: Path) -> None:
    snapshot = "huggingface/hub/models--Qwen--Qwen2.5-7B"
    write_tree(tmp_path, {f"{snapshot}/refs/main": "abc", f"{snapshot}/snapshots/abc/tokenizer.json": "{}"})
    assert load("Qwen/Qwen2.5-7B", tmp_path).parameters == 7_615_616_512


def test_linears_are_counted_with_their_shapes() -> None:
    linears = {found.name: found for found in from_config("m", QWEN2, source="x").linears}
    assert list(linears) == [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "lm_head",
    ]
    assert (linears["k_proj"].inputs, linears["k_proj"].outputs, linears["k_proj"].count) == (8, 4, 2)
    assert linears["k_proj"].bias and not linears["o_proj"].bias
    assert {found.kind for found in linears.values()} == {"attention", "mlp", "head"}
    assert linears["lm_head"].parameters == 80


def test_a_tied_output_layer_counts_once() -> None:
    tied = from_config("m", {**QWEN2, "tie_word_embeddings": True}, source="x")
    assert tied.parameters == QWEN2_PARAMETERS - 80
    assert next(found for found in tied.linears if found.kind == "head").parameters == 0


def test_stacked_experts_are_told_apart(tmp_path: Path) -> None:
    model = load("Qwen/Qwen3-30B-A3B", tmp_path)
    stacked = [found for found in model.linears if found.stacked]
    assert [(found.name, found.count, found.kind) for found in stacked] == [
        ("gate_up_proj", 48 * 128, "expert"),
        ("down_proj", 48 * 128, "expert"),
    ]
    assert (model.num_experts, model.num_experts_per_tok, model.moe_intermediate_size) == (128, 8, 768)


@pytest.mark.parametrize(
    ("method", "bits"),
    [
        ({"quant_method": "gptq", "bits": 4}, ("gptq", 4)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4)),
        ({"bits": 4}, ("unknown", 4)),
    ],
)
def test_a_quantised_checkpoint_says_so(method: dict[str, Any], bits: tuple[str, int]) -> None:
    model = from_config("m", {**QWEN2, "quantization_config": method}, source="x")
    assert (model.quantization, model.quantization_bits) == bits
    assert model.parameters == QWEN2_PARAMETERS


def test_an_unknown_model_type_is_read_off_its_weights_headers(tmp_path: Path) -> None:
    model = load("./m", unknown_model(tmp_path, model_safetensors=safetensors(UNKNOWN_TENSORS)))
    assert model.parameters == 10 * 8 + 24 * 8 + 24 + 8 + 10 * 8  # inv_freq is no parameter
    assert not model.exact and (model.hidden_size, model.num_hidden_layers, model.head_dim) == (8, 1, 4)
    assert {found.name: found.count for found in model.linears} == {"qkv": 1, "lm_head": 1}


def test_a_shared_output_layer_that_is_stored_all_the_same_counts_once(tmp_path: Path) -> None:
    root = unknown_model(
        tmp_path, {**UNKNOWN, "tie_word_embeddings": True}, model_safetensors=safetensors(UNKNOWN_TENSORS)
    )
    assert load("./m", root).parameters == 10 * 8 + 24 * 8 + 24 + 8


def test_weights_in_several_files_are_read_through_their_index(tmp_path: Path) -> None:
    halves = dict(list(UNKNOWN_TENSORS.items())[:3]), dict(list(UNKNOWN_TENSORS.items())[3:])
    root = unknown_model(tmp_path, a_safetensors=safetensors(halves[0]), b_safetensors=safetensors(halves[1]))
    places = {name: f"{'ab'[number]}.safetensors" for number in (0, 1) for name in halves[number]}
    write_tree(root, {"m/model.safetensors.index.json": {"weight_map": places}})
    assert load("./m", root).parameters == 384
    (root / "m" / "b.safetensors").unlink()
    with pytest.raises(QtuneError, match=r"b\.safetensors is missing"):
        load("./m", root)
    write_tree(root, {"m/model.safetensors.index.json": {"weight_map": {"x": "../a.safetensors"}}})
    with pytest.raises(QtuneError, match="does not lie beside it"):
        load("./m", root)


@given(st.integers(0, len(safetensors(UNKNOWN_TENSORS)) - 1))
def test_a_file_cut_off_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    whole = safetensors(UNKNOWN_TENSORS)
    root = unknown_model(tmp_path_factory.mktemp("cut"), model_safetensors=whole[:length])
    with pytest.raises(QtuneError, match="the file is broken: it is cut off") as caught:
        load("./m", root)
    assert caught.value.where == str(root / "m" / "model.safetensors")


@given(st.binary(max_size=200), st.integers(0, 2**63))
def test_any_bytes_for_a_header_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, length: int
) -> None:
    for said in (len(content), length):
        root = unknown_model(
            tmp_path_factory.mktemp("bytes"), model_safetensors=struct.pack("<Q", said) + content
        )
        with pytest.raises(QtuneError):
            load("./m", root)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text(max_size=8),
        JSON | st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": JSON}),
        max_size=3,
    )
)
def test_any_json_for_a_header_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    text = json.dumps(content).encode()
    root = unknown_model(
        tmp_path_factory.mktemp("json"), model_safetensors=struct.pack("<Q", len(text)) + text + bytes(64)
    )
    try:
        load("./m", root)
    except QtuneError as error:
        assert error.where and error.fix


def test_a_header_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    root = unknown_model(tmp_path, model_safetensors=struct.pack("<Q", LARGEST_HEADER + 1) + b"{}")
    with pytest.raises(QtuneError, match="100,000,001 bytes"):
        load("./m", root)


def test_packed_weights_of_an_unknown_model_type_are_refused(tmp_path: Path) -> None:
    packed = safetensors({"layers.0.proj.qweight": (4, 4)}, dtype="I16")
    with pytest.raises(QtuneError, match="is packed") as caught:
        load("./m", unknown_model(tmp_path, model_safetensors=packed))
    assert "before it was quantised" in str(caught.value)


def test_an_unknown_model_type_without_such_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match="model_type 'brand_new' is not known"):
        load("./m", unknown_model(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[1]", "no mapping"),
        ('{"hidden_size": 8}', "`model_type` is missing"),
        ('{"model_type": "qwen2"}', "`num_attention_heads` is missing"),
        (json.dumps({**QWEN2, "hidden_size": "8"}), "`hidden_size` is '8', not a whole number"),
        (json.dumps({**QWEN2, "hidden_size": True}), "`hidden_size` is True"),
        (json.dumps({**QWEN2, "num_attention_heads": 0}), "`num_attention_heads` is 0"),
        (json.dumps({**QWEN2, "num_hidden_layers": 10**12}), "not a whole number"),
        (json.dumps({**QWEN2, "num_hidden_layers": 10**8}), "no model has that many layers"),
        (json.dumps({**QWEN2, "model_type": "gemma3", "text_config": [1]}), "`text_config` is not a mapping"),
        (
            json.dumps({**QWEN2, "model_type": "lfm2", "layer_types": ["conv"]}),
            "`layer_types` is not a list of 2 items of type str",
        ),
        (
            json.dumps({"model_type": "llava", "text_config": {"model_type": "bert"}}),
            "only transformers knows how 'llava' is built",
        ),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_broken_config_json_is_named_with_its_fault(text: str, says: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {"m/config.json": text})
    with pytest.raises(QtuneError) as caught:
        load("./m", tmp_path)
    assert says in caught.value.what and caught.value.where == str(tmp_path / "m/config.json")


def test_a_missing_directory_or_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match="there is no such model directory"):
        load("./nothing", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(QtuneError, match=r"the model has no config\.json"):
        load("./empty", tmp_path)


@given(
    st.dictionaries(
        st.sampled_from([*QWEN2, "text_config", "vision_config", "quantization_config", *LISTS]), JSON
    )
)
def test_any_config_is_read_or_refused(changed: dict[str, Any]) -> None:
    for model_type in ("qwen2", "chatglm", "gemma3", "qwen2_vl", "qwen3_moe", "llama4_text", "lfm2", "llava"):
        try:
            from_config("m", {**QWEN2, **changed, "model_type": model_type}, source="config.json")
        except QtuneError as error:
            assert error.where == "config.json" and error.fix
