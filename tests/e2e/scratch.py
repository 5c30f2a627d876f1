"""A project in a temporary directory, the real `qtune` command in it, and what its trainings left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
QTUNE = BIN / "qtune"

# 17 batches of three, 25 of two, 13 of four: no effective batch divides it, so the last step of an epoch is
# a partial one in every preset.
ROWS = 50
EPOCHS = 2
SHORT = ("-s", f"max_samples={ROWS}", "-s", f"num_train_epochs={EPOCHS}")

# 80 steps on four rows: a model this small then answers them to the letter.
UNTIL_KNOWN = tuple(
    word
    for setting in (
        "max_samples=4",
        "per_device_train_batch_size=4",
        "gradient_accumulation_steps=1",
        "num_train_epochs=80",
        "learning_rate=2e-2",
        "warmup_steps=0",
        "lr_scheduler_type=constant_with_warmup",
        "eval_dataset=null",
        "save_steps=40",
    )
    for word in ("-s", setting)
)

MOST_SECONDS = 1200  # what hangs fails by its name, where the whole suite would have no end

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def environment(**more: str) -> dict[str, str]:
    """The environment of every child: no hub, one thread (two tests share two cores), no launcher's words."""
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORCE_TORCHRUN", "NNODES")
    kept = {name: value for name, value in os.environ.items() if name not in launcher}
    # what DeepSpeed compiles, for minutes, is kept for every test; by default it goes below XDG_CACHE_HOME
    compiled = {"TORCH_EXTENSIONS_DIR": str(Path.home() / ".cache" / "torch_extensions")}
    return {**compiled, **kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}


def run_script(script: str, *arguments: str) -> None:
    """Run a script of this directory, which imports the library once and may import what the tests share."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here)])
    done = subprocess.run(
        [sys.executable, str(here / script), *arguments],
        env=environment(PYTHONPATH=path, LLAMAFACTORY_VERBOSITY="ERROR"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr[-8000:]


def answer_alone(directory: Path, prompt: str) -> str:
    """The answer of a process that knows of nothing but transformers, in a directory with nothing else."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("answer_alone.py")), str(directory), prompt],
        cwd=directory,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


class RunDirectory:
    """What a training wrote, read as often as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    @property
    def record(self) -> dict[str, Any]:
        return self.json("qtune.json")

    @property
    def state(self) -> dict[str, Any]:
        return self.json("trainer_state.json")

    @property
    def log(self) -> str:
        """The child's output, without colours and with each state of a progress bar on its own line."""
        text = (self.path / "train.log").read_text(encoding="utf-8", errors="replace")
        return _ANSI.sub("", text).replace("\r", "\n")

    @property
    def progress(self) -> list[dict[str, Any]]:
        """The complete lines of trainer_log.jsonl."""
        path = self.path / "trainer_log.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def losses(self) -> list[float]:
        return [line["loss"] for line in self.progress if "loss" in line]

    @property
    def evaluations(self) -> list[float]:
        return [line["eval_loss"] for line in self.progress if "eval_loss" in line]


class Project:
    """A copy of the checkout's own project: the embedded tiny model and the demo data."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def qtune(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the real command here to its end."""
        return self.command(str(QTUNE), *arguments, exit_code=exit_code)

    def command(
        self, *argv: str, exit_code: int = 0, **environment_too: str
    ) -> subprocess.CompletedProcess[str]:
        """Run any command here to its end, which has to be `exit_code`."""
        result = subprocess.run(
            argv,
            cwd=self.root,
            env=environment(**environment_too),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MOST_SECONDS / 2,
        )
        assert result.returncode == exit_code, f"{argv}\n{result.stdout}\n{result.stderr[-8000:]}"
        return result

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the real command here; what it says goes to the file `output`."""
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [str(QTUNE), *arguments],
                cwd=self.root,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> Path:
        return self.root / "output.txt"

    def run(self, name: str) -> RunDirectory:
        return RunDirectory(self.root / "runs" / name)

    def rendered(self, preset: str, name: str) -> Path:
        return self.root / "rendered" / preset / name
