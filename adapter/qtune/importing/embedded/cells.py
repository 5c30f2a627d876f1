"""Notebooks, and Markdown with fenced code, as one Python program: their cells are read together.

A shell line becomes the call that IPython makes of it, on the same line.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, from_json
from qtune.importing.embedded import program, windows
from qtune.importing.embedded.start import held, nothing_starts
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted
from qtune.importing.source import ImportedFile

_SHELL_LINE = re.compile(r"(\s*)(?:\w+\s*=\s*)?!!?(.+)", re.DOTALL)
_MAGIC = re.compile(r"(\s*)%(\w+)[ \t]*(.*)")
_HELP = re.compile(r"\s*\?.*|\s*[\w.]+\?{1,2}\s*")
_INTERPOLATED = re.compile(r"\{(\w+)\}|\$(\w+)")
_AROUND = ("capture", "time", "timeit", "prun")  # cell magics with Python below them

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)")
_PYTHON = ("python", "py", "python3", "ipython")
_SHELL = ("bash", "sh", "shell", "console", "zsh", "shell-session")
_WINDOWS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("bat", "batch", "cmd", "dos"), windows.of_batch),
    **dict.fromkeys(("powershell", "ps1", "pwsh"), windows.of_powershell),
}
_PROMPT = re.compile(r"(?m)^[ \t]*(?:\$|\(\w+\) \$)[ ]")
_STARTS = re.compile(r"llamafactory|\bpython|\btorchrun|\bdeepspeed|\baccelerate")
_NAMED = re.compile(r"[\w./-]+\.(?:ya?ml|json)\b")


def notebook(source: ImportedFile, project: Project) -> Original | None:
    """A notebook as the training that its cells start or describe, None where the file is none."""
    if source.path.suffix != ".ipynb":
        return None
    texts, places, part, first = [], [], Translation(), 1
    code = list(_code(source))
    if sum(len(text or "") for text in code) > MAX_BYTES:
        fix = "import the config that it trains"
        raise QtuneError(f"holds more than {MAX_BYTES:,} characters of code", where=source.display, fix=fix)
    for number, text in enumerate(code, 1):
        if text is None:
            continue
        name = f"{source.display} cell {number}"
        python = _python(text)
        if not _is_python(python):
            part += noted("", "left out: no Python that qtune can read", replace(source, display=name).at(1))
            python = "\n" * text.count("\n")
        texts.append(python)
        places.append((first, name))
        first += python.count("\n") + 1
    source = replace(source, text="\n".join(texts), cells=tuple(places))
    return _read("a notebook", source, project, part)


def markdown(source: ImportedFile, project: Project) -> Original | None:
    """Markdown as the training that its fenced code starts or describes, None where the file is none."""
    if source.path.suffix not in (".md", ".markdown"):
        return None
    lines = source.text.split("\n")
    program_lines, written = [""] * len(lines), dict(source.written)
    for language, first, body in _fences(lines):
        text = "\n".join(body)
        if language in _PYTHON:
            if _is_python(python := _python(text)):
                program_lines[first : first + len(body)] = python.split("\n")
        elif language in ("yaml", "yml", "json"):
            named = _NAMED.findall("\n".join((*lines[max(0, first - 4) : first], *body[:1])))
            written |= held(named[-1] if named else f"the fence on line {first}", text, first + 1, source)
        elif language in _SHELL or language in _WINDOWS or (not language and _STARTS.search(text)):
            text = _WINDOWS[language](text) if language in _WINDOWS else _PROMPT.sub("", text)
            program_lines[first - 1] = f"get_ipython().run_cell_magic('bash', '', {text!r})"
    source = replace(source, text="\n".join(program_lines), written=written)
    return _read("a Markdown page", source, project, Translation())


def _read(kind: str, source: ImportedFile, project: Project, part: Translation) -> Original:
    original = program.recognise(kind, source, project)
    if original is None:
        raise nothing_starts(kind, source)
    return replace(original, part=part + original.part)


def _code(source: ImportedFile) -> Iterator[str | None]:
    """The text of each cell, None for one without code."""
    try:
        data: Any = from_json(source.text)
    except ValueError:
        data = None
    cells = data.get("cells") if isinstance(data, dict) else None
    if not isinstance(cells, list):
        fix = "save it as a notebook again, or import the config that it trains"
        raise QtuneError("is no Jupyter notebook", where=source.display, fix=fix)
    for cell in cells:
        is_code = isinstance(cell, dict) and cell.get("cell_type") == "code"
        given = cell.get("source", "") if is_code else None
        text = "".join(str(line) for line in given) if isinstance(given, list) else given
        yield text.removesuffix("\n") if isinstance(text, str) else None


def _python(cell: str) -> str:
    """A cell in plain Python, line by line."""
    first, _, body = cell.partition("\n")
    if first.startswith("%%"):
        magic, _, line = first[2:].partition(" ")
        if magic not in _AROUND:
            call = f"get_ipython().run_cell_magic({magic!r}, {line.strip()!r}, {body!r})"
            return call + "\n" * body.count("\n") + ("\n" if body else "")
        cell = f"\n{body}"
    lines: list[str] = []
    waiting = iter(cell.split("\n"))
    for line in waiting:
        taken = [line]
        if _SHELL_LINE.fullmatch(line):
            while taken[-1].rstrip().endswith("\\") and (following := next(waiting, None)) is not None:
                taken.append(following)
        lines += [_plain_line("\n".join(taken)), *[""] * (len(taken) - 1)]
    return "\n".join(lines)


def _plain_line(line: str) -> str:
    """One line of a cell in plain Python."""
    if match := _SHELL_LINE.fullmatch(line):
        names = {name for pair in _INTERPOLATED.findall(match[2]) for name in pair}
        given = "".join(f", {name}={name}" for name in sorted(names) if _is_name(name))
        return f"{match[1]}get_ipython().system({match[2]!r}{given})"
    if match := _MAGIC.fullmatch(line):
        magic, rest = match[2], match[3].strip()
        if magic == "cd":
            return f"{match[1]}os.chdir({rest!r})"
        if magic in ("env", "set_env") and (pair := re.split(r"[= ]", rest, maxsplit=1))[1:]:
            return f"{match[1]}os.putenv({pair[0]!r}, {pair[1].strip()!r})"
        if magic == "run":
            return f"{match[1]}get_ipython().system({'python ' + rest!r})"
        return f"{match[1]}pass"
    return "pass" if _HELP.fullmatch(line) else line


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _is_python(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _fences(lines: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    """(language, how many lines stand above its first one, lines without the indent) of each fence."""
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        at += 1
        if opening is None:
            continue
        first, body, indent = at, [], len(opening["indent"])
        while at < len(lines) and not lines[at].strip().startswith(opening["fence"]):
            body.append(lines[at][indent:] if not lines[at][:indent].strip() else lines[at])
            at += 1
        at += 1
        yield opening["language"].lower(), first, body
