"""`--dry-run`: what is said of a training is what it then writes and starts, and nothing happens before.

Small real programs stand in for the launchers; they write down how they were started.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from saved import save_checkpoint
from trees import Result, files_below

from qtune.processes import process

Qtune = Callable[..., Result]
_STAND_IN = """import json, os, pathlib, sys
print({answer!r})
here = pathlib.Path(__file__)
with open(here.parent.parent / "started.jsonl", "a") as started:
    print(json.dumps([[here.name, *sys.argv[1:]], dict(os.environ)]), file=started)
raise SystemExit({code})
"""
BY_HAND = ("-s", "launch.nnodes=2", "-s", "launch.master_addr=127.0.0.1", "-s", "launch.master_port=29511")
TOKEN, PASSWORD = "hf_" + "q" * 20, "open-sesame"


@pytest.fixture
def root(project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside stand-ins for everything that a launcher is started with."""
    root = project(
        {"qtune.yaml": (project() / "qtune.yaml").read_text() + "hub: {mirror: 'https://hub.test'}\n"}
    )
    os.utime(root / "data" / "rows.jsonl", (0, 0))  # else no cache would keep its hash anyway
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("llamafactory-cli", "accelerate", "python3", "qtune", "srun", "sbatch", "scontrol"):
        answer, code = "4711" if name == "sbatch" else "", int(name == "llamafactory-cli")
        (programs / name).write_text(f"#!{sys.executable}\n{_STAND_IN.format(answer=answer, code=code)}")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name, fix="": programs / name)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    compiled = tmp_path / "extensions" / "deepspeed_shm_comm"  # else it would be, for a minute
    compiled.mkdir(parents=True)
    (compiled / "deepspeed_shm_comm.so").touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(compiled.parent))
    return root


def planned(qtune: Qtune, root: Path, *words: str) -> dict[str, Any]:
    """What a dry run says, which leaves no trace and starts nothing."""
    before = hashes(root.parent)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process.subprocess, "Popen", None)
        done = qtune(*words, "--dry-run", "--json", directory=root)
        text = qtune(*words, "--dry-run", directory=root)
    assert hashes(root.parent) == before
    assert done.code == text.code == 0, done.err
    found = json.loads(done.out)
    for place in found["starts"]:
        assert place["where"] in text.out and all(file in text.out for file in place["files"])
    return found


