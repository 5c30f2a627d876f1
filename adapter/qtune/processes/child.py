"""The scripts of qtune's that run in LLaMA-Factory's Python: what they are asked, and how they fail."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qtune
from qtune import failures
from qtune.errors import ChildFailed
from qtune.failures.words import lines_of
from qtune.processes import process
from qtune.processes.process import Outcome
from qtune.values import LaunchPlan

_SCRIPTS = Path(qtune.__file__).parent / "children"
_KEPT_BYTES = 1 << 16  # of what a script printed, in which its failure is looked for


def script(name: str, python: Path | None = None) -> list[Path]:
    """The words that run a script of qtune's, in the Python of LLaMA-Factory where none is given.

    Raises QtuneError where that is not installed.
    """
    return [python or process.find_python(), _SCRIPTS / name]


def environment() -> dict[str, str]:
    """A child's: this one's, in which the library tells what goes wrong and not all that goes well."""
    beside = str(Path(sys.executable).parent)
    return {
        "LLAMAFACTORY_VERBOSITY": "WARN",
        **os.environ,
        # an engine finds its compilers' tools by name
        "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def ask(
    argv: list[Path],
    request: Any,
    what: str,
    *,
    hear: Callable[[Any], None] = lambda part: None,
    show: Callable[[bytes], None] = lambda output: None,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Any:
    """What a script answers to a request, in its protocol (see children/protocol.py).

    argv: from `script`; what: has failed, in words, where it does; hear: called with each part of the answer
    before; show: with what libraries print; directory: where it runs, if not here; variables: more of them.
    Raises ChildFailed where it fails, KeyboardInterrupt where qtune is told to end.
    """
    answers: list[Any] = []
    said = bytearray()

    def keep(output: bytes) -> None:
        said.extend(output)
        del said[:-_KEPT_BYTES]
        show(output)

    def listen(tag: str, value: Any) -> None:
        answers.append(value) if tag == "done" else hear(value)

    outcome = converse(argv, request, listen, show=keep, directory=directory, variables=variables)
    if not answers or outcome.interrupted is not None:
        raise _failure(outcome, lambda code: failures.told(what, lines_of(bytes(said)), code))
    return answers[0]


def converse(
    argv: list[Path],
    request: Any,
    listen: Callable[[str, Any], None],
    *,
    show: Callable[[bytes], None],
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Ask a script, and `listen` to each line of its answer, a tag and a value; how it ended."""
    rest = b""

    def read(output: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + output).split(b"\n")
        for line in lines:
            [(tag, value)] = json.loads(line).items()
            listen(tag, value)

    given = json.dumps(request).encode() + b"\n"
    around = {**environment(), **(variables or {})}
    return process.converse(argv, around, given, read, show, directory=directory, seconds=seconds)


def run(
    plan: LaunchPlan, directory: Path, log: Path, show: Callable[[bytes], None], told: Callable[[int], str]
) -> None:
    """Run another program as `process.run` does; told: says of an exit code why it failed.

    Raises ChildFailed with that, KeyboardInterrupt where qtune is told to end.
    """
    outcome = process.run(plan, directory, log, show)
    if outcome.exit_code != 0 or outcome.interrupted is not None:
        raise _failure(outcome, told)


def _failure(outcome: Outcome, told: Callable[[int], str]) -> BaseException:
    if outcome.interrupted is not None:
        return KeyboardInterrupt(signal.Signals(outcome.interrupted).name)
    return ChildFailed(told(outcome.exit_code))
