"""How a command starts its processes: what torchrun, deepspeed, accelerate and the environment are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath

from qtune.errors import QtuneError
from qtune.importing.accelerate import settings as accelerate
from qtune.importing.accelerate.translate import translate
from qtune.importing.parts import Note, Translation, noted, refused
from qtune.importing.retype import plain
from qtune.importing.scripts.nodes import NODE_OPTIONS, RANKS, node_option, rank, settled, unknown_option
from qtune.importing.scripts.shell import Command, Word
from qtune.importing.scripts.slurm import Job
from qtune.importing.scripts.substitutions import GPUS, NODES
from qtune.importing.source import ImportedFile
from qtune.importing.stock import stock_file
from qtune.values import KeyPath, Origin, Value

CLI = ("llamafactory-cli", "lmf")
STARTERS = ("python", "python3", "torchrun", "deepspeed", "accelerate", "tune")
_FLAG = re.compile(r"--?[A-Za-z_][\w.-]*(?:=.*)?", re.DOTALL)
_PROCESSES = ("nproc_per_node", "nproc-per-node", "num_gpus", "num_processes")
# What LLaMA-Factory's launcher decides itself, and where logs go.
_DECIDED = ("rdzv_backend", "tee", "log_dir")
_BARE = ("standalone", "m", "u", "module", "no_python", "no_local_rank")
_LAUNCHER_VARIABLES = ("NPROC_PER_NODE", "NNODES")
_NODE_VARIABLES = (
    *("NNODES", "MASTER_ADDR", "MASTER_PORT"),
    *("MAX_RESTARTS", "RDZV_ID", "MIN_NNODES", "MAX_NNODES"),
)
_DEVICES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_ELSEWHERE = "of a preset: set {} where you start `qtune train`, which passes {} on"
_ONE_NODE = "left out: one node needs none"
_PLACED = "left out: Slurm gives the nodes and their address"
_OPEN = "write the value there, or set the variable above the command"


def processes(
    command: Command,
    start: int,
    source: ImportedFile,
    keys: Mapping[str, Value],
    job: Job,
    gpus: Word | None,
) -> tuple[dict[str, Value], Translation]:
    """(arguments that accelerate decides, what starts the processes on all nodes).

    keys: the training's own arguments; job: what Slurm is asked for; gpus: those that a container gives.
    """
    decided: dict[str, Value] = {}
    words = list(command.words[:start])
    starter = next((name for word in words if (name := PurePath(word.text).name) in STARTERS), None)
    if starter == "accelerate":
        decided, part = _accelerate(command, words, source, keys)
    else:
        part = _launcher(command, words, source, starter)
    if (
        job.tasks > 1
        and part.values.get(("launch", "nproc_per_node")) is not None
        and starter in STARTERS[:2]
    ):
        # each of Slurm's tasks is a process
        part = Translation(findings=part.findings)
    part += _environment(command, source, job, gpus)
    if job.asked:
        part = _placed(part)
    return decided, settled(part, job=job.nodes)


def _launcher(command: Command, words: list[Word], source: ImportedFile, starter: str | None) -> Translation:
    """What python, torchrun or deepspeed is told before the script's name."""
    part = Translation()
    names = [PurePath(word.text).name for word in words]
    if starter is None:
        return part
    if starter.startswith("python") and not {"torch.distributed.launch", "torch.distributed.run"} & {*names}:
        if names[-1] == "train":
            return part  # python -m llamafactory.cli: the command line's own count
        return part + _processes(
            Word("1", words[0].line), command, source, words[0], "one process, without a launcher"
        )
    for key, value, word in _options(words, names.index(starter) + 1, _BARE):
        if key is None:
            part += holes([word], source)
        elif value.hole and key in NODE_OPTIONS and (NODE_OPTIONS[key] != "nnodes" or value.means):
            part += unknown_option(key, place(source, word))
        elif value.hole and not value.means and key not in (*RANKS, *_DECIDED):
            part += holes([replace(value, line=word.line)], source, key)
        else:
            part += _launcher_option(key, value, command, source, word, starter)
    return part


def _options(words: list[Word], index: int, bare: tuple[str, ...]) -> Iterator[tuple[str | None, Word, Word]]:
    """(the name of an option, its value, the word it stands in); None for a word that is no option."""
    while index < len(words) - 1:
        word = words[index]
        index += 1
        if not is_flag(word):
            yield None, word, word
            continue
        name, equals, text = word.text.lstrip("-").partition("=")
        key, value = name.replace("-", "_"), replace(word, text=text)
        if not equals and key not in bare and index < len(words) - 1 and not is_flag(words[index]):
            value = words[index]
            index += 1
        yield key, value, word


