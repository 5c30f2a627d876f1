"""The shapes of any model that is named here: where no family tells them, as the installed library builds it.

A child process builds the model without weights; its answers lie in the user's cache: small JSON files that
may vanish, be damaged, or not be writable at any time, which costs nothing but another wait.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtune import __version__
from qtune.errors import QtuneError
from qtune.files import read_object, write_atomic
from qtune.predict.models import find
from qtune.predict.models.find import Built
from qtune.predict.models.shapes import Model, Module
from qtune.processes import child, process
from qtune.resources import cache_directory

SECONDS = 120.0  # imports from a cold network disk; 4 s from a warm one, and 1 s to build


def load_named(train: Mapping[str, Any], root: Path) -> Model:
    """The model that LLaMA-Factory's arguments name; raises QtuneError where nothing tells its shapes."""
    return find.load_named(train, root, build)


def build(content: Mapping[str, Any]) -> Built | None:
    """What transformers makes of config.json's content; None where LLaMA-Factory is not installed.

    Raises QtuneError where it cannot be built, KeyboardInterrupt where qtune is told to end.
    """
    try:
        python = process.find_python()
    except QtuneError:
        return None
    known = _path(content, python)
    with suppress(KeyError, TypeError, ValueError):
        return read(read_object(known))
    answer = _ask(content, python)
    if "error" in answer:
        fix = "correct the model's config.json, or download the whole model in safetensors format"
        raise QtuneError(f"transformers cannot build it: {answer['error']}", fix=fix)
    with suppress(OSError):
        write_atomic(known, json.dumps(answer))
    return read(answer)


def _ask(content: Mapping[str, Any], python: Path) -> dict[str, Any]:
    print(f"waiting for transformers, which tells how a {content['model_type']} is built", file=sys.stderr)
    answers: list[dict[str, Any]] = []
    outcome = child.converse(
        child.script("model_modules.py", python),
        content,
        lambda tag, value: answers.append(value),
        show=lambda output: None,
        variables={"HF_HUB_OFFLINE": "1"},
        seconds=SECONDS,
    )
    if outcome.interrupted is not None:
        raise KeyboardInterrupt
    ended = outcome.reason or f"its process ended with exit code {outcome.exit_code}"
    return answers[0] if answers else {"error": ended}


def read(answer: Mapping[str, Any]) -> Built:
    """The model that an answer of children/model_modules.py describes."""
    modules = tuple(
        Module(name, kind, tuple((part, tuple(shape)) for part, shape in weights), *rest)
        for name, kind, weights, *rest in answer["modules"]
    )
    return Built(modules, answer["numbers"])


def _path(content: Mapping[str, Any], python: Path) -> Path:
    """The file of an answer, named by the config, and by this qtune and the transformers of that Python."""
    packages = python.parent.parent.glob("lib/python3*/site-packages/transformers-*.dist-info")
    key = [__version__, content, str(python), sorted(package.name for package in packages)]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_directory() / "models" / f"{name}.json"
