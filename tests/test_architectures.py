"""Shapes of model types without a family: built by a child process, remembered, else told by the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from test_models import safetensors
from trees import write_tree

from qtune import architectures
from qtune.errors import QtuneError
from qtune.predict.models.fields import MOST_LAYERS
from qtune.predict.models.find import Model, from_config, load
from qtune.predict.models.shapes import Module
from qtune.predict.parameters.trainable import trainable
from qtune.processes import child, process

FLEX_OLMO = {
    "model_type": "flex_olmo",
    "hidden_size": 8,
    "intermediate_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_experts": 3,
    "num_experts_per_tok": 2,
    "vocab_size": 10,
    "tie_word_embeddings": False,
}
ATTENTION = {f"model.layers.0.self_attn.{part}_proj.weight": (8, 8) for part in "qkvo"}
EXPERTS = {
    f"model.layers.0.mlp.experts.{number}.{part}_proj.weight": (8, 4) if part == "down" else (4, 8)
    for number in range(3)
    for part in ("gate", "up", "down")
}
STORED: dict[str, tuple[int, ...]] = {
    "model.embed_tokens.weight": (10, 8),
    **ATTENTION,
    **EXPERTS,
    "model.layers.0.mlp.gate.weight": (3, 8),
    "model.norm.weight": (8,),
    "lm_head.weight": (10, 8),
}
ANSWER = {
    "modules": [
        ["model.embed_tokens", "embedding", [["weight", [10, 8]]], False, False],
        ["model.layers.0.self_attn.q_proj", "linear", [["weight", [8, 8]], ["bias", [8]]], False, True],
        ["lm_head", "linear", [["weight", [10, 8]]], True, False],
    ],
    "numbers": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_experts": 3},
}


def write_model(root: Path, config: Any = FLEX_OLMO, weights: Any = None) -> Path:
    write_tree(root, {"m/config.json": config})
    if weights is not None:
        (root / "m" / "model.safetensors").write_bytes(safetensors(weights))
    return root


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what a stand-in for the child prints; `asked` beside it has a line each time."""
    script, printed = tmp_path / "child.py", tmp_path / "answer"
    script.write_text(
        f"open({str(tmp_path / 'asked')!r}, 'a').write(input() + '\\n')\n"
        f"print(open({str(printed)!r}).read())\n"
    )
    monkeypatch.setattr(child, "script", lambda name, python: [python, script])
    monkeypatch.setattr(process, "find_python", lambda: Path(sys.executable))
    printed.write_text(json.dumps({"done": ANSWER}))
    return printed


def named(root: Path) -> Model:
    return architectures.load_named({"model_name_or_path": "./m"}, root)


def test_the_library_is_asked_once_for_a_config(
    library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = named(write_model(tmp_path))
    assert model.parameters == 80 + 64 + 8 and model.exact
    assert (model.hidden_size, model.num_experts, model.quantizable_parameters) == (8, 3, 64)
    assert capfd.readouterr().err.count("waiting for transformers") == 1
    assert named(tmp_path) == model and capfd.readouterr().err == ""
    write_model(tmp_path, {**FLEX_OLMO, "vocab_size": 11})
    named(tmp_path)
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert asked == [FLEX_OLMO, {**FLEX_OLMO, "vocab_size": 11}]


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ('{"done": {"error": "ValueError: no such width"}}', "cannot build it: ValueError: no such width"),
        ("", "exit code 0"),
    ],
)
def test_what_the_library_cannot_build_is_told_by_its_weights(
    printed: str, says: str, library: Path, tmp_path: Path
) -> None:
    library.write_text(printed)
    if not printed:
        (tmp_path / "child.py").write_text("")
    with pytest.raises(QtuneError, match=says) as caught:
        named(write_model(tmp_path))
    assert caught.value.where == str(tmp_path / "m" / "config.json")
    assert named(write_model(tmp_path, weights=STORED)).source.startswith("the headers")


