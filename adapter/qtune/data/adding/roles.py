"""Who speaks in lists of messages: the tags under which LLaMA-Factory finds role and text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qtune.config.names import did_you_mean, quoted
from qtune.errors import QtuneError
from qtune.files import table_beside
from qtune.schema import tag_keys

Messages = Sequence[Mapping[str, Any]]
"""The messages of one row."""

_NEEDED = ("user_tag", "assistant_tag")
_RESULT_OR_CALL = "function"  # a result in OpenAI's older messages, a call elsewhere


@dataclass(frozen=True)
class Speakers:
    """What was seen of a column of messages.

    tags: as in dataset_info.json; unused: the messages' keys that no tag reads; needs_openai: whether only
    `formatting: openai` reads tool calls and results as they stand here (llamafactory/data/converter.py,
    OpenAIDatasetConverter).
    """

    tags: Mapping[str, str]
    unused: tuple[str, ...]
    needs_openai: bool


def usual_names() -> dict[str, Any]:
    """The content of usual_names.yaml."""
    names: dict[str, Any] = table_beside(__file__, "usual_names.yaml")
    return names


def message_keys(column: Sequence[Messages], named: Mapping[str, str]) -> tuple[str, str] | None:
    """(role_tag, content_tag) as named, else by the usual names; None where the items are no messages."""
    messages = [message for row in column for message in row]
    wanted = {
        tag: [named[tag]] if tag in named else usual_names()[tag] for tag in ("role_tag", "content_tag")
    }
    roles = (key for key in wanted["role_tag"] if _mostly_text(messages, key))
    contents = (
        key for key in wanted["content_tag"] if any(message.get(key) is not None for message in messages)
    )
    role, content = next(roles, None), next(contents, None)
    return (role, content) if role and content else None


def likely_keys(column: Sequence[Messages]) -> dict[str, str]:
    """role_tag and content_tag by their texts alone: the one of few texts, the other of long ones.

    Empty where there are not two such keys.
    """
    messages = [message for row in column for message in row]
    keys = dict.fromkeys(key for message in messages for key in message)
    texts = {key: [message.get(key) for message in messages] for key in keys if _mostly_text(messages, key)}
    if len(texts) < 2:
        return {}
    role = min(texts, key=lambda key: len({str(text) for text in texts[key]}))
    content = max(
        (key for key in texts if key != role), key=lambda key: sum(len(str(text)) for text in texts[key])
    )
    return {"role_tag": role, "content_tag": content}


def speakers(
    column: Sequence[Messages],
    keys: tuple[str, str],
    where: str,
    named: Mapping[str, str],
    command: Callable[[Mapping[str, str]], str],
) -> Speakers:
    """Raises QtuneError where the texts are no texts, or where no role is the user's or the assistant's.

    named: tags that the user names, each with its key or role; command: the one that names such tags.
    """
    role_key, content_key = keys
    messages = [message for row in column for message in row]
    if any(isinstance(message.get(content_key), list) for message in messages):
        raise QtuneError(
            f"`{content_key}` is a list of parts; LLaMA-Factory takes text, with <image>, <video> or <audio> "
            "where a file of the columns images, videos or audios belongs",
            where=where,
            fix="write the parts so to a new file",
        )
    rows = [[str(message[role_key]) for message in row if message.get(role_key)] for row in column]
    counts = Counter(role for row in rows for role in row)
    listed = quoted(counts)
    roles = {tag: role for tag, role in named.items() if tag not in ("role_tag", "content_tag")}
    for tag in _NEEDED:
        if tag in roles and roles[tag] not in counts:
            fix = did_you_mean(roles[tag], counts) or f"there are {listed}"
            raise QtuneError(f"no message has the role `{roles[tag]}` ({tag})", where=where, fix=fix)
    tags = _role_tags(rows, roles)
    if missing := [tag for tag in _NEEDED if tag not in tags]:
        strangers = [role for role in counts if role not in tags.values()]
        wanted = {**named, **dict(zip(missing, strangers, strict=False))}
        raise QtuneError(
            f"cannot tell which role is the {missing[0].removesuffix('_tag')}'s; there are {listed}",
            where=where,
            fix=f"name it: {command(wanted)}"
            if strangers
            else "add messages of that role, or take the data out",
        )
    called = any(message.get("tool_calls") for message in messages)
    repeated = (tags.get("observation_tag"),) * 2
    return Speakers(
        {"role_tag": role_key, "content_tag": content_key} | _filled(tags),
        tuple({key: None for message in messages for key in message if key not in (*keys, "tool_calls")}),
        called or any(pair == repeated for row in rows for pair in pairwise(row)),
    )


def _mostly_text(messages: Messages, key: str) -> bool:
    return 2 * sum(isinstance(message.get(key), str) for message in messages) > len(messages)


def _role_tags(rows: Sequence[Sequence[str]], named: Mapping[str, str]) -> dict[str, str]:
    """The role that is named for each tag, else the most frequent: by its name, then by whose turn it is."""
    counts = Counter(role for row in rows for role in row)
    tags = dict(named)
    for role, _ in counts.most_common():
        if role in named.values():
            continue
        tag = next((tag for tag, names in usual_names()["roles"].items() if role.lower() in names), None)
        if role.lower() == _RESULT_OR_CALL:
            tag = "observation_tag" if _turns(rows, role, tags.get("system_tag")) == {0} else "function_tag"
        if tag:
            tags.setdefault(tag, role)
    for turn, tag in enumerate(_NEEDED):
        strangers = [role for role in counts if role not in tags.values()]
        taking = [role for role in strangers if _turns(rows, role, tags.get("system_tag")) == {turn}]
        if tag not in tags and len(taking) == 1:
            tags[tag] = taking[0]
    return tags


def _turns(rows: Sequence[Sequence[str]], role: str, system: str | None) -> set[int]:
    """0 where `role` speaks in the user's turns, 1 where in the assistant's."""
    found = set()
    for row in rows:
        after_system = row[1:] if row and row[0] == system else row
        found |= {turn % 2 for turn, name in enumerate(after_system) if name == role}
    return found


def _filled(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that no message has keep the library's default; a role under two tags would lose one of them."""
    wanted = [tag for tag in usual_names()["roles"] if tag in tags or tag in (*_NEEDED, "system_tag")]
    return {tag: tags.get(tag, str(tag_keys()[tag].default)) for tag in wanted}
