"""The modules that a training's arguments choose by name, compared as LLaMA-Factory and PEFT compare them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qtune.config.names import did_you_mean
from qtune.config.vocabulary import resizes_vocabulary
from qtune.errors import QtuneError
from qtune.predict.models.shapes import Model, Module, Tensor, is_vision
from qtune.schema import argument
from qtune.schema.library import composites

Train = Mapping[str, Any]
"""LLaMA-Factory arguments; what is left out has the library's own default."""
_ADAPTABLE = ("linear", "embedding", "conv")
# Output layers that `lora_target: all` leaves out (misc.py, find_all_linear_modules).
_HEADS = {"chatglm": ("lm_head", "output_layer"), "internlm2": ("lm_head", "output")}
_ENDS = ("lm_head", "output_layer", "output")


def lora_modules(model: Model, train: Train) -> list[Module]:
    """The modules that get an adapter. OFT, too, reads `lora_target` (adapter.py, _setup_lora_tuning)."""
    targets = given = _names(train, "lora_target")
    if targets == ("all",):
        targets = _linear_names(model, train)
        if not targets:  # all of GPT-2's are of transformers' Conv1D
            others = sorted({module.last_name for module in model.modules if module.kind == "conv"})
            raise QtuneError(
                f"`all` stands for linear layers, and a {model.model_type} has none",
                where="lora_target",
                fix=f"name modules: {', '.join(others)}",
            )
    names = [module.name for module in model.modules]
    if argument(train, "use_llama_pro"):
        layers = [f".{number}." for number in _spread_layers(model, train)]
        targets = tuple(name for name in names if _holds(name, targets) and _holds(name, layers))
    if composite := composites().get(model.model_type):
        avoided = (*_forbidden(model, train), *composite.conflicts)
        targets = tuple(name for name in names if _holds(name, targets) and not _holds(name, avoided))
    copied = [_inside(name) for name in _copied_names(model, train)]
    exact, endings = frozenset(targets), tuple(f".{target}" for target in targets)
    chosen = [
        module
        for module in model.modules
        if (module.name in exact or module.name.endswith(endings))
        and module.kind in _ADAPTABLE
        and not any(pattern.match(module.name) for pattern in copied)
    ]
    if not chosen:
        known = {module.last_name for module in model.modules if module.kind == "linear"}
        if known.isdisjoint(given) and given != ("all",):
            raise _absent("lora_target", given, known)
        raise QtuneError(
            f"nothing is left of {', '.join(given)}: it is frozen, or `additional_target` trains it whole",
            where="lora_target",
            fix="name other modules, or let what you named train",
        )
    return chosen


def copied_modules(model: Model, train: Train) -> list[Module]:
    """The modules that `additional_target` trains whole, in a copy (peft/utils/other.py, _set_trainable)."""
    wanted = _copied_names(model, train)
    return [
        module
        for module in model.modules
        if wanted and any(part.endswith(wanted) for part in _paths(module.name))
    ]


def trained_weights(model: Model, train: Train) -> Iterable[Tensor]:
    """The model's own parameters that full or freeze tuning changes."""
    forbidden = _forbidden(model, train)
    frozen = {tensor.name for module in model.modules if module.frozen for tensor in module.tensors}
    tensors = [
        tensor for tensor in model.tensors if tensor.name not in frozen and not _holds(tensor.name, forbidden)
    ]
    if argument(train, "finetuning_type") == "full":
        return tensors
    layers = _freeze_layers(model, train)
    inner, outer = _freezable(model)
    wanted: list[str] = []
    for name in _names(train, "freeze_trainable_modules"):
        if name != "all" and name not in inner:
            raise _absent("freeze_trainable_modules", (name,), inner)
        wanted += (f".{number}.{'' if name == 'all' else name}" for number in layers)
    for name in _names(train, "freeze_extra_modules"):
        if name not in outer:
            raise _absent("freeze_extra_modules", (name,), outer)
        wanted.append(name)
    composite = composites().get(model.model_type)
    if composite and not argument(train, "freeze_multi_modal_projector"):
        wanted += composite.projector
    return [tensor for tensor in tensors if _holds(tensor.name, wanted)]


