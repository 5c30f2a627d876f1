"""The command of a script that starts LLaMA-Factory: its arguments, and what is said around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from posixpath import normpath

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.arguments import QTUNES_OWN
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, refused, warned
from qtune.importing.scripts.arguments import arguments_of
from qtune.importing.scripts.forms import Option
from qtune.importing.scripts.launchers import CLI, STARTERS, at_once, holes, is_flag, place, processes
from qtune.importing.scripts.others import alone, started_toolkit, without_taken
from qtune.importing.scripts.shell import Command, HereDocument, commands
from qtune.importing.scripts.slurm import Job, by_mpi, headers, job
from qtune.importing.scripts.wrappers import Inside, surroundings, unwrapped
from qtune.importing.scripts.written import as_files, unknown, writes, written
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import starts
from qtune.importing.toolkits.starts import Start
from qtune.importing.toolkits.translate import translate
from qtune.importing.toolkits.v1 import is_v1, v1
from qtune.values import Origin, Value

_SCRIPT = re.compile(r"(?:.*/)?(?:train|train_bash|launcher|finetune|run_exp)\.py")
_MODULES = ("llamafactory.cli", "llamafactory.launcher", "llmtuner.cli")
_CONFIG = (".yaml", ".yml", ".json")
# These name a command without starting it.
_SAYING = (
    *("echo", "printf", "cat", "which", "whereis", "type", "man", "help", "test", "[", "[[", ":", "true"),
    *(
        "false",
        "grep",
        "egrep",
        "pgrep",
        "pkill",
        "ps",
        "sed",
        "awk",
        "tee",
        "ls",
        "cp",
        "mv",
        "rm",
        "logger",
    ),
    *("alias", "unalias", "trap", "read", "pip", "pip3", "git", "curl", "wget", "chmod", "ln", "find"),
)
_HELP = ("-h", "--help")
# These prepare what a training runs in.
_PREPARING = (
    "module",
    "ml",
    "source",
    ".",
    "conda",
    "mamba",
    "micromamba",
    "pyenv",
    "spack",
    "nvm",
    "ulimit",
)
# These change a file in place.
_CHANGING = ("sed", "yq", "jq", "perl", "envsubst", "awk")
_SHELLS = ("bash", "sh", "zsh", "source", ".", "sbatch", "srun")


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A shell script as the training that it starts, None where it starts none.

    Raises QtuneError where it starts more than one, and for a config file of the command that cannot be read.
    """
    if source.keys is not None:
        return None
    return started(commands(source.text), source, project)


def started(script: Sequence[Command], source: ImportedFile, project: Project) -> Original | None:
    """The training that one of the commands starts; like `recognise`.

    script: commands of any file, as `shell.commands` tells them.
    """
    all_of_it = [inside for command in script for inside in unwrapped(command)]
    found = [(inside, start) for inside in all_of_it if (start := _start(inside.command)) is not None]
    if not found:
        _refuse_other_scripts(all_of_it, source)
        return None
    if len(found) > 1:
        raise _several(found, source)
    inside, start = found[0]
    command = inside.command
    others = [one.command for one in all_of_it if one is not inside]
    files = written(others)
    source = replace(
        _in_its_directories(source, all_of_it), written={**source.written, **as_files(files, source)}
    )
    if isinstance(start, Start):
        read = started_toolkit(start, command, source, project)
        command, index = without_taken(start, command), start.index
    else:
        read = _llamafactory(command, start, source, others, files, project)
        index = start
    asked, one = _job(inside, source)
    part = one + asked.part + read.part + surroundings(inside, source)
    decided, one = processes(command, index, source, read.keys, asked, inside.gpus)
    part += one
    if isinstance(start, Start):
        part += alone(start, command, part, source)
    part = at_once(part + _others([other for other in others if not writes(other)], command, source))
    return replace(read, keys={**decided, **read.keys}, part=part)


