"""Commands that start other toolkits: which one a command starts, and what its words say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.original import Original
from qtune.importing.parts import refused
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import firefly, ms_swift, openrlhf, qwen, trl, unsloth
from qtune.importing.toolkits.axolotl import axolotl
from qtune.importing.toolkits.options import assigned, within
from qtune.importing.toolkits.table import Toolkit
from qtune.importing.toolkits.torchtune import torchtune
from qtune.importing.toolkits.translate import translate
from qtune.importing.toolkits.v1 import v1
from qtune.values import Value

Keys = Mapping[str, Value]
Read = Callable[[str, Keys, ImportedFile, Project], Original]
"""(method, keys, source, project) → what it trains."""


@dataclass(frozen=True)
class Starter:
    """How a toolkit is started.

    words: patterns of words that follow each other; a group in them is the method. options: of which one
    tells its script from others of that name. config: the option that names a config file, "" where the first
    word does. recipe: whether the launcher's options and a name of its own stand before the arguments.
    alone: whether it is one process where nothing says how many. variables: of the environment, that its
    table has. fix: what to do where there is no such config.
    """

    name: str
    words: tuple[str, ...]
    read: Read
    options: frozenset[str] = frozenset()
    config: str | None = None
    recipe: bool = False
    alone: bool = False
    variables: Callable[[], Collection[str]] = tuple
    fix: str = "put it where the command names it, or import the config instead"


@dataclass(frozen=True)
class Start:
    """A command that starts a toolkit; method: such as sft; index: of the first word after what starts it."""

    starter: Starter
    method: str
    index: int


def start(texts: list[str]) -> Start | None:
    """The toolkit that a command's words start, None where they start none."""
    given = {text.lstrip("-").partition("=")[0].replace("-", "_") for text in texts if text.startswith("--")}
    for index in range(len(texts)):
        for starter in _STARTERS:
            end = index + len(starter.words)
            groups = _groups(starter, texts[index:end])
            if groups is not None and (not starter.options or given & starter.options):
                return Start(
                    starter, "".join(groups[:1]), _after_recipe(texts, end) if starter.recipe else end
                )
    return None


def read(
    start: Start,
    keys: Keys,
    named: Value | None,
    source: ImportedFile,
    project: Project,
) -> Original:
    """What the command trains: its config file, and its options, which win.

    named: the config where the first word names it. Raises QtuneError like `Starter.read`, and for a config
    that cannot be read.
    """
    starter = start.starter
    given = assigned(keys)
    if starter.config and starter.config in given:
        named = given.pop(starter.config)
        if isinstance(named.value, list):  # the `key=value` after it
            first, *rest = named.value
            given |= assigned({str(text): named for text in rest})
            named = replace(named, value=first)
    if named is not None:
        file = source.named(str(named.value))
        if file is None:
            part = refused("", f"there is no {named.value}", starter.fix, named.origin)
            return Original(f"a command of {starter.name}", source, part=part)
        source = replace(file, roots=tuple(dict.fromkeys((*source.roots, *file.roots))))
        given = within(source.values(), given)
    else:
        given = within({}, given)
    return replace(starter.read(start.method, given, source, project), kind=f"a command of {starter.name}")


def variables(start: Start) -> Collection[str]:
    """The variables of the environment that the toolkit reads as arguments."""
    return start.starter.variables()


def _groups(starter: Starter, texts: list[str]) -> list[str] | None:
    """The groups of the patterns, where each fits; the first word may be a path."""
    if len(texts) < len(starter.words):
        return None
    first = PurePath(texts[0]).name if len(texts) > 1 else texts[0]
    found = [re.fullmatch(*pair) for pair in zip(starter.words, [first, *texts[1:]], strict=True)]
    matches = [match for match in found if match]
    return [group for match in matches for group in match.groups()] if len(matches) == len(found) else None


def _after_recipe(texts: list[str], index: int) -> int:
    """The index after torchrun's options, of which most take a value, and the recipe's name."""
    while index < len(texts) and texts[index].startswith("-"):
        index += 1 if "=" in texts[index] or texts[index] == "--standalone" else 2
    return index + 1


def _named(what: str, fix: str) -> Read:
    """What reads nothing: a training that is named, and no more."""

    def read(method: str, keys: Keys, source: ImportedFile, project: Project) -> Original:
        raise QtuneError(f"starts {what}", where=source.display, fix=fix)

    return read


def _by(toolkit: Callable[[], Toolkit]) -> Read:
    """What a table alone reads."""
    return lambda _, keys, source, project: translate(toolkit(), keys, source, project)


_METHODS = "sft|dpo|kto|orpo|cpo|grpo|rloo|reward|reward_modeling|rm"
_OF_TRL = frozenset({"dataset_name", "use_peft", "config", "dataset_mixer"})
_SWIFT = Starter("ms-swift", (), ms_swift.read, config="", variables=ms_swift.variables)
_STARTERS = (
    replace(_SWIFT, words=("swift", "(sft|rlhf|pt)"), alone=True),
    replace(_SWIFT, words=(r"(?:.*/)?swift/cli/(sft|rlhf|pt)\.py",)),
    replace(_SWIFT, words=(r"swift\.cli\.(sft|rlhf|pt)",)),
    Starter(
        "Megatron-SWIFT",
        ("megatron", "(sft|rlhf|pt)"),
        _named("Megatron-SWIFT", "import a `swift sft` of the same training; `zero:` shards in its stead"),
    ),
    Starter("LLaMA-Factory v1", ("(?:llamafactory-cli|lmf)", "sft"), _by(v1), config=""),
    Starter("TRL", ("trl", f"({_METHODS})"), trl.read, config="config"),
    Starter("TRL", (rf"(?:.*/)?({_METHODS})(?:_\w+)?\.py",), trl.read, _OF_TRL, config="config"),
    Starter("TRL", (rf"trl\.scripts\.({_METHODS})",), trl.read, config="config"),
    Starter("Unsloth", ("unsloth", "(train)"), unsloth.read, config="config"),
    Starter("Unsloth", (r"(?:.*/)?unsloth[-_]cli\.py",), unsloth.read),
    Starter("axolotl", ("axolotl", "train"), _by(axolotl), config=""),
    Starter("axolotl", (r"axolotl\.cli\.train",), _by(axolotl), config=""),
    Starter(
        "torchtune",
        ("tune", "run"),
        _by(torchtune),
        config="config",
        recipe=True,
        alone=True,
        fix="one of torchtune's own is copied by `tune cp NAME .`; import that file",
    ),
    Starter("Qwen's finetune.py", (r"(?:.*/)?finetune\.py",), qwen.read, qwen.OPTIONS),
    Starter("OpenRLHF", (r"openrlhf\.cli\.train_(\w+)",), openrlhf.read),
    Starter("OpenRLHF", (r"(?:.*/)?train_(\w+)\.py",), openrlhf.read, openrlhf.OPTIONS),
    Starter(
        "Firefly",
        (r"(?:.*/)?\w+\.py",),
        lambda _, keys, source, project: firefly.read(keys, source, project),
        frozenset({"train_args_file"}),
        config="train_args_file",
    ),
    Starter(
        "LMFlow",
        (r"(?:.*/)?\w+\.py",),
        _named(
            "LMFlow", "write its values into a preset: `qtune presets` lists some, `qtune data add` its data"
        ),
        frozenset({"conversation_template", "disable_group_texts"}),
    ),
    Starter(
        "XTuner",
        ("xtuner", "train"),
        _named(
            "XTuner, whose configs are Python", "write its values into a preset: `qtune presets` lists some"
        ),
    ),
)
