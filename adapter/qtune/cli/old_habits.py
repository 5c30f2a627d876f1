"""Command lines of before, such as `run_train.sh -t PRESET -c FILE`, as the qtune commands that do it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from qtune.config.names import is_name

_SCRIPT = re.compile(r"(?:.*/)?(?:run_)?(?:train|finetune)\w*\.sh")
_TYPE = ("-t", "--type", "--train_type", "--train-type")
_CONFIG = ("-c", "--config", "--config_file")
# The commands that a preset goes to: of others, -t and -c are mere slips.
_COMMANDS = ("train", "render", "check", "show", "dry-run")


def in_qtunes_words(words: Sequence[str]) -> str | None:
    """The commands, for `qtune WORDS`; None where nothing of it is such a habit."""
    options = {name: value for name, value in _options(words) if name in (*_TYPE, *_CONFIG)}
    first = words[0] if words else ""
    script = next((word for word in words[:2] if _SCRIPT.fullmatch(word)), None)
    if script is None and (not options or not (first.startswith("-") or first in _COMMANDS)):
        return None
    preset = next((options[name] for name in _TYPE if name in options), "")
    file = next((options[name] for name in _CONFIG if name in options), "")
    command = first if first in _COMMANDS else "train"
    if not file:
        return f"`qtune {command} {shlex.quote(preset) if preset else 'PRESET'}` does it"
    stem = PurePath(file).stem
    name = stem if is_name(stem) else "NAME"
    extends = f", write `extends: {preset}` into it," if preset else ""
    return f"`qtune import {shlex.quote(file)} -n {name}`{extends} and then `qtune {command} {name}`"


def _options(words: Sequence[str]) -> list[tuple[str, str]]:
    """(option, value) of `-t VALUE` and `--type=VALUE`."""
    found = []
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        following = words[index + 1] if index + 1 < len(words) else ""
        found.append((name, value if equals else "" if following.startswith("-") else following))
    return found
