"""How a command starts its processes: what torchrun, deepspeed, accelerate and the environment are told."""

from __future__ import annotations

import re
from pathlib import PurePath

from qtune.importing.parts import Translation, noted, refused
from qtune.importing.scripts.nodes import NODE_OPTIONS, RANKS, node_option, rank, settled, unknown_option
from qtune.importing.scripts.shell import Command, Word
from qtune.importing.source import ImportedFile
from qtune.values import Origin, Value

CLI = ("llamafactory-cli", "lmf")
STARTERS = ("python", "python3", "torchrun", "deepspeed", "accelerate")
_FLAG = re.compile(r"--?[A-Za-z_][\w-]*(?:=.*)?", re.DOTALL)
_PROCESSES = ("nproc_per_node", "nproc-per-node", "num_gpus", "num_processes")
# What LLaMA-Factory's launcher decides itself, and where logs go.
_DECIDED = ("rdzv_backend", "tee", "log_dir")
_BARE = ("standalone", "m", "u", "multi_gpu", "module", "no_python", "no_local_rank")
_LAUNCHER_VARIABLES = ("NPROC_PER_NODE", "NNODES")
_NODE_VARIABLES = (
    *("NNODES", "MASTER_ADDR", "MASTER_PORT"),
    *("MAX_RESTARTS", "RDZV_ID", "MIN_NNODES", "MAX_NNODES"),
)


def processes(command: Command, start: int, source: ImportedFile) -> Translation:
    """What the words before the script's name and the variables say of the processes, on all nodes."""
    part = launcher(command, start, source) + environment(command, source)
    names = [PurePath(word.text).name for word in command.words[:start]]
    return settled(part, total="accelerate" in names)


def launcher(command: Command, start: int, source: ImportedFile) -> Translation:
    """What torchrun, deepspeed or accelerate is told before the script's name."""
    words = list(command.words[:start])
    names = [PurePath(word.text).name for word in words]
    starter = next((name for name in names if name in STARTERS), None)
    part = Translation()
    if starter is None:
        return part
    if starter.startswith("python") and "torch.distributed.launch" not in names:
        if names[-1] == "train":
            return part  # python -m llamafactory.cli: the command line's own count
        return part + _processes("1", source, words[0], "one process, without a launcher")
    index = names.index(starter) + 1
    while index < len(words) - 1:
        word = words[index]
        index += 1
        if not is_flag(word):
            part += holes([word], source)
            continue
        name, equals, text = word.text.lstrip("-").partition("=")
        key = name.replace("-", "_")
        if not equals and key not in _BARE and index < len(words) - 1 and not is_flag(words[index]):
            text = words[index].text
            index += 1
        hole = word.hole or (words[index - 1].hole if not equals else None)
        if hole and key in NODE_OPTIONS and NODE_OPTIONS[key] != "nnodes":
            part += unknown_option(key, place(source, word))
        elif hole and key not in (*RANKS, *_DECIDED):
            part += holes([Word(text, word.line, hole)], source, key)
        else:
            part += _launcher_option(key, text, source, word, starter)
    return part


def environment(command: Command, source: ImportedFile) -> Translation:
    """The variables before the command and those exported above it; values are not repeated, for secrets."""
    part = Translation()
    variables = {**command.exported, **command.assigned}
    # one process for each device that it sees is the command line's way (llamafactory/launcher.py)
    by_devices = "NPROC_PER_NODE" not in variables and any(
        PurePath(word.text).name in CLI for word in command.words
    )
    for name, word in variables.items():
        origin = place(source, word)
        counts = name == "CUDA_VISIBLE_DEVICES" and by_devices
        if name in _LAUNCHER_VARIABLES or counts:
            part += holes([word], source, name)
        if word.hole and (name in _LAUNCHER_VARIABLES or counts):
            continue
        if name == "NPROC_PER_NODE":
            part += _processes(word.text, source, word, name)
        elif name in _NODE_VARIABLES:
            key = name.lower()
            part += unknown_option(key, origin) if word.hole else node_option(key, word.text, origin)
        elif name == "FORCE_TORCHRUN":
            part += noted(name, "left out: qtune sets it where it is needed", origin)
        elif name.lower() in RANKS:
            part += rank(name, origin)
        else:
            if counts and word.text:
                devices = len([device for device in word.text.split(",") if device.strip()])
                part += _processes(str(devices), source, word, "one for each device it names")
            message = "is no part of a preset: set it where you start `qtune train`, which passes it on"
            part += noted(name, message, origin)
    return part


def _launcher_option(key: str, text: str, source: ImportedFile, word: Word, starter: str) -> Translation:
    origin = place(source, word)
    if key in _PROCESSES:
        return _processes(text, source, word, f"{key} of {starter}")
    if key in NODE_OPTIONS:
        return node_option(key, text, origin)
    if key in RANKS:
        return rank(key, origin)
    if key == "include" and starter == "deepspeed":
        hosts = [host.partition(":")[2] for host in text.split("@")]
        if len(hosts) == 1 and hosts[0]:
            return _processes(str(len(hosts[0].split(","))), source, word, "--include of deepspeed")
    if key in _DECIDED:
        return noted(key, "left out: LLaMA-Factory's launcher has its own", origin)
    if key in _BARE:
        return Translation()
    fix = "take it out of the script, if the training does without it"
    return refused(key, f"qtune starts LLaMA-Factory itself, without this option of {starter}", fix, origin)


def _processes(text: str, source: ImportedFile, word: Word, why: str) -> Translation:
    origin = place(source, word)
    if text in ("auto", "gpu"):
        return noted("nproc_per_node", f"left out: {text} is what qtune does", origin)
    if not text.isdigit() or int(text) < 1:
        fix = "write a number there"
        return refused("nproc_per_node", f"`{text}` is no number of processes", fix, origin)
    part = Translation({("launch", "nproc_per_node"): Value(int(text), origin)})
    return part + noted("nproc_per_node", f"launch.nproc_per_node: {text} ({why})", origin)


def holes(words: list[Word], source: ImportedFile, key: str = "") -> Translation:
    """An error for each word of which a part is not known."""
    part = Translation()
    for word in words:
        if word.hole:
            fix = "write the value there, or set the variable above the command"
            part += refused(key, word.hole, fix, place(source, word))
    return part


def is_flag(word: Word) -> bool:
    """Whether the word is the name of an option, such as `--stage` or `--stage=sft`."""
    return _FLAG.fullmatch(word.text) is not None


def place(source: ImportedFile, word: Word) -> Origin:
    """Where the word stands in the script."""
    return source.at(word.line)
