"""Finding secrets in text and plain values, and taking them out: the one redaction of all that is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtune.secrets.names import is_secret

REDACTED = "<redacted>"

# Of each shape its literals, without one of which it is not there, and a pattern. That begins with a literal
# where it can, for which the regular expression engine looks fast; its bounds keep the time linear. Where it
# has groups, the last one is the secret, and the first of two the secret's name.
_SHAPES = (
    (("hf_",), r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{16,}"),
    (("sk-",), r"sk-(?<![A-Za-z0-9]sk-)(?=[\w-]{0,64}[0-9])[\w-]{0,200}\w{20,}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_(?<![A-Za-z0-9]gh._)[A-Za-z0-9]{20,}"),
    (("github_pat_",), r"github_pat_[A-Za-z0-9_]{20,}"),
    (("glpat-",), r"glpat-[A-Za-z0-9_-]{16,}"),
    (("ms-",), r"ms-(?<![A-Za-z0-9]ms-)[0-9a-f]{8}-[0-9a-f-]{27}"),
    (("AKIA",), r"AKIA(?<![A-Za-z0-9]AKIA)[A-Z0-9]{16}"),
    (("earer ", "EARER "), r"(?i:bearer) ([A-Za-z0-9._~+/=-]{8,})"),
    (("asic ", "ASIC "), r"(?i:authorization\W{1,4}basic) ([A-Za-z0-9+/=]{8,})"),
    # user and password of an address; the user alone of an ssh address is no secret
    (("://",), r"://(?:(?<!ssh://)|(?=[^/\s'\"@:]*:))([^/\s'\"<>?#]+)@"),
    (("?", "&", ";", "#"), r"[?&;#]([\w.%~-]{1,64})=([^&;#\s'\"<>]+)"),
)
_ASSIGNED = re.compile(r"(?:[^=\s]*=)?([\w.-]+)=", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """Where a secret stands in a text; known_from, known_to: with what it is known by, such as `Bearer `."""

    start: int
    end: int
    known_from: int
    known_to: int


def spans(text: str, secrets: Sequence[str] = ()) -> list[Span]:
    """The secrets in a text, in order and apart: those in `secrets`, and what has the shape of one."""
    apart: list[Span] = []
    for found in sorted((*_known(text, secrets), *_shaped(text))):
        if apart and found.start <= apart[-1].end:
            last = apart.pop()
            known_from, known_to = min(last.known_from, found.known_from), max(last.known_to, found.known_to)
            found = Span(last.start, max(last.end, found.end), known_from, known_to)
        apart.append(found)
    return apart


def _known(text: str, secrets: Sequence[str]) -> Iterator[Span]:
    for secret in secrets:
        at = text.find(secret)
        while at >= 0:
            yield Span(at, at + len(secret), at, at + len(secret))
            at = text.find(secret, at + len(secret))


def _shaped(text: str) -> Iterator[Span]:
    for literals, pattern in _SHAPES:
        if any(literal in text for literal in literals):
            for match in re.compile(pattern, re.ASCII).finditer(text):
                if match.re.groups < 2 or is_secret(match[1]):
                    yield Span(*match.span(match.re.groups), *match.span())


def without(text: str, secrets: Sequence[str] = ()) -> str:
    """The text with each secret in it replaced."""
    pieces, at = [], 0
    for span in spans(text, secrets):
        pieces += [text[at : span.start], REDACTED]
        at = span.end
    return "".join((*pieces, text[at:])) if pieces else text


def redacted(value: Any, secrets: Sequence[str] = ()) -> Any:
    """A plain value with everything secret in it replaced.

    That is what `spans` finds, and what a secret's name stands before: as a key of a mapping, or in an
    argument `NAME=VALUE` or `--set=NAME=VALUE`.
    """
    if isinstance(value, Mapping):
        return {
            key: REDACTED if hidden_by(key, item) else redacted(item, secrets) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    assigned = _ASSIGNED.match(value)
    if assigned and is_secret(assigned[1]):
        return value[: assigned.end()] + REDACTED
    return without(value, secrets)


def hidden_by(key: Any, value: Any) -> bool:
    """Whether the name `key` makes a secret of `value`: one word or number, rather than a switch or null."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and is_secret(str(key))


def holds(value: Any) -> bool:
    """Whether a secret is in a plain value of a config: by its shape, or by the key that it stands under."""
    if isinstance(value, Mapping):
        return any(hidden_by(key, item) or holds(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(map(holds, value))
    return isinstance(value, str) and bool(spans(value))
