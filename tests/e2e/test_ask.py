"""`ask` and `chat`: a model that knows the demo set's first rows gives their answers."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from scratch import QTUNE, Project, environment

GREEDY = ("-s", "do_sample=false")


def rows(project: Project) -> list[dict[str, str]]:
    text = (project.root / "data" / "demo.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()[:4]]


def test_a_training_prompt_gets_its_answer_alone_on_stdout(knowing: Project) -> None:
    row = rows(knowing)[1]
    assert knowing.qtune("ask", "knows", row["instruction"], *GREEDY).stdout == row["output"] + "\n"


def test_a_prompt_from_stdin_in_json_from_a_checkpoint(knowing: Project) -> None:
    row = rows(knowing)[2]
    done = subprocess.run(
        [str(QTUNE), "ask", "runs/knows", "-", "--json", "--checkpoint", "80", *GREEDY],
        cwd=knowing.root,
        env=environment(),
        input=row["instruction"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["text"] == row["output"]
    assert (answer["run"], answer["checkpoint"], answer["finish_reason"]) == ("knows", 80, "stop")
    assert answer["completion_tokens"] > 10


def test_base_and_tuned_side_by_side(knowing: Project) -> None:
    row = rows(knowing)[0]
    done = knowing.qtune(
        "ask", "knows", row["instruction"], "--compare", "--json", *GREEDY, "-s", "max_new_tokens=60"
    )
    base, tuned = json.loads(done.stdout)
    assert base["base"] and not tuned["base"]
    assert tuned["text"] == row["output"] != base["text"]
    assert base["finish_reason"] == "length" and "cut off at max_new_tokens" in done.stderr


def test_an_adapter_answers_on_the_quantised_base_it_was_trained_on(project: Project) -> None:
    project.qtune("train", "qlora", "-n", "q", "-s", "max_samples=8", "-s", "num_train_epochs=1")
    done = project.qtune("ask", "q", "hello", "--json", "-s", "max_new_tokens=3")
    assert json.loads(done.stdout)["completion_tokens"] == 3


def test_what_the_library_fails_on_is_a_failed_child(knowing: Project) -> None:
    done = knowing.qtune("ask", "knows", "hello", "-s", "temperature=-1.0", exit_code=1)
    assert done.stdout == ""
    assert "LLaMA-Factory fails on this: ValueError: `temperature`" in done.stderr


def test_chat_answers_a_script_until_its_input_ends(knowing: Project) -> None:
    row = rows(knowing)[1]
    done = subprocess.run(
        [str(QTUNE), "chat", "knows", *GREEDY],
        cwd=knowing.root,
        env=environment(),
        input=f"{row['instruction']}\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert row["output"] in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("typed", "code"), [(b"exit\n", 0), (b"\x04", 0), (b"\x03", 130)])
def test_chat_at_a_terminal_ends_as_it_is_told(knowing: Project, typed: bytes, code: int) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(knowing.root)
        os.execve(QTUNE, ["qtune", "chat", "knows"], environment())
    shown = b""
    deadline = time.monotonic() + 120
    while b"User: " not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096)
    try:
        while time.monotonic() < deadline + 60:
            os.write(terminal, typed)
            # typed again, since CPython misses a Ctrl-C between its prompt and its wait (Modules/readline.c)
            while select.select([terminal], [], [], 5)[0]:
                shown += os.read(terminal, 4096)
    except OSError:  # the terminal's other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, shown
    assert b"Traceback" not in shown


def test_a_terminated_chat_leaves_no_process(knowing: Project) -> None:
    child = subprocess.Popen(
        [str(QTUNE), "chat", "knows"],
        cwd=knowing.root,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    assert child.stdout.read(7) == b"Welcome"
    grandchildren = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    assert len(grandchildren) == 1
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 130
    assert not Path(f"/proc/{grandchildren[0]}").exists()
    child.stdout.close()
    child.stdin.close()
