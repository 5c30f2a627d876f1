"""The words after a command's start as arguments: `--key value …`, `--flag`, and `key=value` after a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qtune.importing.retype import of_words, plain
from qtune.importing.scripts.launchers import is_flag, place
from qtune.importing.scripts.shell import Word
from qtune.importing.source import ImportedFile
from qtune.schema import arguments
from qtune.values import Value


def arguments_of(
    words: Sequence[Word], source: ImportedFile, *, overriding: bool
) -> Iterator[tuple[str, Value, list[Word]]]:
    """(argument, value, words) of `--key value …`, `--key=value`, `--flag`, and `key=value` after a file."""
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not is_flag(word):
            name, equals, text = word.text.partition("=")
            key = name if overriding and equals else word.text
            yield key, Value(plain(text) if equals else None, place(source, word)), [word]
            continue
        name, equals, text = word.text.lstrip("-").partition("=")
        given = [Word(text, word.line, word.hole)] if equals else []
        while not equals and index < len(words) and not is_flag(words[index]):
            given.append(words[index])
            index += 1
        key = name.replace("-", "_")
        known = arguments()
        if key not in known and key.startswith("no_") and key[3:] in known and not given:
            yield key[3:], Value(False, place(source, word)), []
            continue
        value = of_words(known.get(key), [item.text for item in given])
        yield key, Value(value, place(source, word)), [word, *given]
