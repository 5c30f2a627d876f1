"""What transformers 5 writes, in the words of 4.57 too; tests/e2e/test_export_readers.py has both read it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import write_tree

from qtune.config.project import find_project
from qtune.files import read_object
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.runs import record
from qtune.training import attempts
from qtune.use.exporting.embeddings import differ
from qtune.use.exporting.spelling import make_readable, older_config, older_tokenizer

PLAIN = {"rope_theta": 1e6, "rope_type": "default"}
YARN = {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0}
MROPE = {"rope_theta": 1e6, "rope_type": "default", "mrope_section": [2, 3, 3]}
LONG = {**PLAIN, "rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0], "factor": 32.0}
LAYERS = {
    "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
    "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
}


@pytest.mark.parametrize(
    ("model_type", "parameters", "older"),
    [
        ("qwen2", PLAIN, {"rope_theta": 1e6}),
        (
            "qwen2",
            YARN,
            {"rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "type": "yarn", "factor": 4.0}},
        ),
        (
            "qwen2_vl_text",
            MROPE,
            {
                "rope_theta": 1e6,
                "rope_scaling": {"rope_type": "default", "type": "default", "mrope_section": [2, 3, 3]},
            },
        ),
        ("glm4", {**PLAIN, "partial_rotary_factor": 0.5}, {"rope_theta": 1e6, "partial_rotary_factor": 0.5}),
        # it refuses more than three keys
        (
            "phi3",
            LONG,
            {
                "rope_theta": 1e6,
                "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]},
            },
        ),
        (
            "gemma3_text",
            LAYERS,
            {
                "rope_theta": 1e6,
                "rope_local_base_freq": 1e4,
                "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 8.0},
            },
        ),
        # transformers 5 would take a `rope_scaling` for the parameters of all layers
        ("modernbert", LAYERS, {"rope_theta": 1e6, "rope_local_base_freq": 1e4}),
        (
            "gpt_neox",
            {**PLAIN, "partial_rotary_factor": 0.25},
            {"rotary_emb_base": 1e6, "rotary_pct": 0.25},
        ),
        ("gpt2", None, {}),
    ],
)
def test_rope_has_its_older_names(model_type: str, parameters: Any, older: dict[str, Any]) -> None:
    config = {"model_type": model_type, "rope_parameters": parameters}
    made = older_config(config)
    assert made == {**config, **older}
    assert older_config(made) == made


def test_the_model_inside_a_model_has_them_too() -> None:
    text = {"model_type": "qwen2_vl_text", "rope_parameters": PLAIN, "dtype": "bfloat16"}
    made = older_config(
        {"model_type": "qwen2_vl", "dtype": "bfloat16", "tie_word_embeddings": True, "text_config": text}
    )
    assert made["torch_dtype"] == made["text_config"]["torch_dtype"] == "bfloat16"
    assert made["text_config"]["rope_theta"] == 1e6 and made["text_config"]["tie_word_embeddings"] is True


def test_experts_are_counted_under_both_names() -> None:
    """4.57 takes its default for a missing `num_experts`, and fails on the weights of Qwen3 MoE."""
    assert older_config({"model_type": "qwen3_moe", "num_local_experts": 4})["num_experts"] == 4


def test_a_tokenizers_special_tokens_and_class() -> None:
    """A list of them is "'list' object has no attribute 'keys'" to 4.57."""
    written = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "eos_token": "<e>"}
    made = older_tokenizer(written, {})
    assert made == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
        "eos_token": "<e>",
    }
    assert older_tokenizer(made, {}) == made


def test_named_special_tokens_keep_their_names() -> None:
    named = {"image_token": "<i>"}
    made = older_tokenizer({"model_specific_special_tokens": named, "image_token": "<i>"}, {})
    assert made["extra_special_tokens"] == named == made["model_specific_special_tokens"]


def test_what_a_tokenizer_adds_is_the_bases(tmp_path: Path) -> None:
    """transformers 5 leaves it out, and 4.57 takes Llama's default: it would add a BOS token."""
    base = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "bos_token": "<s>"}
    root = write_tree(
        tmp_path,
        {
            "base/tokenizer_config.json": base,
            "made/tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<b>"},
        },
    )
    make_readable(root / "made", {"model_name_or_path": "base"}, root)
    found = read_object(root / "made" / "tokenizer_config.json")
    assert (found["add_bos_token"], found["bos_token"]) == (False, "<b>")


