"""The command of a script that starts LLaMA-Factory: its arguments, and the processes it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.arguments import QTUNES_OWN
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, refused
from qtune.importing.retype import of_words, plain
from qtune.importing.scripts.launchers import CLI, STARTERS, holes, is_flag, place, processes
from qtune.importing.scripts.others import started_toolkit
from qtune.importing.scripts.shell import Command, Word, commands
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import starts
from qtune.importing.toolkits.starts import Start
from qtune.schema import arguments
from qtune.values import Origin, Value

_SCRIPT = re.compile(r"(?:.*/)?(?:train|train_bash|launcher|finetune|run_exp)\.py")
_MODULES = ("llamafactory.cli", "llamafactory.launcher", "llmtuner.cli")
_CONFIG = (".yaml", ".yml", ".json")


def recognise(source: ImportedFile, working_directory: Path, project: Project) -> Original | None:
    """A shell script as the training that it starts, None where it starts none.

    Raises QtuneError where it starts more than one, and for a config file of the command that cannot be read.
    """
    return (
        None
        if source.keys is not None
        else started(commands(source.text), source, working_directory, project)
    )


def started(
    script: list[Command], source: ImportedFile, working_directory: Path, project: Project
) -> Original | None:
    """The training that one of the commands starts; like `recognise`."""
    found = [(command, start) for command in script if (start := _start(command)) is not None]
    if not found:
        return None
    if len(found) > 1:
        lines = ", ".join(str(command.line) for command, _ in found)
        raise QtuneError(
            f"starts LLaMA-Factory {len(found)} times (lines {lines})",
            where=source.display,
            fix="copy the one that you want to a file of its own, with the variables it needs",
        )
    command, start = found[0]
    if isinstance(start, Start):
        return started_toolkit(
            start, command, _in_its_directories(source, script), working_directory, project
        )
    part = processes(command, start, source) + _others(script, command, source)
    words = list(command.words[start:])
    source = _in_its_directories(source, script)
    keys: dict[str, Value] = {}
    file: ImportedFile | None = None
    if words and not is_flag(words[0]) and words[0].text.endswith(_CONFIG):
        name, words = words[0], words[1:]
        file = None if name.hole else source.config(name.text, working_directory)
        if name.hole is not None:
            part += holes([name], source)
        elif file is None:
            fix = "put it where the script names it, or import the config instead of the script"
            part += refused("", f"there is no {name.text}", fix, place(source, name))
        else:
            keys |= file.values()
            source = replace(source, roots=tuple(dict.fromkeys((*source.roots, *file.roots))))
    for key, value, given in _arguments(words, source, overriding=file is not None):
        unknown = [] if key in QTUNES_OWN else given  # often dated: out/$(date +%F)
        part += holes(unknown, source, key)
        if not any(word.hole for word in unknown):
            keys[key] = value
    return Original("a command that starts LLaMA-Factory", source, keys, part, whole=True)


def _in_its_directories(source: ImportedFile, script: list[Command]) -> ImportedFile:
    """The source with the directories that the script changes to, from which its paths start."""
    entered = [
        path
        for command in script
        if command.words[0].text == "cd" and command.words[1:]
        if (path := source.find(command.words[1].text)) is not None
    ]
    return replace(source, roots=tuple(dict.fromkeys((*entered, *source.roots))))


def _others(script: list[Command], command: Command, source: ImportedFile) -> Translation:
    """What there is to say about the script's other commands: a flag without one is an error."""
    part = Translation()
    for other in script:
        if is_flag(other.words[0]):
            fix = "end the line before it with a backslash, and nothing after that"
            message = f"`{other.words[0].text}` starts a command of its own"
            part += refused("", message, fix, place(source, other.words[0]))
    others = dict.fromkeys(PurePath(other.words[0].text).name for other in script if other is not command)
    if not others or part.findings:
        return part
    message = f"only the command on line {command.line} is read; left out: {', '.join(others)}"
    return noted("", message, Origin(LAYER, source.display))


def _start(command: Command) -> int | Start | None:
    """The index of the first word after what starts LLaMA-Factory's training, None where nothing does."""
    texts = [word.text for word in command.words]
    if (toolkit := starts.start(texts)) is not None:
        return toolkit
    names = [PurePath(text).name for text in texts]
    for index, name in enumerate(names):
        following = texts[index + 1 : index + 2]
        command_line = name in CLI or (texts[index] in _MODULES and texts[index - 1] == "-m")
        if command_line and following == ["train"]:
            return index + 2
        if _SCRIPT.fullmatch(texts[index]) and (index == 0 or any(n in STARTERS for n in names[:index])):
            return index + 1
    return None


def _arguments(
    words: list[Word], source: ImportedFile, *, overriding: bool
) -> Iterator[tuple[str, Value, list[Word]]]:
    """(argument, value, words) of `--key value …`, `--key=value`, `--flag`, and `key=value` after a file."""
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not is_flag(word):
            name, equals, text = word.text.partition("=")
            key = name if overriding and equals else word.text
            yield key, Value(plain(text) if equals else None, place(source, word)), [word]
            continue
        name, equals, text = word.text.lstrip("-").partition("=")
        given = [Word(text, word.line, word.hole)] if equals else []
        while not equals and index < len(words) and not is_flag(words[index]):
            given.append(words[index])
            index += 1
        key = name.replace("-", "_")
        known = arguments()
        if key not in known and key.startswith("no_") and key[3:] in known and not given:
            yield key[3:], Value(False, place(source, word)), []
            continue
        value = of_words(known.get(key), [item.text for item in given])
        yield key, Value(value, place(source, word)), [word, *given]
