"""The chat template that a model's directory brings, and the special tokens that it may name.

Source: transformers 5.5, tokenization_utils_base.py, _from_pretrained and get_chat_template.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qtune.config.model import special_tokens, tokenizer_settings
from qtune.files import MAX_BYTES, read_text

_DEFAULT, _WITH_TOOLS = "default", "tool_use"
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
# In files of their own, which go before those of tokenizer_config.json.
_FILES = {_DEFAULT: "chat_template.jinja", _WITH_TOOLS: "additional_chat_templates/tool_use.jinja"}


@dataclass(frozen=True)
class OwnTemplate:
    """A model's own chat template, the one that goes before it where tools are given, and special tokens.

    tokens: (name, such as `bos_token`, text) each.
    """

    text: str
    with_tools: str
    tokens: tuple[tuple[str, str], ...]


def own_template(directory: Path | None) -> OwnTemplate | None:
    """That of the model in a directory; None where it has none, or there is no directory.

    Raises OSError or ValueError where its file cannot be read, or is no template by its size.
    """
    if directory is None:
        return None
    found = (directory / name for name in (*_SETTINGS, *_FILES.values()))
    stats = (path.stat() for path in found if path.is_file())
    return _read(directory, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


@lru_cache(maxsize=8)  # for a check of many presets
def _read(directory: Path, state: tuple[tuple[int, int], ...]) -> OwnTemplate | None:
    """What the files say; state: of those files, so that none is taken for what it was before."""
    settings = tokenizer_settings(directory)
    texts = dict(_named(settings.get("chat_template")))
    for name, place in _FILES.items():
        path = directory / place
        if path.is_file():
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"has more than {MAX_BYTES:,} bytes")
            texts[name] = read_text(path)
    if _DEFAULT not in texts:
        return None
    default, tokens = texts[_DEFAULT], special_tokens(settings)
    return OwnTemplate(default, texts.get(_WITH_TOOLS, default), tuple(tokens.items()))


def _named(given: Any) -> Iterator[tuple[str, str]]:
    """The templates of tokenizer_config.json, which holds one as text or several as a list."""
    for item in given if isinstance(given, list) else [{"name": _DEFAULT, "template": given}]:
        match item:
            case {"name": str(name), "template": str(text)}:
                yield name, text