def _names(train: Train, name: str) -> tuple[str, ...]:
    """The argument's list, or its words between commas."""
    value = train.get(name) or argument({}, name) or ()
    words = value.split(",") if isinstance(value, str) else value
    return tuple(str(word).strip() for word in words if str(word).strip())


def _linear_names(model: Model, train: Train) -> tuple[str, ...]:
    """What `all` stands for (misc.py, find_all_linear_modules)."""
    avoided = _HEADS.get(model.model_type, ("lm_head",))
    if composite := composites().get(model.model_type):
        avoided = (*avoided, *composite.projector)
        if argument(train, "freeze_vision_tower"):
            avoided = (*avoided, *composite.vision)
    linears = (module for module in model.modules if module.kind == "linear")
    return tuple(dict.fromkeys(module.last_name for module in linears if not _holds(module.name, avoided)))


def _forbidden(model: Model, train: Train) -> tuple[str, ...]:
    """Parts of the names of what stays frozen (visual.py, get_forbidden_modules)."""
    composite = composites().get(model.model_type)
    if composite is None:
        return ()
    return (
        *(composite.vision if argument(train, "freeze_vision_tower") else ()),
        *(composite.projector if argument(train, "freeze_multi_modal_projector") else ()),
        *(composite.language if argument(train, "freeze_language_model") else ()),
    )


def _copied_names(model: Model, train: Train) -> tuple[str, ...]:
    named = _names(train, "additional_target")
    if named or not resizes_vocabulary(train):
        return named
    # adapter.py: a resized vocabulary trains both its ends, and no table of single layers (Gemma 4)
    ends = (module for module in model.modules if module.kind == "embedding" or module.last_name in _ENDS)
    names = dict.fromkeys(module.last_name for module in ends if not is_vision(module.name))
    return tuple(name for name in names if not name.endswith("_per_layer"))


def _freeze_layers(model: Model, train: Train) -> Sequence[int]:
    if argument(train, "use_llama_pro"):
        return _spread_layers(model, train)
    count, layers = int(argument(train, "freeze_trainable_layers")), model.num_hidden_layers
    return range(max(0, layers - count), layers) if count > 0 else range(min(-count, layers))


def _spread_layers(model: Model, train: Train) -> Sequence[int]:
    """The layers that LLaMA Pro put between the model's own: every so many."""
    count, layers = int(argument(train, "freeze_trainable_layers")), model.num_hidden_layers
    if count <= 0 or layers % count:
        raise QtuneError(
            f"with `use_llama_pro` the model's {layers} layers have to divide by it, and {count} does not",
            where="freeze_trainable_layers",
            fix="set the number of layers that were added to the model",
        )
    stride = layers // count
    return range(stride - 1, layers + stride - 1, stride)


def _freezable(model: Model) -> tuple[set[str], set[str]]:
    """The names that freeze tuning knows inside layers and outside (adapter.py, _setup_freeze_tuning)."""
    inner, outer = set(), set()
    for tensor in model.tensors:
        for first in (".0.", ".1."):  # where the first layer differs from the rest, it starts at 1
            if first in tensor.name:
                inner.add(tensor.name.split(first)[-1].split(".")[0])
                break
        if re.search(r"\.\d+\.", tensor.name) is None:
            outer.add(tensor.name.split(".")[-2])
    return inner, outer


def _inside(name: str) -> re.Pattern[str]:
    """PEFT reads such a name as a pattern (tuners_utils.py, check_target_module_exists)."""
    try:
        return re.compile(rf"(^|.*\.){name}($|\..*)")
    except re.error as error:
        raise QtuneError(
            f"{name!r} is no pattern ({error})",
            where="additional_target",
            fix="name a module, such as lm_head",
        ) from None


def _paths(name: str) -> list[str]:
    """A module's name and those of all that it lies in."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _holds(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)


def _absent(argument: str, given: Iterable[str], known: Iterable[str]) -> QtuneError:
    known = sorted(known)
    hint = next((hint for name in given if (hint := did_you_mean(name, known))), None)
    choice = f"choose from {', '.join(known)}"
    return QtuneError(
        f"the model has no module {' or '.join(repr(name) for name in given)}",
        where=argument,
        fix=f"{hint} Else {choice}" if hint else choice,
    )
