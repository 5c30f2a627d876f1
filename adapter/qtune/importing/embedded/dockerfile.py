"""A Dockerfile as a shell script, line by line: what it runs, in the environment and directories it sets."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.files import from_json
from qtune.importing.embedded.containers import NOT_THE_IMAGE
from qtune.importing.embedded.start import in_a_container, nothing_starts
from qtune.importing.original import Original
from qtune.importing.parts import noted
from qtune.importing.scripts.shell import commands
from qtune.importing.source import ImportedFile

_NAME = re.compile(r"(?:Docker|Container)file.*|.*\.Dockerfile")
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_OPTIONS = re.compile(r"(?:--\w[\w-]*=\S+\s+)*")
_DOCUMENT = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_OLD_ENV = re.compile(r"([A-Za-z_]\w*)[ \t]+(.+)", re.DOTALL)


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """The training that a Dockerfile's command starts, None where the file is none."""
    if not _NAME.fullmatch(source.path.name):
        return None
    lines, images = _shell(source)
    original = in_a_container("a Dockerfile", commands("\n".join(lines)), source, project)
    if original is None:
        raise nothing_starts("a Dockerfile", source)
    part = original.part
    for line, image in images[-1:]:
        part += noted("FROM", f"{image} {NOT_THE_IMAGE}", source.at(line))
    return replace(original, part=part)


def _shell(source: ImportedFile) -> tuple[list[str], list[tuple[int, str]]]:
    """(the lines of a script that does the same, the images with their lines)."""
    lines: list[str] = []
    images: list[tuple[int, str]] = []
    entry: list[str] = []
    for first, text in _instructions(source.text):
        lines += [""] * (first - 1 - len(lines))
        match = _INSTRUCTION.fullmatch(text)
        word, rest = (match[1].upper(), _OPTIONS.sub("", match[2], count=1)) if match else ("", "")
        given = _json_words(rest)
        if word == "FROM":
            images.append((first, rest.split()[0]))
        elif word == "WORKDIR":
            lines.append(f"cd {rest}")
        elif word in ("ENV", "ARG"):
            old = _OLD_ENV.fullmatch(rest) if word == "ENV" and "=" not in rest.split()[0] else None
            rest = f"{old[1]}={shlex.quote(old[2])}" if old else rest
            rest = f"export {rest}" if word == "ENV" else rest
            lines += (rest if "=" in rest else "").split("\n")
        elif word == "ENTRYPOINT" and given is not None:
            entry = given
            lines.append(shlex.join(given))
        elif word == "CMD" and given is not None:
            if entry:  # the words after it
                at = next(number for number, line in enumerate(lines) if line == shlex.join(entry))
                lines[at] = ""
            lines.append(shlex.join([*entry, *given]))
        elif word == "COPY" and (opened := _DOCUMENT.match(rest)):
            to, _, body = rest[opened.end() :].partition("\n")
            lines += f"cat > {to.strip()} {opened[0]}\n{body}".split("\n")
        elif word == "RUN" and _DOCUMENT.match(rest):
            lines += f"bash {rest}".split("\n")
        elif word in ("RUN", "CMD", "ENTRYPOINT"):
            lines += (shlex.join(given) if given else rest).split("\n")
    return lines, images


def _instructions(text: str) -> list[tuple[int, str]]:
    """(line, text with its continued lines) of each instruction; comments are blank."""
    found: list[tuple[int, str]] = []
    goes_on, document = False, ""
    for number, line in enumerate(text.split("\n"), 1):
        if document:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}")
            document = "" if line.strip() == document else document
            continue
        shown = "" if line.lstrip().startswith("#") else line.rstrip()
        if goes_on:
            start, above = found[-1]
            # a comment between continued lines does not end them
            found[-1] = (start, f"{above}\n{shown or chr(92)}")
            goes_on = not shown or shown.endswith("\\")
        elif shown:
            found.append((number, shown))
            goes_on = shown.endswith("\\")
            opened = _DOCUMENT.search(shown)
            document = opened[1] if opened else ""
    return found


def _json_words(text: str) -> list[str] | None:
    """The words of an instruction in JSON's form, None where it is in a shell's."""
    try:
        words: Any = from_json(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None
