"""The arguments of the supported LLaMA-Factory, and what a plain YAML value for one may be.

Read from a bundled snapshot, so that checking a config needs neither torch nor the library itself.
`adapter/tools/schema_snapshot.py` writes the snapshot.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

SUPPORTED = "0.9.5"
"""The LLaMA-Factory version that the snapshot was taken from."""

DERIVED = ("dataset_dir", "output_dir", "deepspeed")
"""The arguments that rendering adds, since they follow from others; no layer sets them."""

NULL_IS_A_VALUE = ("enable_thinking",)
"""The arguments of which null says something that leaving it out does not (data/template.py)."""

MOST_CHOICES_LISTED = 12
_LARGEST = 2**63  # torch, numpy and DeepSpeed count in 64 bits

TYPE_WORDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a float",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
}
NUMBERS = {"int": int, "float": float}
BOOLEAN_WORDS = {True: ("yes", "on", "true"), False: ("no", "off", "false")}


@dataclass(frozen=True)
class Argument:
    """One thing that a config may set: a train argument, a ZeRO key, or a dataset's key, column or tag."""

    name: str
    group: str
    """An argument's LLaMA-Factory class (model, data, ...), else zero, deepspeed, dataset, columns, tags."""
    types: tuple[str, ...]
    """Of bool, int, float, str, list, dict; empty where YAML cannot hold the value.

    A float may be written as an integer. int and float together mean a whole number written either way.
    """
    nullable: bool
    choices: tuple[str | int, ...] | None
    """The only values of their own type; values of another listed type stay free."""
    default: Any
    help: str
    auto: bool = False
    """Whether `auto` is filled in when training starts (a few of DeepSpeed's keys)."""
    keys: Mapping[str, "Argument"] | None = None
    """The keys inside, where the value is a mapping with known keys."""


def arguments() -> Mapping[str, Argument]:
    """Every argument a training config may hold."""
    return _table("arguments", "")


def argument(train: Mapping[str, Any], name: str) -> Any:
    """What a `train` block sets an argument to, or the library's own default."""
    return train[name] if name in train else arguments()[name].default


def zero_keys() -> Mapping[str, Argument]:
    """The keys of DeepSpeed's zero_optimization."""
    return _table("zero", "zero")


def deepspeed_keys() -> Mapping[str, Argument]:
    """DeepSpeed's other top-level keys."""
    return _table("deepspeed", "deepspeed")


@cache
def launch_keys() -> Mapping[str, Argument]:
    """The keys of qtune's own `launch` block."""
    return _arguments(json.loads(Path(__file__).with_name("launch.json").read_bytes()), "launch")


def known_keys(block: str) -> Mapping[str, Argument]:
    """The keys that may stand in a config's `train`, `zero`, `deepspeed` or `launch` block."""
    match block:
        case "zero":
            return zero_keys()
        case "deepspeed":
            return deepspeed_keys()
        case "launch":
            return launch_keys()
    return arguments()


def known_argument(path: tuple[str, ...]) -> Argument | None:
    """What is known about the key at `path`, such as ("zero", "offload_param", "device"); None for nobody's.

    Below a mapping whose keys the library leaves open, such as lr_scheduler_kwargs, it is the mapping's own.
    """
    known = known_keys(path[0])
    argument = None
    for key in path[1:]:
        argument = known.get(key)
        if argument is None or argument.keys is None:
            return argument
        known = argument.keys
    return argument


def dataset_keys() -> Mapping[str, Argument]:
    """The keys of a registration in dataset_info.json."""
    return _dataset_table("keys", "dataset")


def column_keys() -> Mapping[str, Argument]:
    """The keys of a registration's `columns`, with the defaults that hold while the block is absent."""
    return _dataset_table("columns", "columns")


def tag_keys() -> Mapping[str, Argument]:
    """The keys of a registration's `tags`, with the defaults that hold while the block is absent."""
    return _dataset_table("tags", "tags")