def _accelerate(
    command: Command,
    words: list[Word],
    source: ImportedFile,
    keys: Mapping[str, Value],
) -> tuple[dict[str, Value], Translation]:
    """accelerate's flags, and the file that they name; the flags win."""
    flags: dict[str, Value] = {}
    settings: dict[KeyPath, Value] = {}
    part = Translation()
    names = [PurePath(word.text).name for word in words]
    for key, value, word in _options(words, names.index("accelerate") + 2, accelerate.BARE):
        origin = place(source, word)
        if key is None:
            part += holes([word], source)
        elif key == "config_file":
            settings, one = _config_file(value, source, origin)
            part += one
        elif key in RANKS:
            part += rank(key, origin)
        elif value.hole and value.means == GPUS and key == "num_processes":
            part += _processes(value, command, source, word, "num_processes of accelerate")
        elif value.hole and key in NODE_OPTIONS:
            part += unknown_option(key, origin)
        elif value.hole:
            part += holes([value], source, key)
        elif key in ("rdzv_conf", "max_restarts"):
            part += node_option(key, value.text, origin)
        else:
            flags[key] = Value(plain(value.text) if value.text else True, origin)
    decided, one = translate({**settings, **accelerate.of_flags(flags)}, keys, source)
    return decided, one + part


def _config_file(
    value: Word, source: ImportedFile, origin: Origin
) -> tuple[dict[KeyPath, Value], Translation]:
    """The settings of accelerate's file, or of the one of that name in LLaMA-Factory's repository."""
    if value.hole:
        return {}, holes([value], source, "config_file")
    file = source.named(value.text)
    if file is not None:
        try:
            return accelerate.of_file(file), Translation()
        except QtuneError as error:
            return {}, refused("config_file", f"{error.where}: {error.what}", error.fix or "", origin)
    stock = stock_file("accelerate", value.text)
    if stock is None:
        fix = "put accelerate's file there, or import the script from where that path holds"
        return {}, refused("config_file", f"there is no {value.text}", fix, origin)
    part = noted("config_file", f"{value.text} is not here: {stock.display} is taken", origin)
    text = replace(source, keys=stock.content, lines={}, display=stock.display)
    return accelerate.of_file(text), part


def _environment(command: Command, source: ImportedFile, job: Job, gpus: Word | None) -> Translation:
    """The variables before the command and those exported above it; values are not repeated, for secrets."""
    part = Translation()
    variables = command.variables
    # one process for each device that it sees is the command line's way (llamafactory/launcher.py)
    by_devices = "NPROC_PER_NODE" not in variables and any(
        PurePath(word.text).name in CLI for word in command.words
    )
    elsewhere: list[str] = []
    first: Origin | None = None
    for name, word in variables.items():
        origin = place(source, word)
        counts = name in _DEVICES and by_devices and word.text not in ("", "all")
        if name == "NPROC_PER_NODE" and (word.means or not word.hole):
            part += _processes(word, command, source, word, name)
        elif name == "NNODES" and word.means == NODES:
            part += noted(name, "left out: it is the job's own" if job.asked else _ONE_NODE, origin)
        elif name in _LAUNCHER_VARIABLES and word.hole:
            part += holes([word], source, name)
        elif name in _NODE_VARIABLES:
            key = name.lower()
            part += unknown_option(key, origin) if word.hole else node_option(key, word.text, origin)
        elif name == "FORCE_TORCHRUN":
            part += noted(name, "left out: qtune sets it where it is needed", origin)
        elif name.lower() in RANKS:
            part += rank(name, origin)
        elif counts and word.hole:
            part += holes([word], source, name)
        elif name in _DEVICES:
            if counts:
                part += _processes(_length(word), command, source, word, "one for each device it names")
            part += noted(name, f"is no part {_ELSEWHERE.format('it', 'it')}", origin)
        else:
            elsewhere.append(name)
            first = first or origin
    if elsewhere:
        are, them = ("is", "it") if len(elsewhere) == 1 else ("are", "them")
        part += noted(", ".join(elsewhere), f"{are} no part {_ELSEWHERE.format(them, them)}", first)
    if gpus is not None and by_devices and not any(name in variables for name in _DEVICES):
        part += _given(gpus, command, source)
    return part


