"""A Makefile's recipes as a shell script, line by line, with make's variables put in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from qtune.config.project import Project
from qtune.importing.embedded.start import nothing_starts, started
from qtune.importing.original import Original
from qtune.importing.scripts.shell import commands
from qtune.importing.source import ImportedFile

_NAME = re.compile(r"(?:GNU)?[Mm]akefile|.*\.mk")
_VARIABLE = re.compile(r"(export\s+|override\s+)?([\w.-]+)\s*(\?|::?|\+)?=\s*(.*)")
_RULE = re.compile(r"([^\s:#=][^:#=]*):(?!=)([^#]*)")
_REFERENCE = re.compile(r"\$(?:\$|[({]([\w.-]+)[)}]|([@<^])|(?=[({]))")
_OPENING = re.compile(r"if(?:n?eq|n?def)\b")
_PREFIX = re.compile(r"[@+\s-]*")
_LONGEST = 10_000  # of a variable
_MOST = 100_000  # put into one line
_DEEPEST = 20


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """The training that a recipe starts, None where the file is no Makefile."""
    if not _NAME.fullmatch(source.path.name):
        return None
    script = commands(_shell(source.text))
    original = started("a Makefile", script, source, project)
    if original is None:
        raise nothing_starts("a Makefile", source)
    return original


def _shell(text: str) -> str:
    lines = text.split("\n")
    variables, exported = _variables(lines)
    made: list[str] = []
    automatic: dict[str, str] = {}
    goes_on = False
    for line in lines:
        if line.startswith("\t") or goes_on:
            recipe = line if goes_on else _PREFIX.sub("", line, count=1)
            made.append(_put_in(recipe, {**variables, **automatic}.get))
            goes_on = line.endswith("\\")
            continue
        rule = _RULE.match(line)
        if rule:
            prerequisites = _put_in(rule[2], variables.get).split()
            automatic = {"@": _put_in(rule[1], variables.get).strip(), "^": " ".join(prerequisites)}
            automatic["<"] = prerequisites[0] if prerequisites else ""
        setting = _VARIABLE.fullmatch(line.strip())
        name = setting[2] if setting else ""
        made.append(f"export {name}={_quoted(variables[name])}" if name in exported else "")
    return "\n".join(made)


def _variables(lines: list[str]) -> tuple[dict[str, str], set[str]]:
    """(the variables of a Makefile, as the end of the file has them; the names of those exported)."""
    found: dict[str, str] = {}
    exported: set[str] = set()
    unknown: set[str] = set()  # set only under a condition
    conditions = at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("\t"):
            continue
        while line.endswith("\\") and at < len(lines):
            line = f"{line[:-1].rstrip()} {lines[at].strip()}"
            at += 1
        conditions += _OPENING.match(line) is not None
        conditions -= line.startswith("endif")
        setting = _VARIABLE.fullmatch(line.strip())
        if setting and conditions:
            found.pop(setting[2], None)
            unknown.add(setting[2])
        elif setting and setting[2] not in unknown:
            name, how, value = setting[2], setting[3], re.split(r"(?<!\s)\s+#", setting[4])[0].rstrip()
            if how == "+":
                found[name] = f"{found.get(name, '')} {value}".strip()
            elif how != "?" or name not in found:
                found[name] = value
            if (setting[1] or "").startswith("export"):
                exported.add(name)
        elif line.startswith("export "):
            exported |= set(line.split()[1:])
    return _resolved(found), exported & found.keys()


def _resolved(raw: Mapping[str, str]) -> dict[str, str]:
    """Each variable with those that it names put in; one that leads to itself, or grows too long, is left."""
    done: dict[str, str] = {}

    def resolve(name: str, above: tuple[str, ...]) -> str | None:
        if name not in raw or name in above or len(above) > _DEEPEST:
            return None
        if name not in done:
            found = _put_in(raw[name], lambda inner: resolve(inner, (*above, name)))
            done[name] = found if len(found) <= _LONGEST else "${" + name + "}"
        return done[name]

    for name in raw:
        resolve(name, ())
    return done


def _put_in(text: str, value: Callable[[str], str | None]) -> str:
    """The text as make hands it to the shell; a variable that nothing sets stays one of the shell's."""
    room = _MOST

    def of(match: re.Match[str]) -> str:
        nonlocal room
        name = match[1] or match[2]
        if name is None:
            return "$" if match[0] == "$$" else match[0]
        found = value(name) if room > 0 else None
        room -= len(found or "")
        return "${" + name + "}" if found is None else found

    return _REFERENCE.sub(of, text)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
