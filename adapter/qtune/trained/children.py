"""What the children share that use a trained model: script, environment, and what each may be asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import qtune
from qtune.errors import QtuneError
from qtune.launch import process
from qtune.trained.runs import Trained
from qtune.values import Config

_SCRIPTS = Path(qtune.__file__).parent / "library"


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


def require_speech(trained: Trained) -> None:
    """Raises QtuneError for a model that judges texts and writes none."""
    if trained.stage == "rm" and trained.weights is not None:
        raise QtuneError(
            "is a reward model, which gives scores and no answers",
            where=trained.name,
            fix=f"`qtune api {trained.name}` serves scores at /v1/score/evaluation",
        )


def require_streaming(config: Config) -> None:
    """Raises QtuneError for a generation whose words come all at once, at its end.

    LLaMA-Factory would wait for the first of them for ever.
    """
    if config.get("train", "num_beams", default=1) > 1:
        raise QtuneError(
            "a beam search has no words to show until it is over, and these commands show them as they come",
            where=f"{config.origin('train', 'num_beams')} num_beams",
            fix="add `-s num_beams=1`; `qtune ask` takes it",
        )