def test_an_absurd_number_of_layers_is_not_handed_on(library: Path, tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match=r"`num_hidden_layers` is 10,001; no model has that many"):
        named(write_model(tmp_path, {**FLEX_OLMO, "text_config": {"num_hidden_layers": MOST_LAYERS + 1}}))
    assert not (tmp_path / "asked").exists()


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise QtuneError("`llamafactory-cli` is not installed here")

    monkeypatch.setattr(process, "find_python", missing)
    with pytest.raises(QtuneError, match="only transformers knows how 'flex_olmo' is built") as caught:
        named(write_model(tmp_path))
    assert "qtune[train]" in str(caught.value.fix)


def test_experts_that_are_stored_one_by_one_are_no_linear_layers(tmp_path: Path) -> None:
    model = load("./m", write_model(tmp_path, weights=STORED))
    assert model.exact and model.parameters == 10 * 8 * 2 + 4 * 64 + 3 * 3 * 32 + 24 + 8
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    assert shapes["model.layers.0.mlp.experts.gate_up_proj"] == (3, 8, 8)
    assert shapes["model.layers.0.mlp.experts.down_proj"] == (3, 8, 4)
    assert model.quantizable_parameters == 4 * 64
    adapted = {tensor.name.split(".")[-3] for tensor in trainable(model, {"finetuning_type": "lora"}).tensors}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_buffers_and_what_the_library_does_not_read_are_no_parameters(tmp_path: Path) -> None:
    config = {**FLEX_OLMO, "model_type": "solar_open"}
    plain = load("./m", write_model(tmp_path / "plain", config, STORED))
    more = {**STORED, "model.layers.0.mlp.gate.e_score_correction_bias": (3,)}
    assert load("./m", write_model(tmp_path / "more", config, more)).parameters == plain.parameters


def test_a_tied_output_layer_is_there_though_no_file_holds_it(tmp_path: Path) -> None:
    stored = {name: shape for name, shape in STORED.items() if name != "lm_head.weight"}
    model = load("./m", write_model(tmp_path, {**FLEX_OLMO, "tie_word_embeddings": True}, stored))
    assert [(module.name, module.tied) for module in model.modules if module.tied] == [("lm_head", True)]


@pytest.mark.parametrize("name", ["num_experts", "num_local_experts"])
def test_experts_count_under_each_name_that_a_config_gives_them(name: str) -> None:
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "moe_intermediate_size": 4,
        "vocab_size": 10,
    }
    model = from_config("m", {**config, name: 4}, source="x")
    assert model.num_experts == 4
    assert next(module for module in model.modules if module.kind == "experts").weights[0][1] == (4, 8, 8)
    assert from_config("m", config, source="x").num_experts_per_tok == 8  # the library's default


GPT2 = Model("m", "x", "gpt2", (Module("h.0.c_attn", "conv", (("weight", (8, 24)),), packed=True),))


def test_all_names_no_layer_of_gpt2_and_a_name_does(tmp_path: Path) -> None:
    with pytest.raises(QtuneError, match="a gpt2 has none") as caught:
        trainable(GPT2, {"finetuning_type": "lora"})
    assert "c_attn" in str(caught.value.fix)
    named = {"finetuning_type": "lora", "lora_target": "c_attn", "lora_rank": 2}
    shapes = [tensor.shape for tensor in trainable(GPT2, named).tensors]
    assert shapes == [(2, 8), (24, 2)] and GPT2.quantizable_parameters == 8 * 24


def test_a_convolution_of_that_name_is_adapted_as_peft_does_it() -> None:
    convolution = Module("visual.patch.proj", "conv", (("weight", (16, 3, 2, 4, 4)),))
    model = Model("m", "x", "m", (convolution, Module("visual.proj", "linear", (("weight", (4, 4)),))))
    tensors = trainable(model, {"finetuning_type": "lora", "lora_rank": 2}).tensors
    assert [tensor.shape for tensor in tensors[:2]] == [(2, 3, 2, 4, 4), (16, 2, 1, 1, 1)]
