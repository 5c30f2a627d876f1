"""A script's command that starts another toolkit: its words and variables as that toolkit's keys."""

from __future__ import annotations

from dataclasses import replace

from qtune.config.project import Project
from qtune.importing.arguments import QTUNES_OWN
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.retype import plain
from qtune.importing.scripts.arguments import arguments_of
from qtune.importing.scripts.launchers import is_flag, place
from qtune.importing.scripts.shell import Command, Word
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import starts
from qtune.importing.toolkits.starts import Start
from qtune.values import Value


def taken(start: Start, command: Command) -> dict[str, Word]:
    """The variables of the command that the toolkit reads as arguments."""
    known = starts.variables(start)
    return {name: word for name, word in command.variables.items() if name in known and not word.hole}


def without_taken(start: Start, command: Command) -> Command:
    """The command without those, of which there is nothing else to say."""
    names = taken(start, command)
    exported = {name: word for name, word in command.exported.items() if name not in names}
    assigned = {name: word for name, word in command.assigned.items() if name not in names}
    return replace(command, exported=exported, assigned=assigned)


def started_toolkit(start: Start, command: Command, source: ImportedFile, project: Project) -> Original:
    """What a command that starts a toolkit trains; raises QtuneError like `starts.read`.

    What the script alone could compute is a warning, and left out.
    """
    words = list(command.words[start.index :])
    named: Value | None = None
    if start.starter.config == "" and words and not is_flag(words[0]):
        word = words.pop(0)
        named = Value(word.text, place(source, word))
    keys: dict[str, Value] = {}
    part = Translation()
    for key, value, given in arguments_of(words, source, overriding=False):
        hole = next((word.hole for word in given if word.hole and key not in QTUNES_OWN), None)
        if hole is None:
            keys[key] = value
        else:
            part += warned(key, f"left out: {hole}", "set it in the preset", value.origin)
    for name, word in taken(start, command).items():
        keys[name] = Value(plain(word.text), place(source, word))
    original = starts.read(start, keys, named, source, project)
    return replace(original, part=part + original.part)


def alone(start: Start, command: Command, part: Translation, source: ImportedFile) -> Translation:
    """One process, where nothing says more and the toolkit starts no more; part: what is said of processes.

    Over several devices it splits the model by its layers.
    """
    if not start.starter.alone or ("launch", "nproc_per_node") in part.values:
        return Translation()
    origin = place(source, command.words[0])
    one = Translation({("launch", "nproc_per_node"): Value(1, origin)})
    devices = command.variables.get("CUDA_VISIBLE_DEVICES")
    several = len([device for device in devices.text.split(",") if device]) if devices else 1
    if several < 2:
        return one + noted("nproc_per_node", "launch.nproc_per_node: 1, as nothing says more", origin)
    message = f"{start.starter.name} splits one model over {several} devices, which LLaMA-Factory does not"
    fix = f"set launch.nproc_per_node: {several}, zero: {{stage: 3}}, and gradient_accumulation_steps divided"
    return one + warned("CUDA_VISIBLE_DEVICES", message, f"{fix} by {several}", origin)
