"""What is printed fits the terminal, whatever its width, and has colours only where they are wanted."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import Result

from qtune.cli.table import print_table
from qtune.cli.terminal import colours, width_of, wrapped

CHINESE = "我们自己的预设：全参数微调，学习率更低，适合客服问答数据"
NAME = "客服问答二〇二四年全部对话记录"
PROJECT = {
    "presets/ours.yaml": f"about: {CHINESE}\nwhen: 数据超过十万条\nfits: 24 GB\nextends: lora\n",
    "data/datasets.yaml": f"rows: {{file_name: rows.jsonl}}\n{NAME}: {{file_name: rows.jsonl}}\n"
    "gone: {file_name: gone.jsonl}\n",
}
COMMANDS = [
    ("presets",),
    ("estimate", "qlora", "--hardware", "1x24GB"),
    ("estimate", "--all", "--hardware", "1x24GB"),
    ("recommend", "--hardware", "1x24GB"),
    ("runs",),
    ("data", "list"),
    ("data", "check"),
    ("data", "stats", "rows"),
    ("check", "lora", "--hardware", "1x24GB"),
    ("doctor", "stage3", "--hardware", "1x24GB"),
]


@pytest.fixture
def on_terminal(qtune: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line as on a terminal of so many columns, without colours."""

    def run(columns: int, *arguments: str, directory: Path) -> Result:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True, raising=False)
        return qtune(*arguments, directory=directory)

    return run


@pytest.mark.parametrize("columns", [80, 60, 40])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_line_fits(
    on_terminal: Callable[..., Result],
    project: Callable[..., Path],
    command: tuple[str, ...],
    columns: int,
) -> None:
    """But for what is one word, or is to be typed as it stands."""
    printed = on_terminal(columns, *command, directory=project(PROJECT))
    lines = (printed.out + printed.err).splitlines()
    long = [line for line in lines if width_of(line) > columns and not line.startswith("qtune ")]
    assert [line for line in long if len(line.split("`")[0].split()) > 1] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_names_are_whole_and_groups_are_headings(
    on_terminal: Callable[..., Result], project: Callable[..., Path]
) -> None:
    root = project(PROJECT)
    lines = on_terminal(40, "presets", directory=root).out.splitlines()
    assert {"everyday:", "style:", "without a group:"} <= {*lines}
    assert {line.split()[0] for line in lines if line} >= {"stage2_offload", "zero3_qlora", "ours"}
    listed = on_terminal(40, "data", "list", directory=root).out.splitlines()
    assert NAME in {line.split()[0] for line in listed}


@pytest.mark.parametrize(
    ("command", "first"),
    [("presets", "cutoff_len"), ("data list", "formatting"), ("estimate --all", "trained")],
)
def test_what_leaves_is_said_and_comes_back_with_wide(
    qtune: Callable[..., Result],
    project: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    first: str,
) -> None:
    """Piped output honours COLUMNS too; without it no column leaves."""
    root = project(PROJECT)
    whole = qtune(*command.split(), directory=root)
    monkeypatch.setenv("COLUMNS", "40")
    narrow, wide = qtune(*command.split(), directory=root), qtune(*command.split(), "--wide", directory=root)
    assert first in whole.out and first not in narrow.out
    assert f"left out for want of room: {first}" in narrow.err and "for want of room" not in wide.err
    assert wide.out == whole.out
    assert qtune("presets", "--json", directory=root).out == qtune("presets", "--json", directory=root).out


def test_what_programs_read_does_not_depend_on_the_width(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(PROJECT)
    commands = [("presets", "--json"), ("presets", "--markdown"), ("data", "list", "--json")]
    whole = [qtune(*command, directory=root).out for command in commands]
    monkeypatch.setenv("COLUMNS", "40")
    assert [qtune(*command, directory=root).out for command in commands] == whole
    refused = qtune("show", "lora", "no_such_argument_of_any_library", directory=root).err
    assert all(line.startswith(("error: ", "  fix: ")) for line in refused.splitlines())


def test_a_finding_is_broken_between_words_with_its_fix_below(
    on_terminal: Callable[..., Result], project: Callable[..., Path]
) -> None:
    lines = on_terminal(50, "data", "list", directory=project(PROJECT)).err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("error: "))
    *_, fix = [index for index, line in enumerate(lines) if line.startswith("  fix: ")]
    assert fix > first + 1
    assert all(line.startswith("       ") for line in lines[first + 1 : fix])


def test_a_table_of_wide_signs_stays_in_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    print_table(["name", "what", "size"], [["a", CHINESE, "1"], ["b", "short", "2"]], prose=["what"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(width_of, lines)) <= 30
    assert [width_of(line[: line.rindex(sign)]) for line, sign in ((lines[2], "1"), (lines[-1], "2"))] == [
        26,
        26,
    ]
    told = "".join(line[3:].replace("1", "").strip() for line in lines[2:-1])
    assert told == CHINESE


def test_what_is_to_be_typed_stays_on_a_line() -> None:
    told = ["see", "`qtune data check answers`", "for more"]
    assert list(wrapped(" ".join(told), 20)) == told


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, None),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, None),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True),
        ({"CLICOLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
    ids=str,
)
def test_the_environment_says_whether_there_are_colours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool | None
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert colours() is wanted


def test_all_output_obeys(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(PROJECT)
    commands = [("presets",), ("data", "list"), ("render", "nope"), ("render", "--nope"), ("data", "check")]
    monkeypatch.setenv("FORCE_COLOR", "1")
    forced = [qtune(*command, directory=root) for command in commands]
    assert all("\x1b[" in result.out + result.err for result in forced[:4])
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True, raising=False)
    assert not any(
        "\x1b[" in result.out + result.err for result in (qtune(*c, directory=root) for c in commands)
    )


def test_a_real_terminal_has_colours_and_its_own_width(project: Callable[..., Path]) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 44, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(project())}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    command = [sys.executable, "-m", "qtune", "presets"]
    with subprocess.Popen(command, cwd=project(), env=environment, stdout=theirs, stderr=theirs):
        os.close(theirs)
        printed = b""
        while b"next:" not in printed and (chunk := os.read(ours, 1 << 16)):
            printed += chunk
    os.close(ours)
    assert b"\x1b[1meveryday:\x1b[0m" in printed
    assert max(len(line) for line in printed.decode().splitlines() if "─" in line) <= 44


USAGE = [
    ("render", "PRESET is missing"),
    ("render lora --bogus", "there is no option `--bogus`"),
    ("show lora --origi", "did you mean `--origin`?"),
    ("nope", "there is no command `nope`"),
    ("data lst", "did you mean `list`?"),
    ("runs extra", "unexpected extra argument"),
    ("train --on-oom x", "--on-oom: "),
    ("eval --checkpoint 0", "--checkpoint: "),
    ("render lora -m", "-m: needs a value"),
    ("runs --json=3", "--json: takes no value"),
]


@pytest.mark.parametrize(("line", "says"), USAGE, ids=[line for line, _ in USAGE])
def test_a_wrong_command_line_reads_like_every_error(
    qtune: Callable[..., Result], tmp_path: Path, line: str, says: str
) -> None:
    result = qtune(*line.split(), directory=tmp_path)
    assert result.code == 2 and result.out == "" and says in result.err
    first, fix = result.err.splitlines()
    assert first.startswith("error: ") and fix.startswith("  fix: ") and "-h` " in fix


def test_no_command_at_all_is_the_help(qtune: Callable[..., Result], tmp_path: Path) -> None:
    result = qtune(directory=tmp_path)
    assert result.code == 2 and result.err.startswith("Usage: qtune ") and "recommend" in result.err
