"""Rules about what a model is: its architecture, and the chat template that it was made with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtune.checks.own_template import own_template
from qtune.checks.rules.view import Rule, View
from qtune.data.registrations import names_in
from qtune.schema import always_thinks, is_base, template_for, template_names

if TYPE_CHECKING:
    from qtune.schema.chat_templates import ChatTemplate


def _unknown_type(view: View) -> str:
    """What the tested transformers, or an older one that is installed, cannot build."""
    if view.model_directory is None:
        return ""
    from qtune.schema.library import model_types, packages  # only where a model is here

    found = view.model.get("model_type")
    if not isinstance(found, str) or found in model_types() or "auto_map" in view.model:
        return ""
    tested = packages()["transformers"].tested
    installed = (view.stack.version("transformers") if view.stack is not None else None) or tested
    is_newer = _numbers(installed) > _numbers(tested)
    return "" if is_newer else f"transformers {installed} knows no model_type `{found}`"


def _not_adapted(view: View) -> str:
    """What to name instead of `all` where PEFT refuses some of the modules that it stands for."""
    if not view.lora or names_in(view["lora_target"]) != ["all"] or view.model_directory is None:
        return ""
    from qtune.schema.architectures import architecture  # as above

    found = architecture(str(view.model.get("model_type")))
    if found is None or view.model.get("num_local_experts") == 0:  # a granitemoehybrid that is dense
        return ""
    return ",".join(found.adapted)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _template_of_others(view: View) -> str:
    """The template that the model was made with, where the config's is another one.

    A model that is known by its type alone and has a chat template of its own is compared by that
    (qtune.checks.served_text), since a type takes in models that were taught another one.
    """
    name, template = view["model_name_or_path"], view["template"]
    if not isinstance(name, str) or template not in template_names() or view["stage"] == "pt":
        return ""
    right = template_for(name, None)
    if right is None and not _has_own_template(view):
        right = template_for(name, str(view.model.get("model_type")))
    if right is None or right == template or is_base(name):
        return ""
    from qtune.data.lengths.chat import chat_for  # most configs take the one of their model

    theirs, ours = (chat_for({**view.train, "template": each}).template for each in (right, template))
    return "" if _goes_with(theirs, ours, hybrid=not always_thinks(name)) else right


def _goes_with(theirs: ChatTemplate, ours: ChatTemplate, *, hybrid: bool) -> bool:
    """Whether both write the same, but for the thoughts that a hybrid model may leave out."""
    if replace(theirs, media=ours.media) == ours:
        return True
    without = {
        name: getattr(ours, name)
        for name in ("kind", "media", "thought_words", "enable_thinking", "preserve_thinking")
    }
    return hybrid and theirs.reasons and not ours.reasons and replace(theirs, **without) == ours


def _has_own_template(view: View) -> bool:
    try:
        return own_template(view.model_directory) is not None
    except (OSError, ValueError):
        return True


RULES = (
    Rule(
        "model-type-is-known",
        ("model_name_or_path",),
        _unknown_type,
        "the model cannot be loaded: {found}",
        "install a newer transformers where it will train, or take another model",
        "transformers/models/auto/configuration_auto.py, AutoConfig.from_pretrained",
        "warning",
    ),
    Rule(
        "lora-all-is-adapted",
        ("lora_target",),
        _not_adapted,
        "PEFT does not adapt all that `lora_target: all` stands for in this model, and refuses to start",
        "set `lora_target: {found}`, or some of these",
        "peft/tuners/tuners_utils.py, _check_lora_target_modules_mamba; lora/model.py, _create_new_module",
    ),
    Rule(
        "template-of-another-family",
        ("template",),
        _template_of_others,
        "{model_name_or_path} was made with the template `{found}`; `{template}` writes another text",
        "set `template: {found}`, or auto, which takes it from the model",
        "llamafactory/extras/constants.py, register_model_group",
        "warning",
    ),
)