@cache
def template_names() -> tuple[str, ...]:
    """The chat templates that LLaMA-Factory knows, sorted."""
    return tuple(snapshot("llamafactory")["templates"])


def loggers() -> tuple[str, ...]:
    """What transformers can report to, sorted (its integrations, INTEGRATION_TO_CALLBACK)."""
    return tuple(snapshot("llamafactory")["loggers"])


def template_for(model_name_or_path: str, model_type: str | None) -> str | None:
    """The chat template of a model: by its identifier, else by its last part, else by its model type.

    `model_type` is the one in the model's config.json, None when there is none to read.
    """
    by_identifier, by_last_part, by_model_type = _templates()
    identifier = model_name_or_path.lower().rstrip("/")
    return (
        by_identifier.get(identifier)
        or by_last_part.get(_name(identifier))
        or by_model_type.get(model_type or "")
    )


def is_base(model_name_or_path: str) -> bool:
    """Whether a model is known, by its identifier or its last part, as one that never learnt to chat."""
    return _name(model_name_or_path) in _named("base_models")


def reasoning_templates() -> list[str]:
    """The chat templates that add thoughts to answers and remove them (template.py, ReasoningTemplate)."""
    names: list[str] = snapshot("templates")["reasoning"]
    return names


def always_thinks(model_name_or_path: str) -> bool:
    """Whether a model is known, likewise, as one that cannot leave out its thoughts."""
    return _name(model_name_or_path) in _named("always_thinking")


def problem(argument: Argument, value: object) -> str | None:
    """What is wrong with a plain YAML value, in words that follow the argument's name; None when it is right.

    Only the value itself is judged: not its range, not the keys inside a mapping, not other arguments.
    """
    if value is None:
        return None if argument.nullable else f"is null; {_expected(argument)} is expected"
    if absurd := _absurd_number(value):
        return absurd
    if argument.auto and value == "auto":
        return None
    if not argument.types:
        return "cannot be set in YAML: it takes a Python object"
    return _type_problem(argument, value) or _choice_problem(argument, value)


def _absurd_number(value: object) -> str | None:
    """What is wrong with a number, or with one inside a list or mapping, whatever it is for."""
    for number in _numbers(value):
        if isinstance(number, float) and not math.isfinite(number):
            wrong = f"not a finite number ({number})"
        elif abs(number) > _LARGEST:
            wrong = "out of range: numbers go up to 9.22e+18"
        else:
            continue
        return f"is {wrong}" if number is value else f"holds a number that is {wrong}"
    return None


def _numbers(value: object) -> Iterator[int | float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | list):
        for inside in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(inside)


def _type_problem(argument: Argument, value: object) -> str | None:
    types = argument.types
    if isinstance(value, bool):
        return None if "bool" in types else _boolean_problem(argument, value)
    if isinstance(value, str):
        return None if "str" in types else _text_problem(argument, value)
    if isinstance(value, int):
        return None if "int" in types or "float" in types else _number_problem(argument, value)
    if isinstance(value, float):
        wanted = "float" in types and ("int" not in types or value.is_integer())
        return None if wanted else _number_problem(argument, value)
    kind = type(value).__name__
    return (
        None
        if kind in types
        else f"is {TYPE_WORDS.get(kind, f'a {kind}')}; {_expected(argument)} is expected"
    )


def _boolean_problem(argument: Argument, value: bool) -> str:
    shown = str(value).lower()
    for word in BOOLEAN_WORDS[value]:
        if word in (argument.choices or ()):
            return f'is {shown}: YAML reads a bare {word} as {shown}; write "{word}" in quotes'
    return f"is {shown}; {_expected(argument)} is expected"


def _text_problem(argument: Argument, value: str) -> str:
    if _means(value, argument.types):
        return f"is text in quotes ({value!r}); {_expected(argument)} is expected: remove the quotes"
    return f"is text ({value!r}); {_expected(argument)} is expected"


