"""Whether the text that a model is trained on is the one that it will be served with.

Servers such as vLLM write a conversation by the chat template of the model's own directory. LLaMA-Factory
trains by one of its own, and exports the model's with what was trained (data/template.py,
fix_jinja_template). Where the two differ, a model is good here and bad when it is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qtune.checks.own_template import OwnTemplate, own_template
from qtune.files import dump_yaml, read_object
from qtune.schema import template_for, template_names
from qtune.values import Config, Finding

_KEY = "template"


def check_served_text(config: Config, directory: Path | None, *, tools: bool) -> list[Finding]:
    """A warning where training and serving write the same conversation otherwise.

    directory: the model's files, None where they are not here; tools: whether the data describes tools.
    """
    train = config.block("train")
    if train.get(_KEY) not in template_names() or config.argument("stage") == "pt":
        return []
    try:
        own = own_template(directory)
        difference = None if own is None else _difference(own, train, tools)
        if own is None or directory is None or difference is None:
            return []
        message = f"servers such as vLLM use the model's own chat template, and it differs: {difference}"
        fix = _fix(own, train, str(read_object(directory / "config.json").get("model_type")), tools)
    except (OSError, ValueError) as error:
        message = f"the model's own chat template, which servers use, is of no use: it {error}"
        fix = "take the file from where the model was published"
    return [Finding("warning", _KEY, message, fix, config.origin("train", _KEY))]


def _fix(own: OwnTemplate, train: Mapping[str, Any], kind: str, tools: bool) -> str:
    """What ends the difference, tried out; kind: the model's `model_type`."""
    for key, value in _changes(own, train, template_for(train["model_name_or_path"], kind)):
        if _difference(own, {**train, key: value}, tools) is None:
            return f"set `{key}: {dump_yaml(value)}` under `train:`"
    return "serve it with `qtune api`, which writes what was trained"


def _difference(own: OwnTemplate, train: Mapping[str, Any], tools: bool) -> str | None:
    from qtune.checks.conversations import first_difference  # and with it jinja2
    from qtune.data.lengths.chat import chat_for

    chat = chat_for(train)
    if chat.template.replace_jinja_template:
        return None  # with what was trained the training's is exported
    return first_difference(own, chat, train.get("default_system"), tools)


def _changes(own: OwnTemplate, train: Mapping[str, Any], right: str | None) -> Iterator[tuple[str, Any]]:
    """What might end a difference; right: the template that the model's name or type tells."""
    from qtune.checks.conversations import served_system
    from qtune.data.lengths.chat import chat_for

    if right is not None:
        yield _KEY, right
    chat = chat_for(train)
    for system in served_system(own, chat):
        yield "default_system", system
    if chat.template.reasons:
        yield "enable_thinking", not chat.template.enable_thinking
