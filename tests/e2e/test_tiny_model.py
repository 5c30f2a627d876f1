"""The shipped tiny model: what its script makes, small, and usable as a tokenizer and a model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

DATA = Path(__file__).resolve().parents[2] / "data"
TINY = DATA / "tiny-qwen2"
TEXTS = [
    "Why is the sky blue? It's Rayleigh scattering.",
    "LoRA 微调很快。龘字不在词表里。",
    "def double(n):\n    return 2 * n  # naïve café 🙂\t\r\n\n",
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("hash_seed", "threads"), [("0", "1"), ("12345", "4")])
def test_script_makes_the_shipped_bytes(tmp_path: Path, hash_seed: str, threads: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": threads}
    script = DATA / "make_tiny_qwen2.py"
    subprocess.run([sys.executable, script, tmp_path / "again"], env=environment, check=True)

    made, shipped = contents(tmp_path / "again"), contents(TINY)
    assert sorted(made) == sorted(shipped)
    assert [name for name in made if made[name] != shipped[name]] == []


def test_folder_is_small_enough_to_ship() -> None:
    assert sum(len(content) for content in contents(TINY).values()) <= 1_500_000


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_returns_the_text_it_was_given(text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_demo_rows_fit_a_small_cutoff_len() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    for line in (DATA / "demo.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        chat = [
            {"role": "user", "content": f"{row['instruction']}\n{row['input']}".rstrip("\n")},
            {"role": "assistant", "content": row["output"]},
        ]
        text = tokenizer.apply_chat_template(chat, tokenize=False)
        token_ids = tokenizer(text).input_ids
        assert len(token_ids) <= 256, row
        assert tokenizer.decode(token_ids) == text


def test_model_and_tokenizer_agree() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model, loading = AutoModelForCausalLM.from_pretrained(TINY, output_loading_info=True)
    assert not any(loading.values())
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == model.config.eos_token_id
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.pad_token_id == model.config.pad_token_id
