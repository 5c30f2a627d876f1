"""The protocol of the scripts that run in LLaMA-Factory's Python: asked, heard, ended, and how they fail."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from trees import REPOSITORY, write_tree

from qtune.errors import ChildFailed
from qtune.processes import child

PROTOCOL = REPOSITORY / "adapter" / "qtune" / "children" / "protocol.py"
SCRIPT = """
import os, subprocess, sys, time
from protocol import serve

def answer(request, tell):
    {}

serve(answer)
"""
Put = Callable[[str], list[Path]]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """The words that run a script which answers by the given body of a function."""

    def put(body: str) -> list[Path]:
        scripts = write_tree(tmp_path / "scripts", {"script.py": SCRIPT.format(body)})
        shutil.copy(PROTOCOL, scripts)
        return [Path(sys.executable), scripts / "script.py"]

    return put


def test_an_answer_comes_after_its_parts_and_apart_from_what_is_printed(put: Put) -> None:
    script = put("tell(1); print('word', flush=True); os.system('echo more'); tell([2]); return [request]")
    parts: list[object] = []
    printed = bytearray()
    request = {"long": "ä" * 100_000}
    assert child.ask(script, request, "it", hear=parts.append, show=printed.extend) == [request]
    assert parts == [1, [2]]
    assert printed == b"word\nmore\n"


def test_one_load_answers_many_requests(put: Put) -> None:
    script = put("tell(request); return request * 2")
    asked = subprocess.run(script, input=b"1\n2\n", capture_output=True, check=True)
    lines = [json.loads(line) for line in asked.stdout.splitlines()]
    assert lines == [{"part": 1}, {"done": 2}, {"part": 2}, {"done": 4}]


def test_a_script_that_has_answered_before_its_reader_is_watched_ends_by_itself(put: Put) -> None:
    script = put("return request")
    late = "import select\npoll = select.poll\nselect.poll = lambda: (time.sleep(0.2), poll())[1]\n"
    script[1].write_text(late.join(["import time\n", script[1].read_text()]) + "time.sleep(0.4)\n")
    assert subprocess.run(script, input=b"1\n", capture_output=True).returncode == 0


def test_a_script_that_fails_says_why(put: Put) -> None:
    script = put("raise ValueError('no such template')")
    with pytest.raises(ChildFailed) as failed:
        child.ask(script, None, "the thing failed")
    first, *lines = str(failed.value).splitlines()
    assert first == "the thing failed: ValueError: no such template"
    assert "  | ValueError: no such template" in lines
    with pytest.raises(ChildFailed, match="the thing failed: exit code 3"):
        child.ask(put("os._exit(3)"), None, "the thing failed")


def test_ctrl_c_ends_it_and_what_it_started(put: Put) -> None:
    script = put("tell(subprocess.Popen(['sleep', '60'], start_new_session=True).pid); time.sleep(60)")
    started: list[int] = []

    def interrupt(part: int) -> None:
        started.append(part)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="SIGINT"):
        child.ask(script, None, "it", hear=interrupt)
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(started[0])
        assert left.status() == psutil.STATUS_ZOMBIE or left.wait(5) is None


def test_a_script_whose_asker_is_gone_ends(put: Put) -> None:
    script = put("tell('here'); time.sleep(60)")
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as started:
        assert started.stdin is not None and started.stdout is not None
        started.stdin.write(b"null\n")
        assert started.stdout.readline() == b'{"part": "here"}\n'
        started.stdout.close()
        assert started.wait(10) == -signal.SIGTERM


def test_a_library_that_asks_gets_no_answer(put: Put) -> None:
    assert child.ask(put("return sys.stdin.read()"), None, "it") == ""
