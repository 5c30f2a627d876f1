"""Plans, the child process and its end, what its last words mean, and the record.

A small real program stands in for llamafactory-cli; e2e runs the real one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from trees import files_below

from qtune import failures
from qtune.config.project import find_project
from qtune.launch.operations import missing_operations
from qtune.launch.plan import plan_launch, with_argument
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs.record import Run, claim
from qtune.training import attempts
from qtune.values import LaunchPlan, Layer, Origin, Value

ORIGIN = Origin("test")
DEADLINE = 20.0


def plan_for(preset: str, hardware: str, processes: int | None = None) -> LaunchPlan:
    layers = []
    if processes:
        layers.append(Layer("test", {("launch", "nproc_per_node"): Value(processes, ORIGIN)}))
    machine = parse_hardware(hardware)
    config = pipeline.resolve(preset, find_project(Path("/")), machine, layers)
    return plan_launch(config, machine, f"rendered/{preset}/train.yaml")


@pytest.mark.parametrize(
    ("preset", "hardware", "torchrun", "processes"),
    [
        ("lora", "cpu", False, "1"),
        ("lora", "1x24GB", False, "1"),
        ("lora", "8x80GB", True, "8"),
        ("stage3", "cpu", True, "1"),
        ("stage3", "1x24GB", True, "1"),
        ("deepspeed", "8x80GB", True, "8"),
    ],
)
def test_torchrun_and_processes_follow_the_config(
    preset: str, hardware: str, torchrun: bool, processes: str
) -> None:
    plan = plan_for(preset, hardware)
    assert plan.argv == ("llamafactory-cli", "train", f"rendered/{preset}/train.yaml")
    assert (plan.environment.get("FORCE_TORCHRUN") == "1", plan.environment["NPROC_PER_NODE"]) == (
        torchrun,
        processes,
    )
    assert ("CUDA_VISIBLE_DEVICES" in plan.environment) == (hardware == "cpu")


def test_a_run_writes_to_its_own_directory() -> None:
    assert with_argument(plan_for("lora", "cpu"), "output_dir", "runs/x").argv[-1] == "output_dir=runs/x"


@pytest.mark.parametrize(
    ("preset", "hardware", "built", "missing"),
    [
        ("lora", "cpu", [], 0),
        ("stage3", "cpu", [], 1),
        ("stage3", "cpu", ["deepspeed_shm_comm"], 0),
        ("stage3", "1x24GB", ["deepspeed_shm_comm"], 1),
        ("stage3", "1x24GB", ["cpu_adam"], 0),
        ("deepspeed", "1x24GB", [], 0),
    ],
)
def test_what_deepspeed_has_to_compile_is_said_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
    hardware: str,
    built: list[str],
    missing: int,
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    for name in built:
        (tmp_path / "py311_cpu" / name).mkdir(parents=True)
        (tmp_path / "py311_cpu" / name / f"{name}.so").touch()
    machine = parse_hardware(hardware)
    config = pipeline.resolve(preset, find_project(Path("/")), machine)
    assert len(missing_operations(config, machine)) == missing


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a Python program in the place of llamafactory-cli."""

    def put(body: str) -> None:
        path = tmp_path / "bin" / "llamafactory-cli"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        monkeypatch.setattr(process, "find_program", lambda name: path)

    return put


def run(tmp_path: Path, show: Callable[[bytes], None] = lambda output: None) -> process.Outcome:
    plan = LaunchPlan(("llamafactory-cli", "train", "a b", "$HOME; echo"), {"ADDED": "1"})
    return process.run(plan, tmp_path, tmp_path / "train.log", show)


def left_in(directory: Path) -> list[psutil.Process]:
    """Processes that carry a run's mark and work in `directory`."""
    found = []
    for candidate in psutil.process_iter():
        try:
            if "QTUNE_PROCESS" in candidate.environ() and candidate.cwd() == str(directory):
                found.append(candidate)
        except psutil.Error:
            continue
    return found


