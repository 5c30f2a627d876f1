"""What a registration comes to inside LLaMA-Factory: the columns and tags that its converters read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qtune.data.registrations import CONVERSATIONS, Registration
from qtune.schema import column_keys, tag_keys


@dataclass(frozen=True, slots=True)
class Attributes:
    """A column's or tag's name, None where there is none (llamafactory/data/parser.py, DatasetAttr)."""

    formatting: str
    ranking: bool
    system: str | None
    tools: str | None
    images: str | None
    videos: str | None
    audios: str | None
    chosen: str | None
    rejected: str | None
    kto_tag: str | None
    prompt: str | None
    query: str | None
    response: str | None
    history: str | None
    messages: str | None
    role_tag: str
    content_tag: str
    user_tag: str | None
    assistant_tag: str | None
    observation_tag: str | None
    function_tag: str | None
    system_tag: str | None

    @property
    def conversation(self) -> bool:
        return self.formatting in CONVERSATIONS

    @property
    def role_tags(self) -> tuple[str | None, ...]:
        return (self.user_tag, self.assistant_tag, self.observation_tag, self.function_tag, self.system_tag)

    @property
    def media(self) -> tuple[tuple[str, str], ...]:
        """(placeholder, column) of each kind of media that has a column (extras/constants.py)."""
        named = (("<image>", self.images), ("<video>", self.videos), ("<audio>", self.audios))
        return tuple((placeholder, column) for placeholder, column in named if column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The row's keys that are read, each once."""
        own = (
            (self.messages,) if self.conversation else (self.history, self.prompt, self.query, self.response)
        )
        pair = (self.chosen, self.rejected) if self.ranking else ()
        named = (*own, *pair, self.kto_tag, self.system, self.tools, self.images, self.videos, self.audios)
        return tuple(dict.fromkeys(name for name in named if name))

    def read(self) -> Iterator[tuple[str, str]]:
        """(role, key) of what the converters read of each row and stop without."""
        own = ("messages",) if self.conversation else ("history", "prompt", "query")
        answer = ("response",) if not self.conversation and (self.kto_tag or not self.ranking) else ()
        pair = ("chosen", "rejected") if self.ranking else ()
        more = () if self.formatting == "openai" else ("system", "tools")
        for role in (*own, *answer, *pair, "kto_tag", *more, "images", "videos", "audios"):
            if name := getattr(self, role):
                yield role, name


def attributes(registration: Registration) -> Attributes:
    """As complete_entry writes it and `DatasetAttr.join` reads it: no block at all means the defaults."""
    columns: dict[str, Any] = dict.fromkeys(column_keys())
    columns |= registration.columns() or {name: column.default for name, column in column_keys().items()}
    tags = {name: tag for name, tag in registration.tags().items() if name in tag_keys()}
    return Attributes(
        formatting=registration.formatting,
        ranking=bool(registration.entry.get("ranking")),
        **{name: columns[name] for name in column_keys()},
        **tags,
    )
