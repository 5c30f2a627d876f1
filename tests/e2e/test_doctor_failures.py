"""What the doctor and a training's preflight say of machines on which something is really wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scratch import BIN, QTUNE, Project

WRONG = "0.25.0+cu130"


def lines(project: Project, *arguments: str, exit_code: int, **environment: str) -> dict[str, dict[str, Any]]:
    """The doctor's lines by subject."""
    command = (str(QTUNE), "doctor", *arguments, "--json")
    told = json.loads(project.command(*command, exit_code=exit_code, **environment).stdout)
    return {line["subject"]: line for line in told["lines"]}


def failures(told: dict[str, dict[str, Any]]) -> set[str]:
    return {subject for subject, line in told.items() if line["level"] == "failure"}


def stopped(project: Project, *arguments: str, **environment: str) -> str:
    """What a training says that stops, in a second or so, before anything is written."""
    before = time.monotonic()
    result = project.command(str(QTUNE), "train", *arguments, exit_code=2, **environment)
    assert time.monotonic() - before < 10
    assert not (project.root / "rendered").exists()
    assert not list((project.root / "runs").glob("*"))
    return result.stderr


@pytest.fixture
def wrong_torchvision(tmp_path: Path) -> Path:
    """A directory with torchvision's real Python code, of another number and without its compiled half."""
    spec = find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    copy = tmp_path / "site" / "torchvision"
    shutil.copytree(Path(spec.origin).parent, copy, ignore=shutil.ignore_patterns("*.so*", "__pycache__"))
    version = copy / "version.py"
    text = version.read_text().splitlines()
    version.write_text(
        "\n".join(f"__version__ = '{WRONG}'" if "__version__ =" in line else line for line in text)
    )
    return copy.parent


def test_this_machine_is_ready_where_the_suite_trains(project: Project) -> None:
    assert failures(lines(project, "lora", exit_code=0)) == set()


def test_a_wrong_torchvision(project: Project, wrong_torchvision: Path) -> None:
    path = os.pathsep.join(filter(None, (str(wrong_torchvision), os.environ.get("PYTHONPATH"))))
    told = lines(project, "lora", exit_code=1, PYTHONPATH=path)
    assert "torch's builds" in failures(told)
    builds = told["torch's builds"]
    assert "torchvision::nms does not exist" in builds["says"]
    assert "torchvision==0.26.*" in builds["fix"]

    said = stopped(project, "lora", PYTHONPATH=path)
    assert f"torchvision {WRONG} does not belong to torch 2.11" in said and "--force" in said
    # and it is as the preflight says: the training cannot even start
    forced = project.command(str(QTUNE), "train", "lora", "--force", exit_code=1, PYTHONPATH=path)
    assert "torchvision::nms does not exist" in forced.stderr


def test_a_missing_compiler(project: Project) -> None:
    path = {"PATH": str(BIN)}  # qtune, Python, ninja, and nothing of the system's
    told = lines(project, "stage3", exit_code=1, **path)
    assert failures(told) == {"compiler"} and "g++" in told["compiler"]["fix"]
    assert "no C++ compiler" in stopped(project, "stage3", **path)
    # what compiles nothing needs none
    assert lines(project, "lora", exit_code=0, **path)["compiler"]["level"] == "warning"


def test_a_model_that_is_not_cached_while_offline(project: Project, tmp_path: Path) -> None:
    cache = {"HF_HOME": str(tmp_path / "hub")}
    model = ("-m", "Qwen/Qwen2.5-0.5B-Instruct")
    told = lines(project, "lora", *model, exit_code=1, **cache)
    assert failures(told) == {"model"}
    assert "HF_HUB_OFFLINE forbids" in told["model"]["says"]
    assert "is not in the cache" in stopped(project, "lora", *model, **cache)

    snapshot = tmp_path / "hub" / "hub" / "models--Qwen--Qwen2.5-0.5B-Instruct" / "snapshots" / "c0ffee"
    shutil.copytree(project.root / "data" / "tiny-qwen2", snapshot)
    reference = snapshot.parent.parent / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("c0ffee")
    assert lines(project, "lora", *model, exit_code=0, **cache)["model"]["level"] == "ok"
    (snapshot / "model.safetensors").unlink()
    assert "its weights missing" in stopped(project, "lora", *model, **cache)


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    """The project's `runs` on a file system of 200 kB."""
    runs = project.root / "runs"
    runs.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True) if mount else None
    if done is None or done.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
    yield runs
    subprocess.run(["umount", str(runs)], check=True)


def test_a_full_disk(project: Project, small_disk: Path) -> None:
    told = lines(project, "full", exit_code=1)
    assert failures(told) == {"disk"} and "one checkpoint takes" in told["disk"]["says"]
    assert "one checkpoint takes" in stopped(project, "full")


def test_the_hub_settings_of_the_project_count(project: Project) -> None:
    with (project.root / "qtune.yaml").open("a") as settings:
        settings.write("hub: {offline: true}\n")
    assert "HF_HUB_OFFLINE is set" in lines(project, "lora", exit_code=0)["hub"]["says"]


def test_a_disk_too_small_for_a_huge_model(project: Project) -> None:
    """The same without a mount: no disk holds ten trillion parameters in full."""
    tiny = project.root / "data" / "tiny-qwen2"
    config = json.loads((tiny / "config.json").read_text())
    huge = {"hidden_size": 65536, "intermediate_size": 262144, "num_hidden_layers": 150}
    (tiny / "config.json").write_text(json.dumps({**config, **huge}))
    (tiny / "model.safetensors").unlink()
    assert "one checkpoint takes" in stopped(project, "full")


def test_the_preflight_takes_a_fraction_of_a_second(project: Project) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom qtune.doctor import readiness\n"
        "from qtune.prepare import pipeline\n"
        "from qtune.config.project import find_project\nfrom qtune.machine.hardware import detect_hardware\n"
        "prepared = pipeline.examine('stage3', find_project(Path.cwd()), detect_hardware())\n"
        "before = time.perf_counter()\nreadiness.preflight(prepared)\n"
        "print(time.perf_counter() - before)\n"
        "assert not {'torch', 'transformers', 'deepspeed'} & set(sys.modules)\n"
    )
    assert float(project.command(sys.executable, "-c", program).stdout) < 1
