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
from qtune.config.model import model_type
from qtune.data.lengths.chat import chat_for
from qtune.files import dump_yaml
from qtune.schema import template_for, template_names
from qtune.values import Config, Finding

_KEY = "template"


def check_served_text(config: Config, root: Path, *, tools: bool) -> list[Finding]:
    """A warning where training and serving write the same conversation otherwise.

    tools: whether the data describes tools.
    """
    train = config.block("train")
    if train.get(_KEY) not in template_names() or config.argument("stage") == "pt":
        return []
    if chat_for(train).template.replace_jinja_template:
        return []  # with what was trained the training's is exported
    try:
        own = own_template(train, root)
        difference = None if own is None else _difference(own, train, tools)
        if own is None or difference is None:
            return []
        message = f"servers such as vLLM use the model's own chat template, and it differs: {difference}"
        fix = _fix(own, train, model_type(config, root), tools)
    except (OSError, ValueError) as error:
        message = f"the model's own chat template, which servers use, is of no use: it {error}"
        fix = "take the file from where the model was published"
    return [Finding("warning", _KEY, message, fix, config.origin("train", _KEY))]


def _fix(own: OwnTemplate, train: Mapping[str, Any], kind: str | None, tools: bool) -> str:
    """What ends the difference, tried out; kind: the model's `model_type`."""
    for key, value in _changes(own, train, template_for(train["model_name_or_path"], kind)):
        changed = {**train, key: value}
        if chat_for(changed).template.replace_jinja_template or _difference(own, changed, tools) is None:
            return f"set `{key}: {dump_yaml(value)}` under `train:`"
    return "serve it with `qtune api`, which writes what was trained"


def _difference(own: OwnTemplate, train: Mapping[str, Any], tools: bool) -> str | None:
    from qtune.checks.conversations import first_difference  # and with it jinja2

    return first_difference(own, chat_for(train), train.get("default_system"), tools)


def _changes(own: OwnTemplate, train: Mapping[str, Any], right: str | None) -> Iterator[tuple[str, Any]]:
    """What might end a difference; right: the template that the model's name or type tells."""
    from qtune.checks.conversations import served_system

    if right is not None:
        yield _KEY, right
    chat = chat_for(train)
    for system in served_system(own, chat):
        yield "default_system", system
    if chat.template.reasons:
        yield "enable_thinking", not chat.template.enable_thinking
