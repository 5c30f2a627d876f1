"""The files that a script writes before it trains: here-documents, and lines that it echoes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from posixpath import normpath

from qtune.errors import QtuneError
from qtune.importing.arguments import QTUNES_OWN
from qtune.importing.parts import Translation, refused
from qtune.importing.scripts.shell import Command, HereDocument, Word
from qtune.importing.source import ImportedFile
from qtune.values import Value

_CONFIGS = (".yaml", ".yml", ".json")


def written(script: Sequence[Command]) -> dict[str, HereDocument]:
    """What the commands write to configs, by the files' normal paths."""
    files: dict[str, HereDocument] = {}
    for command in script:
        target, document = _target(command), command.document
        if command.words[0].text == "echo":
            document = _echoed(command)
        if target is None or document is None:
            continue
        path = normpath(target.text)
        before = files.get(path)
        if before is not None and (command.appends or (command.words[1:2] and command.words[1].text == "-a")):
            document = HereDocument(
                before.text + document.text, before.line, {**before.holes, **document.holes}
            )
        files[path] = document
    return files


def writes(command: Command) -> bool:
    """Whether the command writes a config, or hands it on, and the script tells what it writes."""
    name, told = command.words[0].text, command.document is not None
    return (told or name == "echo") and (_target(command) is not None or (told and name == "cat"))


def _target(command: Command) -> Word | None:
    """The config that the command writes; None for what is written elsewhere."""
    is_tee = command.words[0].text == "tee" and len(command.words) > 1
    target = command.words[-1] if is_tee else command.target
    return target if target is not None and target.text.endswith(_CONFIGS) else None


def _echoed(command: Command) -> HereDocument:
    words = [word for word in command.words[1:] if word.text not in ("-e", "-n", "-en", "-ne")]
    text = " ".join(word.text for word in words)
    if len(words) < len(command.words) - 1 and "e" in command.words[1].text:
        text = text.replace("\\n", "\n")
    hole = next((word.hole for word in words if word.hole), None)
    return HereDocument(f"{text}\n", command.line, {command.line: hole} if hole else {})


def as_files(files: Mapping[str, HereDocument], source: ImportedFile) -> dict[str, ImportedFile]:
    """The files as if they lay there, but for those that are no mapping."""
    found = {}
    for path, document in files.items():
        try:
            found[path] = source.writes(document.text, document.line)
        except QtuneError:
            continue  # of another kind, or broken: said only where it is the one that trains
    return found


def unknown(
    document: HereDocument, keys: Mapping[str, Value], source: ImportedFile
) -> tuple[dict[str, Value], Translation]:
    """(the keys whose values the script tells, an error for each of the others)."""
    known, part = dict(keys), Translation()
    lines = sorted((value.origin.line or 0, key) for key, value in keys.items())
    for number, hole in document.holes.items():
        key = next((key for line, key in reversed(lines) if line <= number), "")
        if key in QTUNES_OWN:
            continue
        known.pop(key, None)
        fix = "write the value there, or set the variable above the command"
        part += refused(key, hole, fix, source.at(number))
    return known, part