def test_an_adapter_has_a_tokenizer_alone(tmp_path: Path) -> None:
    tree = {
        "adapter_config.json": "{}",
        "tokenizer_config.json": {
            "extra_special_tokens": ["<a>"],
            "model_specific_special_tokens": {"b_token": "<b>"},
        },
    }
    root = write_tree(tmp_path, tree)
    make_readable(root, {}, root)
    assert {file.name for file in root.iterdir()} == {*tree, "special_tokens_map.json"}
    assert read_object(root / "special_tokens_map.json") == {"additional_special_tokens": ["<a>"]}


def test_a_processors_parts_are_files_of_their_own(tmp_path: Path) -> None:
    parts = {"image_processor": {"patch_size": 14}, "video_processor": {"patch_size": 7}}
    root = write_tree(tmp_path, {"processor_config.json": {"processor_class": "P", **parts}})
    make_readable(root, {}, root)
    assert read_object(root / "preprocessor_config.json") == {"processor_class": "P", "patch_size": 14}
    assert read_object(root / "video_preprocessor_config.json")["patch_size"] == 7


@pytest.mark.parametrize(("added", "kept"), [((), True), (("<new>",), False)])
def test_a_sentencepiece_model_comes_along_where_no_token_was_added(
    tmp_path: Path, added: tuple[str, ...], kept: bool
) -> None:
    """llama.cpp's converter asks for it: "File not found: tokenizer.model" for Gemma 2."""
    tokens = [{"content": "<s>"}]
    tree = {
        "base/tokenizer.model": "pieces",
        "base/tokenizer.json": {"added_tokens": tokens},
        "made/tokenizer.json": {"added_tokens": [*tokens, *({"content": token} for token in added)]},
        "made/config.json": {"model_type": "gemma2"},
    }
    root = write_tree(tmp_path, tree)
    make_readable(root / "made", {"model_name_or_path": "base"}, root)
    assert (root / "made" / "tokenizer.model").exists() is kept


def stored(file: Path, **tensors: bytes) -> None:
    """A safetensors file of 16-bit matrices with two columns."""
    header, data = {}, b""
    for name, content in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        shape = [len(content) // 4, 2]
        header[name.replace("_dot_", ".")] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


INPUT, OUTPUT = "model_dot_embed_tokens_dot_weight", "lm_head_dot_weight"


def test_a_training_is_finished_also_where_its_weights_are_no_file(project: Callable[..., Path]) -> None:
    """ZeRO-3 that gathers no weights leaves an empty one of a model trained whole."""
    root = project()
    prepared = pipeline.prepare("full", find_project(root), Hardware())
    run = record.start(record.claim(root / "runs", "one"), prepared.manifest)
    write_tree(run.directory, {"config.json": {"model_type": "qwen2"}, "model.safetensors": ""})
    attempts._hand_on(run, prepared)
    assert "its configs stay as transformers 5 wrote them" in run.log.read_text()
    assert read_object(run.directory / "config.json") == {"model_type": "qwen2"}


@pytest.mark.parametrize(
    ("output", "tied"), [(bytes(8), True), (bytes(7) + b"1", False), (bytes(12), True), (None, True)]
)
def test_embeddings_that_differ_are_not_called_tied(tmp_path: Path, output: bytes | None, tied: bool) -> None:
    """transformers 5 believes the weights there, 4.57 the config. Equal ones are as good as one."""
    stored(tmp_path / "model-1.safetensors", **{INPUT: bytes(8), "model_dot_norm_dot_weight": bytes(8)})
    stored(tmp_path / "model-2.safetensors", **({} if output is None else {OUTPUT: output}))
    write_tree(tmp_path, {"config.json": {"model_type": "qwen2", "tie_word_embeddings": True}})
    assert differ(tmp_path) is not tied
    make_readable(tmp_path, {}, tmp_path)
    assert read_object(tmp_path / "config.json")["tie_word_embeddings"] is tied