def _llamafactory(
    command: Command,
    start: int,
    source: ImportedFile,
    others: Sequence[Command],
    files: Mapping[str, HereDocument],
    project: Project,
) -> Original:
    """The arguments of a command that starts LLaMA-Factory, from its config and its options, which win."""
    words = list(command.words[start:])
    keys: dict[str, Value] = {}
    part = Translation()
    file: ImportedFile | None = None
    if words and not is_flag(words[0]) and words[0].text.endswith(_CONFIG):
        name, words = words[0], words[1:]
        path = normpath(name.text)
        if path in files and path not in source.written:
            source.writes(files[path].text, files[path].line)  # says what is wrong with it
        file = None if name.hole else source.named(name.text)
        if name.hole is not None:
            part += holes([name], source)
        elif file is None:
            fix = "put it where the script names it, or import the config instead of the script"
            part += refused("", f"there is no {name.text}", fix, place(source, name))
        else:
            keys |= file.values()
            source = replace(source, roots=tuple(dict.fromkeys((*source.roots, *file.roots))))
            part += _changed(name.text, others, source)
        if file is not None and path in files:
            keys, one = unknown(files[path], keys, source)
            part += (
                noted("", f"{name.text} is read as the script writes it", file.origin(next(iter(keys), "")))
                + one
            )
    for key, value, given in arguments_of(words, source, overriding=file is not None):
        unsaid = [] if key in QTUNES_OWN else given  # often dated: out/$(date +%F)
        part += holes(unsaid, source, key)
        if not any(word.hole for word in unsaid):
            keys[key] = value
    if file is not None and is_v1(file.keys or {}):  # USE_V1 is set, here or elsewhere
        read = translate(v1(), keys, replace(file, roots=source.roots), project)
        return replace(read, kind="a command that starts LLaMA-Factory v1", part=part + read.part)
    return Original("a command that starts LLaMA-Factory", source, keys, part, whole=True)


def _several(found: Sequence[tuple[Inside, int | Start]], source: ImportedFile) -> QtuneError:
    ours = [(inside.command, start) for inside, start in found if isinstance(start, int)]
    configs = [
        (command.line, word)
        for command, start in ours
        for word in command.words[start : start + 1]
        if not is_flag(word)
    ]
    lines = "lines " + ", ".join(str(inside.command.line) for inside, _ in found)
    if configs:
        lines = "; ".join(f"{source.line(line)} with {word.text}" for line, word in configs)
    elif source.cells:
        lines = "; ".join(source.line(inside.command.line) for inside, _ in found)
    what = f"LLaMA-Factory {len(found)} times" if len(ours) == len(found) else f"{len(found)} trainings"
    fix = "copy the one that you want to a file of its own, with the variables it needs"
    return QtuneError(f"starts {what} ({lines})", where=source.display, fix=fix)


def _refuse_other_scripts(script: Sequence[Inside], source: ImportedFile) -> None:
    """Raises QtuneError where the script starts none, but another script that lies there."""
    for inside in script:
        words = inside.command.words
        shell = PurePath(words[0].text).name in _SHELLS
        names = [
            word.text
            for word in (words[1:] if shell else words[:1])
            if word.text.endswith((".sh", ".sbatch"))
        ]
        if names and source.find(names[0]) is not None:
            where = f"{source.display}:{inside.command.line}"
            raise QtuneError(f"starts {names[0]}, and no training itself", where=where, fix="import that one")


def _in_its_directories(source: ImportedFile, script: Sequence[Inside]) -> ImportedFile:
    """The source with the directories that the script changes to, from which its paths start."""
    found = [mount for inside in script for mount in inside.mounts]
    mounts = tuple(dict.fromkeys((*source.mounts, *found)))
    source = replace(source, mounts=mounts)
    names = [name for inside in script for name in (*inside.directories, *_entered(inside.command))]
    entered = [path for name in names if (path := source.find(name)) is not None]
    return replace(source, roots=tuple(dict.fromkeys((*entered, *source.roots))))


