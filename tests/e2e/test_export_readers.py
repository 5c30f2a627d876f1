"""transformers 4.57 reads of an export what transformers 5 does: next tokens, special tokens, chat template.

Without the older names it read a rope_theta of 1000000 as 10000 without a word, and no tokenizer at all.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from scratch import Project

from qtune.predict.models.headers import read_header
from qtune.use.exporting.readers import TABLE
from qtune.use.exporting.spelling import make_readable

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
OLDER = Path(sys.prefix) / "transformers4"  # the Makefile's
# Trained and exported; of the others a model as transformers saved it, which is what an export does too.
FAMILIES = ["qwen2", "qwen3", "llama", "gemma2", "gemma3_text"]
OTHERS = sorted(set(TABLE["transformers_4"]) - set(FAMILIES))
Found = dict[str, dict[str, Any]]
FEW = [
    word
    for setting in (
        "template=qwen",
        "max_samples=8",
        "per_device_train_batch_size=4",
        "gradient_accumulation_steps=1",
        "num_train_epochs=5",
        "learning_rate=2e-2",
        "warmup_steps=0",
        "eval_dataset=null",
        'save_strategy="no"',
        "plot_loss=false",
    )
    for word in ("-s", setting)
]
ADDED = ("-s", "add_tokens=<a>,<b>")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with exports: of families, of a resized vocabulary, of a whole model, of one that sees."""
    root = tmp_path_factory.mktemp("readers") / "project"
    root.mkdir()
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    project = Project(root)
    tiny = str(CHECKOUT / "data" / "tiny-qwen2")
    project.command(sys.executable, str(HERE / "make_tiny_families.py"), tiny, str(root / "models"))
    project.command(
        sys.executable, str(HERE / "make_tiny_qwen2_vl.py"), tiny, str(root / "models" / "qwen2_vl")
    )
    for name, base, preset, *more in (
        *((family, family, "lora") for family in FAMILIES),
        ("resized", "qwen2", "lora", *ADDED),
        ("whole", "qwen3", "full"),
        ("qwen2_vl", "qwen2_vl", "lora", "-s", "template=qwen2_vl"),
    ):
        project.qtune("train", preset, "-n", name, *FEW, "-s", f"model_name_or_path=models/{base}", *more)
        check = () if name == "resized" else ("--no-check",)
        project.qtune("export", name, *check)
    for family in OTHERS:
        directory = shutil.copytree(root / "models" / family, root / "exports" / family)
        make_readable(directory, {"model_name_or_path": f"models/{family}"}, root)
    return project


@pytest.fixture(scope="module")
def read(project: Project) -> tuple[Found, Found]:
    """What transformers 5 and 4.57 read, by directory's name.

    `own` is the directory of the run `whole`; `plain` an export without the rope of transformers 4.
    """
    assert OLDER.is_dir(), f"there is no transformers 4 in {OLDER}: `make test-all` puts it there"
    exports = sorted((project.root / "exports").iterdir())
    own, plain = project.root / "own", project.root / "plain"
    shutil.copytree(project.root / "runs" / "whole", own)
    shutil.copytree(project.root / "exports" / "qwen2", plain)
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    del config["rope_theta"]
    (plain / "config.json").write_text(json.dumps(config), encoding="utf-8")
    argv = (sys.executable, str(HERE / "read_exports.py"), *map(str, (*exports, own, plain)))
    found = [project.command(*argv, PYTHONPATH=path).stdout for path in ("", str(OLDER))]
    newer, older = (json.loads(text.splitlines()[-1]) for text in found)
    assert newer["version"].startswith("5.") and older["version"].startswith("4.57.")
    return newer["found"], older["found"]


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS, "qwen2_vl", "resized", "whole", "own"])
def test_both_read_the_same_model(read: tuple[Found, Found], name: str) -> None:
    newer, older = (found[name] for found in read)
    assert len(newer["next"]) == 600 and newer["next"] == older["next"]
    assert newer["last"] == pytest.approx(older["last"], abs=1e-4)
    for part in ("special", "ids", "chat", "dtype", "tied"):
        assert newer[part] == older[part], part
    assert newer["pixels"] == pytest.approx(older["pixels"])


def test_without_the_older_names_it_would_be_another_model(read: tuple[Found, Found]) -> None:
    """The prompt is long enough to tell: a wrong rope_theta shows with position."""
    newer, older = (found["plain"] for found in read)
    assert newer["next"] == read[0]["qwen2"]["next"]
    same = sum(one == other for one, other in zip(newer["next"], older["next"], strict=True))
    assert same < 500, same


@pytest.mark.parametrize("name", [*FAMILIES, "resized"])
def test_transformers_5_reads_what_the_library_wrote(project: Project, name: str) -> None:
    """The names of both say the same."""
    config = json.loads((project.root / "exports" / name / "config.json").read_text(encoding="utf-8"))
    parameters = config["rope_parameters"]
    assert config["rope_theta"] == parameters.get("full_attention", parameters)["rope_theta"] != 10000.0
    assert config["torch_dtype"] == config["dtype"]


def test_embeddings_that_were_both_trained_are_two(project: Project, read: tuple[Found, Found]) -> None:
    export = project.root / "exports" / "resized"
    assert json.loads((export / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
    assert not read[0]["resized"]["tied"] and read[0]["qwen2"]["tied"]
    assert read[0]["resized"]["ids"][-1] >= 1280  # `<a>`
    assert "the same next token at" in (export / "README.md").read_text(encoding="utf-8")


def test_an_adapter_of_a_resized_vocabulary_holds_each_embedding_three_times(project: Project) -> None:
    """As predict/memory/disk.py counts them; PEFT warns of the resize, and saves all that has the name."""
    adapter = project.root / "runs" / "resized" / "adapter_model.safetensors"
    names = [tensor.name for tensor in read_header(adapter)]
    for embedding in ("embed_tokens", "lm_head"):
        assert len([name for name in names if embedding in name]) == 3
