"""The commands inside others: what `bash -c`, `docker run`, `srun`, `env` and the like start in the end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qtune.importing.parts import Translation, noted
from qtune.importing.scripts.forms import Form, Option, form_of
from qtune.importing.scripts.shell import Command, HereDocument, Word, commands
from qtune.importing.source import ImportedFile

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_WITHOUT_TEXT = re.compile(r"-[^c\s]*|--\w[\w-]*")
_DEEPEST = 8
_ENTERED = ("-w", "--workdir", "--pwd", "--cwd", "-D", "--chdir", "--directory", "-C")
_TASKS = ("-np", "-n", "-c")
_MOUNTS = ("-v", "--volume", "-B", "--bind")


@dataclass(frozen=True)
class Inside:
    """A command, and what was around it.

    prefixes, hosts, containers: in the script's words. slurm: options of srun, salloc and sbatch.
    submitted: whether sbatch took it; stepped: whether srun starts it, on each node. scripts: the
    here-documents that it stands in. tasks: mpirun's processes. gpus: those that its container sees.
    mounts: (path in the container, path outside). directories: those that it starts in.
    """

    command: Command
    prefixes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    slurm: tuple[Option, ...] = ()
    submitted: bool = False
    stepped: bool = False
    scripts: tuple[HereDocument, ...] = ()
    tasks: Word | None = None
    gpus: Word | None = None
    mounts: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()

    def starting(self, words: Sequence[Word], assigned: Mapping[str, Word] | None = None) -> Inside:
        """The same around the command of these words."""
        variables = {**self.command.assigned, **(assigned or {})}
        return replace(self, command=replace(self.command, words=tuple(words), assigned=variables))


def unwrapped(command: Command) -> list[Inside]:
    """The commands that are started in the end, one after the other."""
    return list(_inside(Inside(command), _DEEPEST))


def _inside(outer: Inside, depth: int) -> Iterator[Inside]:
    name, form, at = form_of(outer.command.words)
    inner: Iterator[Inside] = iter(())
    if depth and form is not None:
        if form.group == "shells":
            inner = _shell(outer, form, at)
        elif form.group == "slurm":
            inner = _slurm(outer, name, form, at)
        else:
            inner = _within(outer, name, form, at)
    found = list(inner)
    if not found:
        yield outer
    for one in found:
        yield from _inside(one, depth - 1)


def _within(outer: Inside, name: str, form: Form, at: int) -> Iterator[Inside]:
    words = outer.command.words
    options, at = form.options(words, at)
    own = " ".join(word.text for word in words[at : at + form.skips])
    rest = list(words[at + form.skips :])
    rest, assigned = _assignments(rest[1:] if rest and rest[0].text == "--" else rest)
    entered = tuple(value.text for option, value in options if value and option in _ENTERED)
    outer = replace(outer, directories=(*outer.directories, *entered))
    if form.group == "containers":
        outer, rest, assigned = _container(outer, f"{name} {own}", options, rest)
    elif form.group == "hosts":
        outer = replace(outer, hosts=(*outer.hosts, own))
    elif form.group == "mpi":
        outer = replace(outer, tasks=next((value for option, value in options if option in _TASKS), None))
    elif form.group == "prefixes":
        said = " ".join(word.text for word in words[: len(words) - len(rest) - len(assigned)])
        outer = replace(outer, prefixes=(*outer.prefixes, said))
    inner = outer.starting(rest, assigned)
    if form.text or (not rest and outer.command.document):
        yield from _text(inner, " ".join(word.text for word in rest), words[0].line)
    elif rest:
        yield inner


def _assignments(words: Sequence[Word]) -> tuple[list[Word], dict[str, Word]]:
    """The words after `NAME=value …`, and those variables."""
    assigned: dict[str, Word] = {}
    rest = list(words)
    while rest and (match := _ASSIGNMENT.fullmatch(rest[0].text)):
        assigned[match[1]] = replace(rest.pop(0), text=match[2])
    return rest, assigned


def _shell(outer: Inside, form: Form, at: int) -> Iterator[Inside]:
    """`bash -c TEXT`, and a here-document that is given to a shell; nothing of another file."""
    words = outer.command.words
    while at < len(words) and _WITHOUT_TEXT.fullmatch(words[at].text):
        at += 2 if words[at].text in form.takes else 1
    if at + 1 < len(words) and words[at].text.startswith("-"):
        yield from _text(outer, words[at + 1].text, words[at + 1].line)
    elif at >= len(words):
        yield from _text(outer, "", words[0].line)


def _slurm(outer: Inside, name: str, form: Form, at: int) -> Iterator[Inside]:
    """What srun and salloc start, and what sbatch is given as text; nothing of another file."""
    words = outer.command.words
    options, at = form.options(words, at)
    wrapped = next((value.text for option, value in options if option == "--wrap" and value), "")
    kept = tuple(option for option in options if option[0] != "--wrap")
    outer = replace(
        outer,
        slurm=(*outer.slurm, *kept),
        submitted=outer.submitted or name == "sbatch",
        stepped=outer.stepped or name == "srun",
    )
    if wrapped or (name == "sbatch" and at >= len(words)):
        yield from _text(outer, wrapped, words[0].line)
    elif name != "sbatch" and at < len(words):
        yield outer.starting(words[at:])


def _text(outer: Inside, text: str, line: int) -> Iterator[Inside]:
    """The commands of a text for a shell, or of the here-document that it is given."""
    command, document = outer.command, outer.command.document
    if not text.strip() and document:
        text, line = document.text, document.line
        outer = replace(outer, scripts=(*outer.scripts, document))
        document = None
    for inner in commands(text, line, command.variables):
        yield replace(outer, command=inner if inner.document else replace(inner, document=document))


def _container(
    outer: Inside, name: str, options: Sequence[Option], rest: list[Word]
) -> tuple[Inside, list[Word], dict[str, Word]]:
    """What a container's options say of its devices, paths and variables."""
    assigned: dict[str, Word] = {}
    mounts, said, gpus = [], [], outer.gpus
    for option, value in options:
        if value is None:
            continue
        if option in ("-e", "--env"):
            assigned |= _assignments([value])[1]
        elif option in _MOUNTS:
            outside, _, inside = value.text.partition(":")
            mounts.append(((inside or outside).split(":")[0], outside))
        elif option == "--mount":
            fields = dict(part.partition("=")[::2] for part in value.text.split(","))
            inside = next((fields[key] for key in ("target", "destination", "dst") if key in fields), "")
            mounts.append((inside, fields.get("source", fields.get("src", ""))))
        elif option == "--gpus":
            gpus = value
        elif option == "--entrypoint":
            rest = [value, *rest]
        else:
            said.append(f"{option} {value.text}")
    paths = [f"{outside} as {inside}" for inside, outside in mounts]
    words = ", ".join((name, *paths, *said))
    found = tuple((inside, outside) for inside, outside in mounts if inside)
    containers, mounted = (*outer.containers, words), (*outer.mounts, *found)
    return replace(outer, containers=containers, gpus=gpus, mounts=mounted), rest, assigned


def surroundings(inside: Inside, source: ImportedFile) -> Translation:
    """A note each on containers, hosts, and what else stood before the command."""
    origin = source.at(inside.command.line)
    part = Translation()
    if inside.containers:
        said = "; ".join(inside.containers)
        part += noted("", f"{said}: no part of a preset: start `qtune train` in that container", origin)
    if inside.hosts:
        said = ", ".join(inside.hosts)
        part += noted("", f"ssh {said}: no part of a preset: start `qtune train` on that machine", origin)
    if inside.prefixes:
        said = "`, `".join(inside.prefixes)
        part += noted("", f"`{said}` left out: put it before `qtune train`, where you need it", origin)
    return part
