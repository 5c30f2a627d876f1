"""What a job of Slurm is asked for, in `#SBATCH` lines or as options, as `launch.slurm`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qtune.checks.rules.clusters import OWNED
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.scripts.forms import Option
from qtune.importing.scripts.shell import Word
from qtune.importing.source import ImportedFile
from qtune.secrets.text import holds
from qtune.values import Origin, Value

# sbatch(1) and srun(1).
_SHORT = {
    **{"A": "account", "a": "array", "B": "extra-node-info", "b": "begin", "C": "constraint"},
    **{"c": "cpus-per-task", "D": "chdir", "d": "dependency", "e": "error", "F": "nodefile", "G": "gpus"},
    **{"H": "hold", "i": "input", "J": "job-name", "k": "no-kill", "L": "licenses", "M": "clusters"},
    **{"m": "distribution", "N": "nodes", "n": "ntasks", "O": "overcommit", "o": "output"},
    **{"p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec", "s": "oversubscribe", "t": "time"},
    **{"v": "verbose", "W": "wait", "w": "nodelist", "x": "exclude", "l": "label", "u": "unbuffered"},
    **{"K": "kill-on-bad-exit", "E": "preserve-env", "r": "relative", "T": "threads", "X": "disable-status"},
}
_TIMES = ("time", "time-min", "begin", "deadline")
_TASKS = (
    "ntasks",
    "ntasks-per-node",
    "ntasks-per-gpu",
    "ntasks-per-socket",
    "gpus-per-task",
    "tres-per-task",
)
_LEFT_OUT = {
    **OWNED,
    **dict.fromkeys(_TASKS, "one task for each node starts its processes"),
    **dict.fromkeys(("output", "error", "open-mode"), "the run's directory keeps what a job prints"),
    "signal": "qtune has its own, upon which it writes a checkpoint",
    "no-requeue": "qtune's jobs are not requeued anyway",
    "input": "a training reads none",
    "chdir": "a job of qtune runs in the project's directory",
    # srun's: about a step within the job
    **dict.fromkeys(
        ("label", "unbuffered", "kill-on-bad-exit", "pty", "mpi", "relative", "threads", "overlap", "exact"),
        "qtune's own srun starts the nodes",
    ),
    **dict.fromkeys(
        ("disable-status", "preserve-env", "quiet", "verbose"), "qtune's own srun starts the nodes"
    ),
}
# Options of a container plugin, which srun takes as well.
_CONTAINER = "container"
_JOB_ID = re.compile(r"\d+")
_GPU = re.compile(r"(?:gres[:/])?gpu(?::(?P<kind>[A-Za-z][\w.-]*))?(?::(?P<count>\d+))?(?:\(S:[\d,-]+\))?")
_TYPED = re.compile(r"(?:(?P<kind>[A-Za-z][\w.-]*):)?(?P<count>\d+)")
_NODES = re.compile(r"(?P<least>\d+)(?:-(?P<most>\d+))?")
_HEADER = re.compile(r"#SBATCH\s+(.*)")
_FOREIGN = re.compile(r"#(PBS|BSUB|COBALT|OAR|PJM|DSUB|\$)\s+-")
_PLAIN = re.compile(r"0|[1-9]\d*")


@dataclass(frozen=True)
class Job:
    """What is known of a job: `part` for the preset, its nodes, 0 for no job, and the tasks on each."""

    part: Translation = field(default_factory=Translation)
    tasks: int = 1
    nodes: int = 0

    @property
    def asked(self) -> bool:
        return self.nodes > 0


def headers(text: str, line: int, source: ImportedFile) -> tuple[list[Option], Translation]:
    """(the options of a script's `#SBATCH` lines, what to say of those that sbatch does not read).

    line: the number of the text's first one.
    """
    options: list[Option] = []
    late: list[int] = []
    foreign: dict[str, list[int]] = {}
    started = False
    for number, content in enumerate(text.splitlines(), line):
        if header := _HEADER.match(content):
            if started:
                late.append(number)
            else:
                options += _words(header[1], number)
        elif other := _FOREIGN.match(content):
            foreign.setdefault(other[1], []).append(number)
        # sbatch(1): no more of them after the first line that is neither empty nor a comment
        started |= text.startswith("#!") and bool(content.strip()) and not content.startswith("#")
    part = Translation()
    if late:
        message = (
            f"stands after the first command (line {', '.join(map(str, late))}): sbatch does not read it"
        )
        part += warned("#SBATCH", message, "add it to launch.slurm, if it is meant", _at(source, late[0]))
    for name, lines in foreign.items():
        message = f"asks another scheduler (line {', '.join(map(str, lines))}): qtune submits to Slurm alone"
        part += warned(f"#{name}", message, "put `qtune train` in such a job yourself", _at(source, lines[0]))
    return options, part


def _words(text: str, line: int) -> list[Option]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a quote that nothing closes
        words = text.split()
    options: list[Option] = []
    for word in words:
        name, _, value = word.partition("=")
        if not word.startswith("-") and options and options[-1][1] is not None and not options[-1][1].text:
            options[-1] = options[-1][0], Word(word, line)
        elif word.startswith("--"):
            options.append((name, Word(value, line)))
        elif word.startswith("-"):
            options.append((word[:2], Word(word[2:], line)))
    return options


def job(options: Sequence[Option], source: ImportedFile, line: int) -> Job:
    """The options, the later ones before the earlier, as `launch`; every one is a value, a note or a finding.

    line: where the command stands that they belong to.
    """
    asked: dict[str, Value] = {}
    for option, word in options:
        name = option.removeprefix("--") if option.startswith("--") else _SHORT.get(option[1:], option[1:])
        at = _at(source, word.line if word else line)
        asked.pop(name, None)
        asked[name] = Value(word.text if word is not None and word.text else True, at)
    nodes, part = _nodes(asked)
    tasks = _number(asked, "ntasks-per-node") or -(-(_number(asked, "ntasks") or nodes) // nodes)
    part += _gpus(asked, nodes, tasks)
    for name, value in asked.items():
        if name != "nodes":
            part += _option(name, value, tasks)
    part = _left_out_at_once(part)
    first = asked[next(iter(asked))].origin if asked else _at(source, line)
    return Job(Translation({("launch", "launcher"): Value("slurm", first)}) + part, tasks, nodes)


def by_mpi(tasks: int, origin: Origin) -> Job:
    """The processes of mpirun, which qtune starts by torchrun."""
    part = Translation({("launch", "nproc_per_node"): Value(tasks, origin)})
    message = f"launch.nproc_per_node: {tasks}, started by torchrun; several hosts are launch.nnodes"
    return Job(part + noted("mpirun", message, origin), tasks)


def _nodes(asked: dict[str, Value]) -> tuple[int, Translation]:
    given = asked.get("nodes")
    match = _NODES.fullmatch(str(given.value)) if given else None
    if given is None:
        return 1, Translation()
    if match is None:
        return 1, warned("nodes", f"`{given.value}` is no number", "set launch.nnodes", given.origin)
    least = int(match["least"])
    part = Translation({("launch", "nnodes"): Value(least, given.origin)} if least > 1 else {})
    if match["most"] and match["most"] != match["least"]:
        message = f"from {least} to {match['most']}: launch.nnodes is {least}"
        part += warned("nodes", message, "set launch.nnodes to how many should train", given.origin)
    elif least == 1:
        part += noted("nodes", "left out: one node is what holds anyway", given.origin)
    return least, part


def _gpus(asked: dict[str, Value], nodes: int, tasks: int) -> Translation:
    """launch.nproc_per_node from whatever says how many GPUs a node has."""
    for name, share in (
        *(("gpus-per-node", 1), ("gres", 1), ("tres-per-node", 1)),
        *(("gpus-per-task", -tasks), ("tres-per-task", -tasks), ("gpus", nodes)),
    ):
        given = asked.get(name)
        pattern = _TYPED if name.startswith("gpus") else _GPU
        items = str(given.value).split(",") if given else []
        match = next((found for item in items if (found := pattern.fullmatch(item))), None)
        if given is None or match is None:
            continue
        count = int(match["count"] or 1)
        count = count * -share if share < 0 else count // share
        part = Translation({("launch", "nproc_per_node"): Value(count, given.origin)})
        part += noted(
            name, f"launch.nproc_per_node: {count}, one process for each GPU of a node", given.origin
        )
        if name in ("gpus", "gpus-per-task", "tres-per-task", "gpus-per-node"):
            asked.pop(name)
            if match["kind"]:
                asked["gpus-per-node"] = Value(f"{match['kind']}:{count}", given.origin)
        return part
    if tasks > 1:
        task = asked.get("ntasks-per-node") or asked["ntasks"]
        part = Translation({("launch", "nproc_per_node"): Value(tasks, task.origin)})
        return part + noted("ntasks", f"launch.nproc_per_node: {tasks}, one process a task", task.origin)
    return Translation()


def _option(name: str, value: Value, tasks: int) -> Translation:
    origin = value.origin
    if name == "array":
        fix = "start `qtune train` once for each, with --set"
        return warned("array", f"{value.value}: one job carries out one run", fix, origin)
    if name.startswith(_CONTAINER):
        message = f"{value.value}: qtune starts in the environment that it is submitted from"
        return warned(name, message, "start `qtune train` in that container", origin)
    if name in _LEFT_OUT:
        return noted(name, f"left out: {_LEFT_OUT[name]}", origin)
    if holds({name: value.value}) or (name == "export" and "=" in str(value.value)):
        fix = "set its variables where you start `qtune train`, whose job has them all"
        return warned(name, "holds values of variables, which are not copied", fix, origin)
    if isinstance(value.value, str) and ("\\" in value.value or not value.value.isprintable()):
        return warned(name, "has a character that no option takes", "add it to launch.slurm", origin)
    given = value.value
    if isinstance(given, str) and _PLAIN.fullmatch(given) and name not in _TIMES:
        given = int(given)
    part = Translation({("launch", "slurm", name): replace(value, value=given)})
    if name == "cpus-per-task" and tasks > 1 and isinstance(given, int):
        part = Translation({("launch", "slurm", name): replace(value, value=given * tasks)})
        part += noted(name, f"{given * tasks}: qtune's one task a node in place of {tasks}", origin)
    if name == "dependency" and _JOB_ID.search(str(given)):
        message = f"{given} names a job: it holds for one start only"
        part += warned(name, message, "take it out of launch.slurm once that job has ended", origin)
    return part


def _left_out_at_once(part: Translation) -> Translation:
    """One note for all options that are left out for one reason."""
    reasons: dict[str, list[int]] = {}
    for index, note in enumerate(part.notes):
        reasons.setdefault(note.message, []).append(index)
    notes = [
        replace(part.notes[found[0]], key=", ".join(part.notes[index].key for index in found))
        for found in reasons.values()
    ]
    return replace(part, notes=tuple(notes))


def _number(asked: dict[str, Value], name: str) -> int:
    given = asked.get(name)
    return int(given.value) if given and str(given.value).isdigit() else 0


def _at(source: ImportedFile, line: int) -> Origin:
    return source.at(line)