def test_output_is_shown_and_kept_and_words_arrive_unsplit(
    tmp_path: Path, stand_in: Callable[[str], None]
) -> None:
    stand_in(
        """
        import os, sys
        print(sys.argv[1:], os.environ["ADDED"], os.getcwd())
        print("to stderr", file=sys.stderr)
        sys.exit(3)
        """
    )
    shown: list[bytes] = []
    assert run(tmp_path, shown.append) == process.Outcome(3)
    text = b"".join(shown).decode()
    assert text == (tmp_path / "train.log").read_text()
    assert "['train', 'a b', '$HOME; echo'] 1" in text and str(tmp_path) in text and "to stderr" in text


def test_a_second_child_adds_to_the_log_and_shows_its_own_output_alone(
    tmp_path: Path, stand_in: Callable[[str], None]
) -> None:
    shown: list[bytes] = []
    for word in ("first", "second"):
        stand_in(f"print({word!r})")
        run(tmp_path, shown.append)
    assert b"".join(shown) == b"first\nsecond\n" == (tmp_path / "train.log").read_bytes()


def test_a_killed_child_has_its_signals_number(tmp_path: Path, stand_in: Callable[[str], None]) -> None:
    stand_in("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert run(tmp_path).exit_code == -signal.SIGKILL


FAMILY = """
import os, subprocess, sys, time
program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
program += "print('up', flush=True); time.sleep(600)"
for session in (False, True):
    subprocess.Popen([sys.executable, "-c", program], start_new_session=session)
{then}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_child_and_workers_in_sessions_of_their_own(
    tmp_path: Path, stand_in: Callable[[str], None], hurried: None, number: signal.Signals
) -> None:
    stand_in(FAMILY.format(then="time.sleep(600)"))
    shown = bytearray()

    def show(output: bytes) -> None:
        shown.extend(output)
        if shown.count(b"up") == 2:
            os.kill(os.getpid(), number)

    assert run(tmp_path, show).interrupted == number
    assert left_in(tmp_path) == []


def test_a_worker_that_outlives_its_launcher_is_ended(
    tmp_path: Path, stand_in: Callable[[str], None], hurried: None
) -> None:
    stand_in(FAMILY.format(then="sys.exit(1)"))
    assert run(tmp_path) == process.Outcome(1)
    assert left_in(tmp_path) == []


def test_an_ignored_interrupt_of_a_background_script_is_heard(
    tmp_path: Path, stand_in: Callable[[str], None]
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stand_in("import time; print('up', flush=True); time.sleep(600)")
        assert run(tmp_path, lambda output: os.kill(os.getpid(), signal.SIGINT)).interrupted == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="not installed") as raised:
        process.find_program("no-such-program")
    assert "qtune[train]" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("ValueError: bad\n", 1, "ValueError: bad"),
        (
            "[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried\n",
            1,
            "torch.OutOfMemoryError: CUDA out of memory. Tried",
        ),
        (
            "KeyError: 'input'\nTraceback\ntorch.distributed.elastic.errors.ChildFailedError: \n"
            "subprocess.CalledProcessError: Command '['torchrun']' returned non-zero exit status 1.\n",
            1,
            "KeyError: 'input'",
        ),
        (
            " 10%|#| 1/9\r 20%|##| 2/9\rValueError: after a progress bar\n",
            1,
            "ValueError: after a progress bar",
        ),
        ("\x1b[31mRuntimeError: red\x1b[0m\n", 1, "RuntimeError: red"),
        ("AssertionError\n", 1, "AssertionError"),
        (
            "pyarrow.lib.ArrowInvalid: JSON parse error: in row 49\n"
            "datasets.exceptions.DatasetGenerationError: An error occurred while generating the dataset\n",
            1,
            "pyarrow.lib.ArrowInvalid: JSON parse error: in row 49",
        ),
        (
            "[node 1] [rank1]: ValueError: bad\nnode 1 (10.0.0.2) ended with exit code 1; ending the others\n"
            "[node 0] torch.distributed.elastic.multiprocessing.api.SignalException: got signal: 15\n",
            1,
            "ValueError: bad",
        ),
        (
            "0: [rank0]: ValueError: bad\nsrun: error: n0: task 0: Exited with exit code 1\n",
            1,
            "ValueError: bad",
        ),
        ("all fine\n", 7, "exit code 7"),
        ("", -9, "ended by SIGKILL"),
        ("", -11, "ended by SIGSEGV"),
    ],
)
def test_the_reason_is_the_last_error_that_is_no_launchers(
    tmp_path: Path, text: str, code: int, reason: str
) -> None:
    log = tmp_path / "train.log"
    log.write_text(text)
    assert failures.reason_of(log, code).words == reason


def test_a_name_in_use_gets_the_next_free_suffix(tmp_path: Path) -> None:
    assert [claim(tmp_path / "runs", "x").name for _ in range(3)] == ["x", "x-2", "x-3"]


def test_two_claims_at_once_never_share_a_directory(tmp_path: Path) -> None:
    claimed: list[Path] = []
    threads = [threading.Thread(target=lambda: claimed.append(claim(tmp_path, "x"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(claimed)) == 16


def train(root: Path) -> Run:
    prepared = pipeline.prepare("lora", find_project(root), Hardware())
    pipeline.write(prepared)
    return attempts.carry_out(*attempts.claim(prepared), attempts.Observer())


def test_the_record_is_there_before_the_child_and_tells_how_it_ended(
    project: Callable[..., Path], stand_in: Callable[[str], None]
) -> None:
    stand_in(
        """
        import json, pathlib, sys
        directory = pathlib.Path(sys.argv[-1].partition("=")[2])
        assert json.loads((directory / "qtune.json").read_text())["status"] == "running"
        (directory / "all_results.json").write_text('{"train_loss": 1.5}')
        (directory / "trainer_state.json").write_text('{"global_step": 6, "max_steps": 6}')
        (directory / "trainer_log.jsonl").write_text('{"loss": 1.5}')
        """
    )
    root = project()
    record = train(root).record
    assert json.loads((root / "runs" / "lora" / "qtune.json").read_text()) == record
    assert (record["status"], record["exit_code"], record["global_step"]) == ("finished", 0, 6)
    assert record["metrics"] == {"train_loss": 1.5}
    assert record["predicted_steps"] == 6
    [attempt] = record["attempts"]
    assert attempt["command"][-1] == "output_dir=runs/lora"
    assert (attempt["status"], attempt["exit_code"], attempt["global_step"]) == ("finished", 0, 6)
    assert {layer["name"] for layer in record["layers"]} >= {"base", "lora", "project"}
    assert train(root).directory.name == "lora-2"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('bad')", "ValueError: bad"),
        (
            "import sys, pathlib\n"
            "path = pathlib.Path(sys.argv[-1].partition('=')[2]) / 'trainer_log.jsonl'\n"
            'path.write_text(\'{"loss": 0.0}\\n{"loss": 0.0}\')',
            "every logged loss is exactly 0: the model trains on nothing",
        ),
    ],
)
def test_failures_are_recorded(
    project: Callable[..., Path], stand_in: Callable[[str], None], body: str, reason: str
) -> None:
    stand_in(body)
    record = train(project()).record
    assert (record["status"], record["reason"]) == ("failed", reason)


def test_without_the_library_nothing_is_written(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project()
    prepared = pipeline.prepare("lora", find_project(root), Hardware())
    before = files_below(root)
    monkeypatch.setattr(process.sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="not installed"):
        attempts.claim(prepared)
    assert files_below(root) == before


def test_a_script_for_ray_of_an_older_build_says_to_render_again(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-P",
        "-m",
        "qtune.library.ray_nodes",
        "--nnodes",
        "2",
        "llamafactory-cli",
        "train",
    ]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "this was rendered by an older qtune: `qtune render PRESET` again, or `qtune train`\n"
    )
