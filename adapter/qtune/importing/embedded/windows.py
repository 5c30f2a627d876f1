"""Scripts of Windows' command prompt and of PowerShell as shell scripts, line by line."""

from __future__ import annotations

import re

_NAME = r"[A-Za-z_]\w*"
_BETWEEN_QUOTES = re.compile(r'(?<!\\)"')
# What a shell reads otherwise than the command prompt does, within quotes and outside of them.
_SPECIAL_QUOTED = re.compile(r"[$`]")
_SPECIAL = re.compile(r"[$`;#']")
_BACKSLASH = re.compile(r"\\(?![\"'$`;#])")

_SKIPPED = re.compile(
    r"(?i)\s*@?\s*(?:rem\b.*|::.*|:\w+\s*|echo\s+o(?:n|ff)|setlocal.*|endlocal|chcp.*|pause.*|set\s+/.*)"
)
_SET = re.compile(rf"(?i)\s*@?\s*set\s+(?:\"({_NAME})=(.*)\"|({_NAME})=(.*?))\s*")
_IF = re.compile(r"(?i)\s*@?\s*(?:if|for)\b.*?(?P<then>\(|\bset\s.*)?\s*")
_CLOSED = re.compile(r"(?i)\s*\)\s*(?P<else>else.*)?")
_PERCENT = re.compile(rf"%({_NAME})%|!({_NAME})!")
_SCRIPT_DIRECTORY = re.compile(r"%~dp0[\\/]?")
_CALLED = re.compile(r"(?i)^\s*@?(?:(?:call|start\s+/\w+)\s+)?")

_PARAMETERS = re.compile(r"(?i)\s*(?:param\s*\(|\))\s*")
_BLOCK = re.compile(
    r"(?i)\s*(?P<closed>\}?)\s*(?:if|elseif|else|foreach|for|while|switch|try|catch|function)\b.*\{\s*"
)
_SETTING = re.compile(rf"\s*(?:\[\w+\]\s*)?(\$(?:env:)?{_NAME})\s*=\s*(.*)")
_CALL_OPERATOR = re.compile(r"^\s*&\s*")
_ENV = re.compile(rf"\$(?:env:|\{{env:)({_NAME})\}}?", re.IGNORECASE)
_SPLAT = re.compile(rf"(?<!\S)@({_NAME})\b")


def of_batch(text: str) -> str:
    """A batch file: `set` is an export, `%NAME%` a variable, `^` goes on, and a backslash is a path's."""
    return "\n".join(_batch_line(line.strip()) for line in text.split("\n"))


def of_powershell(text: str) -> str:
    """A PowerShell script: `$env:NAME =` is an export, a backquote goes on, `@(…)` is an array."""
    lines: list[str] = []
    inside = False
    for line in _without_comments(text).split("\n"):
        inside, made = _powershell_line(line.strip(), inside)
        lines.append(made)
    return "\n".join(lines)


def _batch_line(line: str) -> str:
    if _SKIPPED.fullmatch(line):
        return ""
    if setting := _SET.fullmatch(line):
        name, value = setting[1] or setting[3], setting[2] if setting[1] else setting[4]
        return f'export {name}="{_batch_words(value)}"'
    if condition := _IF.fullmatch(line):
        then = condition["then"] or ""
        return "if" if then == "(" else f"if; then {_batch_line(then)}; fi" if then else ""
    if closed := _CLOSED.fullmatch(line):
        return "else" if closed["else"] else "fi"
    line = _CALLED.sub("", line)
    return _batch_words(line.removesuffix("^")) + ("\\" if line.endswith("^") else "")


def _batch_words(text: str) -> str:
    parts = _BETWEEN_QUOTES.split(_SCRIPT_DIRECTORY.sub("./", text))
    for number, part in enumerate(parts):
        special = _SPECIAL_QUOTED if number % 2 else _SPECIAL
        parts[number] = _BACKSLASH.sub("/", special.sub(r"\\\g<0>", part))
    return _PERCENT.sub(lambda found: "${" + (found[1] or found[2]) + "}", '"'.join(parts))


def _without_comments(text: str) -> str:
    """The text with each `<# … #>` as the lines that it takes."""
    kept, at = [], 0
    while (start := text.find("<#", at)) >= 0 and (end := text.find("#>", start)) >= 0:
        kept += [text[at:start], "\n" * text.count("\n", start, end)]
        at = end + 2
    return "".join((*kept, text[at:]))


def _powershell_line(line: str, inside: bool) -> tuple[bool, str]:
    """(whether an array goes on after the line, the line); inside: whether one went on before it."""
    if block := _BLOCK.fullmatch(line):
        return False, f"{block['closed']}; {{"
    if not inside and _PARAMETERS.fullmatch(line):
        return False, ""
    setting = None if inside else _SETTING.fullmatch(line)
    before, line = (setting[1], setting[2].rstrip(";,")) if setting else ("", line)
    goes_on = line.endswith("`")
    line = _BACKSLASH.sub("/", _ENV.sub(r"${\1}", line.removesuffix("`")))
    if inside or line.startswith("@("):
        line = line.removeprefix("@").replace(",", " ")
        inside = ")" not in line
    if setting:
        return inside, f"{before.removeprefix('$').replace('env:', 'export ')}={line}"
    line = _SPLAT.sub(r'"${\1[@]}"', _CALL_OPERATOR.sub("", line))
    return inside, line + ("\\" if goes_on else "")
