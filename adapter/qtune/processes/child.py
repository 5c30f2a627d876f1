"""The scripts of qtune's that run in LLaMA-Factory's Python, and the environment that they run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import qtune
from qtune.processes import process

_SCRIPTS = Path(qtune.__file__).parent / "children"


def script(name: str) -> list[Path]:
    """The words that run a script of qtune's in the Python of LLaMA-Factory.

    Raises QtuneError where that is not installed.
    """
    return [process.find_python(), _SCRIPTS / name]


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