def _given(gpus: Word, command: Command, source: ImportedFile) -> Translation:
    """The GPUs of `docker run --gpus`: all, a number, or `device=0,1`."""
    text = gpus.text.strip("\"'")
    if text == "all":
        return noted("--gpus", "left out: all GPUs, as qtune takes them", place(source, gpus))
    devices = text.partition("device=")[2]
    count = (
        _length(replace(gpus, text=devices)) if devices else replace(gpus, text=text.removeprefix("count="))
    )
    return _processes(count, command, source, gpus, "--gpus of the container")


def _length(word: Word) -> Word:
    return replace(word, text=str(len([device for device in word.text.split(",") if device.strip()])))


def _launcher_option(
    key: str, value: Word, command: Command, source: ImportedFile, word: Word, starter: str
) -> Translation:
    origin, text = place(source, word), value.text
    if key in _PROCESSES:
        return _processes(value, command, source, word, f"{key} of {starter}")
    if key in NODE_OPTIONS:
        return node_option(key, text, origin)
    if key in RANKS:
        return rank(key, origin)
    if key == "include" and starter == "deepspeed":
        hosts = [host.partition(":")[2] for host in text.split("@")]
        if len(hosts) == 1 and hosts[0]:
            return _processes(
                _length(replace(value, text=hosts[0])), command, source, word, "--include of deepspeed"
            )
    if key in _DECIDED:
        return noted(key, "left out: LLaMA-Factory's launcher has its own", origin)
    if key in _BARE:
        return Translation()
    fix = "take it out of the script, if the training does without it"
    return refused(key, f"qtune starts LLaMA-Factory itself, without this option of {starter}", fix, origin)


def _processes(value: Word, command: Command, source: ImportedFile, word: Word, why: str) -> Translation:
    """launch.nproc_per_node; nothing of it where it is the number of all GPUs."""
    origin, text = place(source, word), value.text
    if value.means == GPUS:
        devices = command.variables.get("CUDA_VISIBLE_DEVICES")
        if devices is None or devices.hole or not devices.text:
            return noted("nproc_per_node", "left out: as many as there are GPUs, as qtune does", origin)
        text = _length(devices).text
    elif text in ("auto", "gpu"):
        return noted("nproc_per_node", f"left out: {text} is what qtune does", origin)
    if not text.isdigit() or int(text) < 1:
        fix = "write a number there"
        return refused("nproc_per_node", f"`{text}` is no number of processes", fix, origin)
    part = Translation({("launch", "nproc_per_node"): Value(int(text), origin)})
    return part + noted("nproc_per_node", f"launch.nproc_per_node: {text} ({why})", origin)


def _placed(part: Translation) -> Translation:
    """One note in place of those about addresses that only the script's job knows, which Slurm gives."""
    unknown = [note for note in part.notes if note.message.startswith("left out: where several nodes train")]
    if not unknown:
        return part
    notes = tuple(note for note in part.notes if note not in unknown)
    said = Note(", ".join(dict.fromkeys(note.key for note in unknown)), _PLACED, unknown[0].origin)
    return replace(part, notes=(*notes, said))


def holes(words: list[Word], source: ImportedFile, key: str = "") -> Translation:
    """An error for each word of which a part is not known."""
    part = Translation()
    for word in words:
        if word.hole:
            part += refused(key, word.hole, _OPEN, place(source, word))
    return part


def at_once(part: Translation) -> Translation:
    """One error for one hole, wherever the script puts it in."""
    found: dict[tuple[str, str | None], list[int]] = {}
    for index, finding in enumerate(part.findings):
        cause = finding.message if finding.fix == _OPEN else str(index)
        found.setdefault((cause, finding.fix), []).append(index)
    findings = []
    for indices in found.values():
        keys = dict.fromkeys(part.findings[index].key for index in indices)
        findings.append(replace(part.findings[indices[0]], key=", ".join(filter(None, keys))))
    return replace(part, findings=tuple(findings))


def is_flag(word: Word) -> bool:
    """Whether the word is the name of an option, such as `--stage` or `--stage=sft`."""
    return _FLAG.fullmatch(word.text) is not None


def place(source: ImportedFile, word: Word) -> Origin:
    """Where the word stands in the script."""
    return source.at(word.line)