def _number_problem(argument: Argument, value: int | float) -> str:
    wrong = f"is {TYPE_WORDS[type(value).__name__]} ({value}); {_expected(argument)} is expected"
    if "int" in argument.types:
        return f"{wrong}: write {int(value)}" if value == int(value) else wrong
    if "str" in argument.types and argument.choices is None:
        return f"{wrong}: put it in quotes"
    return wrong


def _choice_problem(argument: Argument, value: object) -> str | None:
    choices = argument.choices
    if not choices or type(value) is not type(choices[0]) or value in choices:
        return None
    names = [str(choice) for choice in choices]
    wanted = str(value).lower()
    near = difflib.get_close_matches(wanted, names)
    wrong = f"is {value!r}; did you mean {near[0]}? Accepted" if near else f"is {value!r}; accepted"
    if len(names) <= MOST_CHOICES_LISTED:
        return f"{wrong}: {', '.join(names)}"
    nearest = difflib.get_close_matches(wanted, names, n=4, cutoff=0.0)
    return f"{wrong}, of {len(names)}, are for example: {', '.join(nearest)}"


def _expected(argument: Argument) -> str:
    """The accepted values in words."""
    names = [name for name in argument.types if name != "float" or "int" not in argument.types]
    words = [TYPE_WORDS[name] for name in names]
    choices = argument.choices
    if choices and len(choices) <= MOST_CHOICES_LISTED:
        listed = ", ".join(str(choice) for choice in choices)
        words[names.index(type(choices[0]).__name__)] = f"one of {listed}" if len(choices) > 1 else listed
    return " or ".join(words) or "a Python object"


def _means(text: str, types: tuple[str, ...]) -> bool:
    """Whether text without its quotes would be a value of one of the types."""
    if "bool" in types and text.lower() in (*BOOLEAN_WORDS[True], *BOOLEAN_WORDS[False]):
        return True
    for name in types:
        try:
            if name in NUMBERS and math.isfinite(NUMBERS[name](text)):
                return True
        except ValueError:
            continue
    return False


@cache
def snapshot(stem: str) -> Any:
    """A snapshot file's content, such as that of `llamafactory`, `templates` or `library`."""
    return json.loads(Path(__file__).with_name(f"{stem}-{SUPPORTED}.json").read_bytes())


@cache
def _table(block: str, group: str) -> Mapping[str, Argument]:
    return _arguments(snapshot("llamafactory")[block], group)


@cache
def _dataset_table(block: str, group: str) -> Mapping[str, Argument]:
    return _arguments(snapshot("llamafactory")["dataset"][block], group)


def _arguments(entries: Mapping[str, Any], group: str) -> Mapping[str, Argument]:
    return MappingProxyType({name: _argument(name, group, entry) for name, entry in entries.items()})


def _argument(name: str, group: str, entry: Mapping[str, Any]) -> Argument:
    choices = entry["choices"]
    nested = entry.get("keys")
    return Argument(
        name=name,
        group=entry.get("group", group),
        types=tuple(entry["types"]),
        nullable=entry["nullable"],
        choices=None if choices is None else tuple(choices),
        default=entry["default"],
        help=entry["help"],
        auto=entry.get("auto", False),
        keys=None if nested is None else _arguments(nested, group),
    )


@cache
def _templates() -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
    """Template by identifier, by an identifier's last part where all agree, and by model type."""
    content = snapshot("templates")
    by_identifier: dict[str, str] = content["models"]
    by_last_part: dict[str, str] = {}
    for identifier, template in by_identifier.items():
        if by_last_part.setdefault(_name(identifier), template) != template:
            by_last_part[_name(identifier)] = ""  # two owners' models of one name: no answer
    return by_identifier, by_last_part, content["model_types"]


def _name(identifier: str) -> str:
    """The last part of a model's identifier or path, lower-cased."""
    return identifier.lower().rstrip("/").rpartition("/")[2]


@cache
def _named(group: str) -> frozenset[str]:
    """The names of the models in one of the lists of the templates' snapshot."""
    return frozenset(map(_name, snapshot("templates")[group]))
