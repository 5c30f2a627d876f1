"""Images, videos and audios of a row: what is listed, and where its text has a place for it.

Only chat templates of models that see or hear look at them, so a row with such columns is held to what those
do. Source: llamafactory/data/converter.py, _find_medias; mm_plugin.py, _validate_messages, _regularize_*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.rows.examples import listed
from qtune.data.rows.pictures import can_look, is_readable, located, unwrapped

PLACEHOLDERS = ("<image>", "<video>", "<audio>")


class MediaCheck:
    """Flaws of a row's media columns.

    directory: `media_dir`, where the library looks for a file first; then from the working directory.
    unseen: whether there were pictures that could not be looked at, for want of Pillow.
    """

    def __init__(self, names: Attributes, directory: Path | None) -> None:
        self._names = names
        self._directory = directory
        self.unseen = False

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
                flaws.append(Flaw.of("media-not-path", column=column))
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
                flaws.append(Flaw.of("media-count", compared=fewer, placeholder=placeholder, column=column))
            flaws += self._unreadable(column, placeholder, entries)
        alone = [placeholder for placeholder, count in found.items() if count]
        return flaws + [Flaw.of("media-unregistered", placeholder=placeholder) for placeholder in alone]

    def _unreadable(self, column: str, placeholder: str, entries: Sequence[Any]) -> list[Flaw]:
        flaws = []
        for entry in entries:
            frames = entry if isinstance(entry, list) and placeholder == "<video>" else [entry]
            pictures = placeholder == "<image>" or frames is entry
            if not frames:
                flaws.append(Flaw.of("media-not-path", column=column))
            for frame in frames:
                media = unwrapped(frame) if pictures else frame
                held = isinstance(media, bytes) and (frame is not media or placeholder == "<image>")
                if not held and not isinstance(media, str):
                    flaws.append(Flaw.of("media-not-path", column=column))
                elif not held and (media := located(media, self._directory)) is None:
                    flaws.append(Flaw.of("media-missing", column=column))
                elif pictures and not self._can_be_read(media):
                    flaws.append(Flaw.of("media-damaged", column=column))
        return list(dict.fromkeys(flaws))

    def _can_be_read(self, picture: str | bytes) -> bool:
        self.unseen = self.unseen or not can_look()
        return self.unseen or is_readable(picture)
