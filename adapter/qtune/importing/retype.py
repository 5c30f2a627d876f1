"""Values converted to the types of their arguments, from text in quotes and from the words of a shell."""

from __future__ import annotations

from typing import Any

from qtune.errors import QtuneError
from qtune.files import from_json, parse_yaml
from qtune.schema import Argument, problem

# transformers hf_argparser.py, string_to_bool
_TRUE = ("yes", "true", "t", "y", "1")
_FALSE = ("no", "false", "f", "n", "0")


def plain(text: str) -> Any:
    """What YAML reads in `text`, `text` itself where that is no YAML."""
    try:
        return parse_yaml(text, "")[0]
    except QtuneError:
        return text


def of_words(argument: Argument | None, words: list[str]) -> Any:
    """The value of `--argument word…`; no word is a bare flag, true. None for an argument nobody knows.

    Words stay text where the argument takes nothing else (source: transformers hf_argparser.py).
    """
    if not words:
        return True
    if argument is None:
        return plain(words[0]) if len(words) == 1 else list(words)
    if len(words) > 1 and "list" in argument.types:
        return [retyped(argument, word) for word in words]
    return retyped(argument, " ".join(words))


def retyped(argument: Argument, value: Any) -> Any:
    """`value` as a type that `argument` takes, where it says the same; else `value` as it is."""
    if problem(argument, value) is None:
        return _mapping(value) if "dict" in argument.types else value
    if isinstance(value, bool):
        word = _word_of(argument, value)
        return value if word is None else word
    if isinstance(value, float) and value.is_integer() and "int" in argument.types:
        return int(value)
    if isinstance(value, int | float) and "str" in argument.types and argument.choices is None:
        return str(value)
    if not isinstance(value, str):
        return value
    if "bool" in argument.types and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    read = plain(value.strip())
    if isinstance(read, float) and read.is_integer() and "float" not in argument.types:
        read = int(read)
    return read if problem(argument, read) is None else value


def _word_of(argument: Argument, value: bool) -> str | None:
    """The choice that YAML took for a boolean: a bare `no` or `off`."""
    words = ("yes", "on") if value else ("no", "off")
    return next((word for word in words if word in (argument.choices or ())), None)


def _mapping(value: Any) -> Any:
    """JSON text as the mapping it is, since that is what the library makes of it."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return from_json(value)
        except ValueError:
            return value
    return value