def hashes(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def started(root: Path) -> list[tuple[list[str], dict[str, str]]]:
    """How each stand-in was started since the last time."""
    kept = root.parent / "started.jsonl"
    lines = kept.read_text().splitlines()
    kept.unlink()
    return [json.loads(line) for line in lines]


def assert_started(place: dict[str, Any], found: Iterable[tuple[list[str], dict[str, str]]]) -> None:
    """One of those that were started is this place's; what only the start decides stands in `<…>`."""
    [environment] = [environment for words, environment in found if words == place["command"]]
    for name, value in place["environment"].items():
        assert value.startswith("<") or environment[name] == value, name
    assert place["environment"]["HF_ENDPOINT"] == "https://hub.test"


def assert_written(places: Iterable[dict[str, Any]], root: Path, before: set[str]) -> None:
    files = {file for place in places for file in place["files"]}
    assert files_below(root) - before == {file for file in files if not file.endswith(".reserve")}


@pytest.mark.parametrize(
    "options",
    [
        ("lora",),
        ("lora", "-n", "own", "-s", "tokenized_path=auto"),
        ("stage2_offload", "-s", "launch.nproc_per_node=2"),
        ("lora", "--launcher", "accelerate"),
    ],
    ids=["local", "tokens", "torchrun", "accelerate"],
)
def test_on_one_machine_it_says_what_is_started(qtune: Qtune, root: Path, options: tuple[str, ...]) -> None:
    found = planned(qtune, root, "train", *options, "--force")
    assert (found["estimate"]["verdict"], found["steps"]["total"] > 0) == ("fits", True)
    [place] = found["starts"]
    before = files_below(root)
    qtune("train", *options, "--force", directory=root)
    assert_started(place, started(root))
    assert_written([place], root, before)
    # the next one has a name of its own, and another takes the place of the first
    name = Path(found["run"]).name
    assert planned(qtune, root, "train", *options, "--force")["run"] == f"{found['run']}-2"
    replaced = planned(qtune, root, "train", *options, "-n", name, "--overwrite", "--force")
    assert (replaced["run"], replaced["removed"]) == (found["run"], True)
    rendered = planned(qtune, root, "train", "--force")
    [place] = rendered["starts"]
    assert all(file.startswith(f"{rendered['run']}/") for file in place["files"])


def test_what_is_compiled_before_is_said(qtune: Qtune, root: Path) -> None:
    extensions = Path(os.environ["TORCH_EXTENSIONS_DIR"])
    (extensions / "deepspeed_shm_comm" / "deepspeed_shm_comm.so").unlink()
    compiling, training = planned(qtune, root, "train", "deepspeed", "--force")["starts"]
    assert compiling["where"] == "this machine, to compile first" and compiling["files"] == []
    assert Path(compiling["command"][-3]).name == "compile.py"
    assert compiling["command"][-2:] == [str(extensions / "qtune.lock"), "deepspeed_shm_comm"]
    assert (training["where"], training["environment"]) == ("this machine", compiling["environment"])


def test_of_several_nodes_it_says_each(qtune: Qtune, root: Path) -> None:
    found = planned(qtune, root, "train", "lora", *BY_HAND, "--force")
    first, second = found["starts"]
    before = files_below(root)
    for place, rank in ((second, "1"), (first, "0")):
        qtune("train", "lora", *BY_HAND, "--node-rank", rank, "--force", directory=root)
        assert place["environment"]["NODE_RANK"] == rank
        assert_started(place, started(root))
    assert_written(found["starts"], root, before)


def test_ray_it_says_the_driver_and_what_runs_on_its_nodes(qtune: Qtune, root: Path) -> None:
    options = ("lora", "--launcher", "ray", "-s", "launch.nnodes=2", "--force")
    driver, *nodes = planned(qtune, root, "train", *options)["starts"]
    before = files_below(root)
    qtune("train", *options, directory=root)
    assert_started(driver, started(root))
    assert_written([driver], root, before)
    assert [node["environment"]["NODE_RANK"] for node in nodes] == ["0", "1"]
    training = driver["command"][driver["command"].index("llamafactory-cli") :]
    for node in nodes:
        assert node["command"] == ["python3", "-P", "-m", "qtune.processes.node", *training]


def test_slurm_it_says_the_job_its_step_and_what_runs_on_its_nodes(
    qtune: Qtune, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("lora", "--launcher", "slurm", "--on-oom", "step-down", "--force")
    found = planned(qtune, root, "train", *options)
    here, job, step, node = found["starts"]
    assert "#SBATCH --nodes=1" in found["texts"]["job.sbatch"]
    before = files_below(root)
    assert qtune("train", *options, directory=root).code == 0
    assert_started(here, started(root))
    assert_written([here], root, before)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert here["command"][-4:] == job["command"][1:] == ["carry-out", "lora", "--on-oom", "step-down"]
    qtune(*job["command"][1:], directory=root)
    assert_started(step, started(root))
    assert_written([here, job], root, before)
    assert node["command"] == step["command"][step["command"].index("llamafactory-cli") :]
    assert step["environment"]["MASTER_ADDR"] == node["environment"]["MASTER_ADDR"] == "127.0.0.1"


def test_going_on_and_replaying_are_said_too(qtune: Qtune, root: Path) -> None:
    qtune("train", "lora", "--force", directory=root)
    save_checkpoint(root / "runs" / "lora", 2)
    started(root)
    for command in ("resume", "replay"):
        [place] = planned(qtune, root, command, "lora", "--force")["starts"]
        before = files_below(root)
        qtune(command, "lora", "--force", directory=root)
        assert_started(place, started(root))
        assert files_below(root) - before <= set(place["files"])
    assert "resume_from_checkpoint=runs/lora/checkpoint-2" not in place["command"]
    assert place["command"][-1] == "output_dir=runs/lora-2"


def test_what_is_secret_is_not_said(qtune: Qtune, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", PASSWORD)
    for key in ("namespace", "_redis_password"):
        options = ("lora", "--launcher", "ray", "-s", f"launch.ray_init_kwargs={{{key}: {PASSWORD}}}")
        for more in ((), ("--json",)):
            done = qtune("train", *options, "--force", "--dry-run", *more, directory=root)
            assert (done.code, "<redacted>" in done.out) == ((0, True) if key == "namespace" else (2, False))
            assert TOKEN not in done.out + done.err and PASSWORD not in done.out + done.err


def test_what_is_wrong_is_said_and_ends_it(qtune: Qtune, root: Path) -> None:
    done = qtune("train", "lora", "-s", "lora_rank=x", "--dry-run", "--json", directory=root)
    assert done.code == 2
    assert [finding["key"] for finding in json.loads(done.out)["findings"]] == ["lora_rank"]
    assert qtune("train", "lora", "-s", "lora_rank=x", "--dry-run", directory=root).code == 2
    assert "goes with --dry-run" in qtune("train", "lora", "--json", directory=root).err
