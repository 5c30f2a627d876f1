"""Images, videos and audios of a row: what is listed, and where its text has a place for it.

Only chat templates of models that see or hear look at them, so a row with such columns is held to what those
do. Source: llamafactory/data/converter.py, _find_medias; mm_plugin.py, _validate_messages, _regularize_*.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.rows.examples import listed

PLACEHOLDERS = ("<image>", "<video>", "<audio>")


class MediaCheck:
    """Flaws of a row's media columns.

    directory: `media_dir`, where the library looks for a file first; then from the working directory.
    """

    def __init__(self, names: Attributes, directory: Path | None) -> None:
        self._names = names
        self._directory = directory

    def unconvertible(self, row: Mapping[str, Any]) -> list[Flaw]:
        """Lists that the converter stops at, at any stage: it joins each entry with the media directory."""
        flaws = []
        for _, column in self._names.media:
            entries = listed(row.get(column))
            if not entries or not isinstance(entries[0], str | list):
                continue
            frames = [frame for entry in entries for frame in (entry if isinstance(entry, list) else [entry])]
            alike = all(isinstance(entry, type(entries[0])) for entry in entries)
            if not alike or not all(isinstance(frame, str) for frame in frames):
                flaws.append(_not_a_path(column))
        return flaws

    def flaws(self, row: Mapping[str, Any], texts: Sequence[str]) -> list[Flaw]:
        """texts: what the template is given at once, and counts the placeholders in."""
        flaws = []
        found = {placeholder: sum(text.count(placeholder) for text in texts) for placeholder in PLACEHOLDERS}
        for placeholder, column in self._names.media:
            entries = listed(row.get(column))
            expected = found.pop(placeholder)
            if expected != len(entries):
                fewer = "fewer" if expected < len(entries) else "more"
                message = f"the text has {fewer} {placeholder} than `{column}` has entries"
                flaws.append(Flaw("media-count", "crash", message, f"write one {placeholder} for each entry"))
            flaws += self._unreadable(column, placeholder, entries)
        for placeholder in (placeholder for placeholder, count in found.items() if count):
            message = f"the text has {placeholder}, and no column is registered for what belongs there"
            flaws.append(
                Flaw("media-count", "crash", message, "register the column or take it out of the text")
            )
        return flaws

    def _unreadable(self, column: str, placeholder: str, entries: Sequence[Any]) -> list[Flaw]:
        flaws = []
        for entry in entries:
            frames = entry if isinstance(entry, list) and placeholder == "<video>" else [entry]
            pictures = placeholder == "<image>" or frames is entry
            if not frames:
                flaws.append(_not_a_path(column))
            for frame in frames:
                path = frame
                if pictures and isinstance(frame, dict):  # a picture as Hugging Face's datasets keep it
                    if frame.get("bytes") is not None:
                        continue
                    path = frame.get("path")
                if not isinstance(path, str):
                    flaws.append(_not_a_path(column))
                elif not self._exists(path):
                    message = f"a file in `{column}` does not exist"
                    fix = "paths start from media_dir, or else from where the training is started"
                    flaws.append(Flaw("media-missing", "crash", message, fix))
        return list(dict.fromkeys(flaws))

    def _exists(self, path: str) -> bool:
        if self._directory is not None and os.path.isfile(os.path.join(self._directory, path)):  # noqa: PTH113, PTH118
            return True
        return os.path.isfile(path)  # noqa: PTH113


def _not_a_path(column: str) -> Flaw:
    return Flaw("media-not-path", "crash", f"an entry of `{column}` is not a path", "list paths, as text")