def _entered(command: Command) -> list[str]:
    named = command.words[0].text in ("cd", "pushd") and len(command.words) > 1
    return [command.words[1].text] if named else []


def _job(inside: Inside, source: ImportedFile) -> tuple[Job, Translation]:
    """What Slurm is asked for by the script's header, or by that of the one which sbatch is given."""
    texts = [(document.text, document.line) for document in inside.scripts]
    options: list[Option] = []
    part = Translation()
    for text, line in texts if inside.submitted else [(source.text, 1), *texts]:
        found, one = headers(text, line, source)
        options, part = options + found, part + one
    options += inside.slurm
    if inside.tasks is not None and inside.tasks.text.isdigit():
        return by_mpi(int(inside.tasks.text), place(source, inside.tasks)), part
    if not (options or inside.submitted or inside.stepped):
        return Job(), part
    asked = job(options, source, inside.command.line)
    if asked.nodes > 1 and not inside.stepped and not _says_nodes(inside.command):
        message = f"{asked.nodes} are asked for, and the script starts it on the first alone, without srun"
        fix = "set launch.nnodes: 1, if one node was meant"
        part += warned("nodes", message, fix, asked.part.values["launch", "nnodes"].origin)
    return asked, part


def _says_nodes(command: Command) -> bool:
    return "NNODES" in command.variables or any(
        "nodes" in word.text or "num_machines" in word.text for word in command.words
    )


def _changed(config: str, others: Sequence[Command], source: ImportedFile) -> Translation:
    """A warning for each command that changes the config before it is trained with."""
    part = Translation()
    for other in others:
        texts = [word.text for word in other.words[1:]] + ([other.target.text] if other.target else [])
        if PurePath(other.words[0].text).name in _CHANGING and any(
            normpath(t) == normpath(config) for t in texts
        ):
            message = f"{other.words[0].text} changes {config}, which is read as it is"
            fix = "run the script's lines up to there, and import the config that they leave"
            part += warned("", message, fix, place(source, other.words[0]))
    return part


def _others(others: Sequence[Command], command: Command, source: ImportedFile) -> Translation:
    """What there is to say about the script's other commands: a flag without one is an error."""
    part = Translation()
    for other in others:
        if is_flag(other.words[0]):
            fix = "end the line before it with a backslash, and nothing after that"
            message = f"`{other.words[0].text}` starts a command of its own"
            part += refused("", message, fix, place(source, other.words[0]))
    preparing = [other for other in others if other.words[0].text in _PREPARING]
    if preparing:
        said = dict.fromkeys(" ".join(word.text for word in other.words) for other in preparing)
        message = f"not done by a preset, do it before `qtune train`: {', '.join(said)}"
        part += noted("", message, place(source, preparing[0].words[0]))
    names = dict.fromkeys(PurePath(o.words[0].text).name for o in others if o not in preparing)
    if not names or part.findings:
        return part
    message = f"only the command on {source.line(command.line)} is read; left out: {', '.join(names)}"
    return part + noted("", message, Origin(LAYER, source.display))


def _start(command: Command) -> int | Start | None:
    """The index of the first word after what starts LLaMA-Factory's training, None where nothing does."""
    texts = [word.text for word in command.words]
    names = [PurePath(text).name for text in texts]
    if names[0] in _SAYING or texts[-1] in _HELP:
        return None
    if (toolkit := starts.start(texts)) is not None:
        return toolkit
    for index, name in enumerate(names):
        following = texts[index + 1 : index + 2]
        command_line = name in CLI or (texts[index] in _MODULES and texts[index - 1] == "-m")
        if command_line and following == ["train"]:
            return index + 2
        if _SCRIPT.fullmatch(texts[index]) and (index == 0 or any(n in STARTERS for n in names[:index])):
            return index + 1
    return None
