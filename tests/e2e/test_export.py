"""An exported model answers as what was trained did, and stands alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scratch import UNTIL_KNOWN, Project, answer_alone

from qtune.use.exporting.comparison import Comparison

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
LIBRARY = HERE.parents[1] / "adapter" / "qtune" / "library"
GREEDY = ("-s", "do_sample=false", "-s", "max_new_tokens=120")
# Adapters that move a model of random weights far within a few steps.
STRONG = (*UNTIL_KNOWN, "-s", "num_train_epochs=20", "-s", 'save_strategy="no"', "-s", "plot_loss=false")
METHODS = {
    "qlora": ("qlora",),
    "dora": ("dora",),
    # its scale is alpha / sqrt(rank), which a merge may miss
    "rslora": ("lora", "-s", "use_rslora=true"),
    "pissa": ("lora", "-s", "lora_rank=8", "-s", "pissa_init=true", "-s", "pissa_convert=true"),
    "oft": ("lora", "-s", "finetuning_type=oft", "-s", "lora_rank=null", "-s", "lora_target=null"),
    "freeze": ("freeze",),
}


def first_row(project: Project) -> dict[str, str]:
    return json.loads((project.root / "data" / "demo.jsonl").read_text(encoding="utf-8").splitlines()[0])


def test_a_model_trained_whole_still_knows_what_it_learned(knowing: Project, tmp_path: Path) -> None:
    target = tmp_path / "my model"
    done = knowing.qtune("export", "knows", "-o", str(target), "--json")
    told = json.loads(done.stdout)
    assert told["directory"] == str(target) and told["bytes"] > 600_000
    check = Comparison(**told["check"])
    assert check.same == check.positions > 100 and check.largest_difference == 0.0
    row = first_row(knowing)
    assert answer_alone(target, row["instruction"]) == row["output"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose run `lora` knows the demo set's first rows."""
    root = tmp_path_factory.mktemp("tuned") / "project"
    root.mkdir()
    shutil.copy(HERE.parents[1] / "qtune.yaml", root)
    shutil.copytree(HERE.parents[1] / "data", root / "data")
    project = Project(root)
    project.qtune("train", "lora", *UNTIL_KNOWN)
    return project


def test_a_merged_adapter_answers_as_base_and_adapter_did(tuned: Project) -> None:
    done = tuned.qtune("export", "lora", "--force")
    assert done.stdout == "exports/lora\n"
    row = first_row(tuned)
    answer = tuned.qtune("ask", "lora", row["instruction"], *GREEDY)
    base = tuned.qtune("ask", "lora", row["instruction"], "--base", *GREEDY)
    merged = answer_alone(tuned.root / "exports" / "lora", row["instruction"])
    assert merged + "\n" == answer.stdout != base.stdout
    card = (tuned.root / "exports" / "lora" / "README.md").read_text(encoding="utf-8")
    assert "| data | demo: 4 rows |" in card and "the same next token at" in card
    assert str(tuned.root) not in card


def test_what_was_merged_wrong_is_seen(tuned: Project, tmp_path: Path) -> None:
    """The same adapter with another scale: rank 64, so 1/8 of it as rsLoRA would have it."""
    wrong = tmp_path / "wrong"
    shutil.copytree(tuned.root / "runs" / "lora", wrong)
    config = json.loads((wrong / "adapter_config.json").read_text(encoding="utf-8"))
    (wrong / "adapter_config.json").write_text(json.dumps({**config, "use_rslora": True}), encoding="utf-8")
    tuned.qtune("export", "lora", "-o", str(tmp_path / "right"), "--no-check")
    common = {"template": "qwen", "export_dir": str(tmp_path / "right")}
    request = tmp_path / "request.json"
    asked = {
        "trained": {
            **common,
            "model_name_or_path": "data/tiny-qwen2",
            "adapter_name_or_path": str(wrong),
            "finetuning_type": "lora",
        },
        "exported": {
            **common,
            "model_name_or_path": str(tmp_path / "right"),
            "finetuning_type": "full",
        },
        "prompts": ["Hello!"],
        "rows": None,
    }
    request.write_text(json.dumps(asked), encoding="utf-8")
    answer = tmp_path / "answer.json"
    tuned.command(sys.executable, str(LIBRARY / "same_answers.py"), str(request), str(answer))
    found = Comparison(**json.loads(answer.read_text(encoding="utf-8")))
    assert not found.agrees and found.typical_effect


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """2 MB, three times what the export takes."""
    directory = tmp_path / "volume"
    directory.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True) if mount else None
    if done is None or done.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_disk_that_fills_up_meanwhile_is_left_as_it_was(tuned: Project, small_volume: Path) -> None:
    target = small_volume / "models" / "lora"
    child = tuned.start("export", "lora", "-o", str(target))
    deadline = time.monotonic() + 120
    while not any(small_volume.glob("models/.lora.*")):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    with (small_volume / "other").open("wb") as other:
        other.write(bytes(1_800_000))
    assert child.wait() == 1
    told = tuned.output.read_text(encoding="utf-8", errors="replace")
    assert "the export failed:" in told and "No space left on device" in told
    assert [path.name for path in small_volume.iterdir()] == ["other"]
    done = tuned.qtune("export", "lora", "-o", str(target), exit_code=2)
    assert "needs about 721 kB" in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_every_methods_export_chooses_as_it_did(project: Project, method: str) -> None:
    preset, *settings = METHODS[method]
    project.qtune("train", preset, "-n", "run", *STRONG, *settings)
    check = compared(project)
    assert check.same == check.positions > 100, check.summary
    # far from the base: a merge that lost it would have been seen
    assert check.typical_effect is None or check.typical_effect > 100 * check.typical_difference
    row = first_row(project)
    answer = project.qtune("ask", "run", row["instruction"], *GREEDY, "-s", "quantization_bit=null")
    assert answer_alone(project.root / "exports" / "run", row["instruction"]) + "\n" == answer.stdout


def test_a_reward_model_keeps_its_value_head(project: Project) -> None:
    project.qtune("train", "reward", "-d", "demo_dpo", "-n", "run", "-s", "eval_dataset=null", *STRONG)
    compared(project)
    directory = project.root / "exports" / "run"
    assert (directory / "value_head.safetensors").is_file() and not (directory / "Modelfile").exists()


def test_half_precision_is_a_tie_at_most(project: Project) -> None:
    project.qtune("train", "lora", "-n", "run", *STRONG)
    check = compared(project, "-s", "infer_dtype=bfloat16")
    assert check.agrees and check.largest_difference > 0


def compared(project: Project, *more: str) -> Comparison:
    told: dict[str, Any] = json.loads(project.qtune("export", "run", "--json", *more).stdout)
    return Comparison(**told["check"])
