"""Proposals of how LLaMA-Factory is to read rows, made by looking at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qtune.config.names import did_you_mean, quoted
from qtune.data.adding.named import Named, naming
from qtune.data.adding.roles import likely_keys, message_keys, speakers, usual_names
from qtune.errors import QtuneError
from qtune.schema import column_keys, tag_keys

Row = Mapping[str, Any]
Kind = Literal["text", "flag", "number", "texts", "pairs", "objects", "object", "list", "other", "nothing"]
Stage = Literal["sft", "dpo", "kto", "pt"]

_WORDS: Mapping[Kind, str] = {
    "text": "text",
    "flag": "true/false",
    "number": "a number",
    "texts": "a list of texts",
    "pairs": "a list of pairs",
    "objects": "a list of objects",
    "object": "an object",
    "list": "a list",
    "other": "neither text nor a list",
    "nothing": "empty",
}
_SINGLE: dict[type, Kind] = {str: "text", bool: "flag", int: "number", float: "number", dict: "object"}
_LISTS: tuple[Kind, ...] = ("texts", "pairs", "objects", "list")
_UNREADABLE_ANSWERS: tuple[Kind, ...] = ("flag", "number", "object", "other", *_LISTS)
_MEDIA_KINDS: tuple[Kind, ...] = ("text", "object", "other", *_LISTS, "nothing")

_NOTHING = Named()
_MEDIA = ("images", "videos", "audios")
_OTHER_LISTS = ("prompt", "response", "chosen", "rejected", "tools")
"""Columns that may hold lists of objects which are no conversation."""

_PAIRS = (
    "LLaMA-Factory takes each as text, beside a question that is text, or as one message, beside a list of "
    "messages that ends with the question"
)
_OPENAI = (
    "formatting openai, which alone reads such tool calls, adds `detailed thinking off` to the system prompt "
    "of each row without tools (llamafactory/data/converter.py)"
)


@dataclass(frozen=True)
class Proposal:
    """A registration without its source.

    formatting, columns, tags: as in dataset_info.json, the blocks whole; stage: of the trainings that the
    rows are made for; unused: what no column or tag reads; notes: what LLaMA-Factory cannot read, or reads
    otherwise than it looks.
    """

    formatting: str
    stage: Stage
    columns: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def entry(self) -> dict[str, Any]:
        """What has to be written: blocks that say no more than the library's defaults are left out."""
        entry: dict[str, Any] = {} if self.formatting == "alpaca" else {"formatting": self.formatting}
        if self.stage == "dpo":
            entry["ranking"] = True
        own = ("prompt", "query", "response") if self.formatting == "alpaca" else ("messages",)
        if self.columns != {name: column_keys()[name].default for name in own}:
            entry["columns"] = dict(self.columns)
        if any(tag != tag_keys()[name].default for name, tag in self.tags.items()):
            entry["tags"] = dict(self.tags)
        return entry

    def __str__(self) -> str:
        """In one line, e.g. `alpaca: instruction, input -> output`."""
        sides = (
            self._named("history", "messages", "prompt", "query"),
            self._named("response", "chosen", "rejected"),
        )
        line = " -> ".join(", ".join(side) for side in sides if side)
        if self.tags:
            role, content, *names = self.tags.values()
            line += f" [{role}: {', '.join(names)}; text: {content}]"
        rest = self._named("kto_tag", "system", "tools", *_MEDIA)
        line += f"; {', '.join(rest)}" if rest else ""
        kind = {"sft": "", "dpo": ", two answers ranked", "kto": ", answers judged", "pt": ", plain text"}
        return f"{self.formatting}{kind[self.stage]}: {line}"

    def _named(self, *names: str) -> list[str]:
        return [self.columns[name] for name in names if name in self.columns]


def propose(rows: Sequence[Row], where: str, named: Named = _NOTHING, asked: Sequence[str] = ()) -> Proposal:
    """How to read data that begins with `rows`, of which there is at least one.

    where: the data's name in errors; named: what the user says of it; asked: the words that `data add` was
    given, where there are more than that name. Raises QtuneError where it cannot be told, where
    LLaMA-Factory has no way to read such rows, or where they are not as the user says.
    """
    look = _Look(rows, named, asked or [where])
    if missing := [name for name in named.columns.values() if name not in look.kinds]:
        fix = did_you_mean(missing[0], look.kinds) or f"there are {look}"
        raise QtuneError(f"no row that was looked at has `{missing[0]}`", where=where, fix=fix)
    messages = None
    if not named.are_alpaca:
        messages = look.find("messages", "objects") or look.only_conversation()
    if "messages" in named.columns and messages != named.columns["messages"]:
        raise _misnamed(look, "messages", where)
    found = _conversation(look, messages, where) if messages else _alpaca(look, where)
    for column, name in named.columns.items():
        if found.columns.get(column) != name:
            raise _misnamed(look, column, where)
    if named.tags and not messages:
        fix = "name their column: --columns messages=NAME; or leave --tags out"
        raise QtuneError("tags are for lists of messages, and none is recognised", where=where, fix=fix)
    return found


def _misnamed(look: _Look, column: str, where: str) -> QtuneError:
    name = look.named.columns[column]
    what = f"`{name}` ({_WORDS[look.kinds[name]]}) cannot be the column `{column}` here"
    return QtuneError(what, where=where, fix="name another column, or leave it out")


class _Look:
    """The rows, and the kind of value that each of their keys mostly has."""

    def __init__(self, rows: Sequence[Row], named: Named, asked: Sequence[str]) -> None:
        self.rows = rows
        self.named = named
        self.asked = asked
        counts: dict[str, Counter[Kind]] = {}
        for row in rows:
            for key, value in row.items():
                counts.setdefault(key, Counter())[_kind(value)] += 1
        self.kinds: dict[str, Kind] = {}
        for key, count in counts.items():
            del count["nothing"]
            self.kinds[key] = count.most_common(1)[0][0] if count else "nothing"
        self._keys: dict[str, str] = {}
        for key in self.kinds:
            self._keys.setdefault(key.strip().lower().replace("-", "_").replace(" ", "_"), key)

    def find(self, column: str, *kinds: Kind) -> str | None:
        """The key that is named as the column, else has the first of its usual names; of one of `kinds`."""
        named = self.named.columns
        usual = [self._keys[name] for name in usual_names()["columns"][column] if name in self._keys]
        keys = [named[column]] if column in named else [key for key in usual if key not in named.values()]
        return next((key for key in keys if self.kinds[key] in kinds), None)

    def only_conversation(self) -> str | None:
        """The one key whose name says nothing and whose values are lists of messages."""
        columns = usual_names()["columns"]
        named = {self._keys.get(name) for column in _OTHER_LISTS for name in columns[column]}
        keys = [key for key, kind in self.kinds.items() if kind == "objects" and key not in named]
        found = [key for key in keys if message_keys(self.values(key), self.named.tags) is not None]
        return found[0] if len(found) == 1 else None

    def values(self, key: str) -> list[Any]:
        """The values of `key` that are of its kind."""
        return [row[key] for row in self.rows if key in row and _kind(row[key]) == self.kinds[key]]

    def unused(self, columns: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(key for key in self.kinds if key not in columns.values())

    def __str__(self) -> str:
        return ", ".join(f"`{key}` ({_WORDS[kind]})" for key, kind in self.kinds.items())


def _kind(value: Any) -> Kind:
    if value is None or value == []:
        return "nothing"
    if not isinstance(value, list):
        return _SINGLE.get(type(value), "other")
    if all(isinstance(item, dict) for item in value):
        return "objects"
    if all(isinstance(item, str) for item in value):
        return "texts"
    return "pairs" if all(isinstance(item, list) and len(item) == 2 for item in value) else "list"


def _conversation(look: _Look, messages: str, where: str) -> Proposal:
    """formatting sharegpt, or openai where only that reads the rows."""
    keys = message_keys(look.values(messages), look.named.tags)
    if keys is None:
        raise _no_messages(look, messages, where)
    columns, notes = {"messages": messages}, list[str]()
    pair = _pair(look)
    ranked = pair is not None and all(
        look.kinds[key] == "object" and set(keys) <= look.values(key)[0].keys() for key in pair
    )
    if pair and ranked:
        columns |= {"chosen": pair[0], "rejected": pair[1]}
    elif pair:
        beside = f"`{keys[0]}` and `{keys[1]}`, beside a `{messages}` that ends with the question"
        notes.append(f"not read: {_told(look, pair)}; LLaMA-Factory takes one message each, with {beside}")
    label = None if ranked else look.find("kto_tag", "flag")
    tools = look.find("tools", "text", "objects", "object", "nothing")
    columns |= _column("kto_tag", label) | _column("tools", tools) | _common(look)

    turns = look.values(messages)
    if pair and ranked:  # the assistant may speak nowhere else
        turns = [
            [*row[messages], row[pair[0]]]
            for row in look.rows
            if _kind(row.get(messages)) == "objects" and _kind(row.get(pair[0])) == "object"
        ]
    seen = speakers(
        turns, keys, where, look.named.tags, lambda tags: naming(look.asked, look.named.columns, tags)
    )
    openai = seen.needs_openai or bool(tools and look.kinds[tools] in ("objects", "object"))
    if openai:
        notes.append(_OPENAI)
    return Proposal(
        "openai" if openai else "sharegpt",
        "dpo" if ranked else "kto" if label else "sft",
        columns,
        seen.tags,
        (*look.unused(columns), *(f"{messages}[].{key}" for key in seen.unused)),
        tuple(notes),
    )


def _no_messages(look: _Look, key: str, where: str) -> QtuneError:
    """For a list of objects that are no messages."""
    if len(look.rows) == 1:
        return _nested(key, where)
    tags, inner = likely_keys(look.values(key)), quoted(look.values(key)[0][0])
    named = naming(look.asked, {"messages": key}, tags)
    return QtuneError(
        f"the items of `{key}` are no messages with a role and a text: they have {inner}",
        where=where,
        fix=f"name them: {named}" if tags else 'write each as {"role": "user", "content": "…"}',
    )


def _nested(key: str, where: str) -> QtuneError:
    """For a file that is one object with the rows in it, which would be read as one row."""
    return QtuneError(
        f"is one object that has the rows in its `{key}`; LLaMA-Factory reads a list of rows",
        where=where,
        fix=f"write that list to a file of its own, e.g. with jq '.{key}'",
    )


def _alpaca(look: _Look, where: str) -> Proposal:
    """formatting alpaca: questions with answers, or plain text."""
    notes: tuple[str, ...] = ()
    pair = _pair(look)
    ranked = pair is not None and all(look.kinds[key] == "text" for key in pair)
    response = None if ranked else look.find("response", "text")
    asked = _asked(look, anything=bool(ranked or response))
    if pair and not ranked:
        if not (asked and response):
            fix = "write them so to a new file"
            raise QtuneError(f"{_told(look, pair)}; {_PAIRS}", where=where, fix=fix)
        notes = (f"not read: {_told(look, pair)}; {_PAIRS}",)
    text = look.find("text", "text") or _only(look, "text")
    columns: dict[str, str]
    stage: Stage
    if pair and ranked and asked:
        stage, columns = "dpo", asked | {"chosen": pair[0], "rejected": pair[1]}
    elif response and asked:
        label = look.find("kto_tag", "flag")
        stage, columns = "kto" if label else "sft", asked | {"response": response} | _column("kto_tag", label)
    elif text and not ranked and not response and not look.find("response", *_UNREADABLE_ANSWERS):
        columns = {"prompt": text}
        return Proposal("alpaca", "pt", columns, unused=look.unused(columns))
    else:
        raise _undecided(look, where)
    tools = look.find("tools", "text", "nothing")
    columns |= _column("tools", tools) | _common(look)
    return Proposal("alpaca", stage, columns, unused=look.unused(columns), notes=notes)


def _asked(look: _Look, anything: bool) -> dict[str, str]:
    """The columns of the question, empty where there is none; `anything`: any text may be the question."""
    prompt, query = look.find("prompt", "text"), look.find("query", "text", "nothing")
    if prompt is None and anything:
        prompt, query = look.find("query", "text") or look.find("text", "text"), None
    if prompt is None:
        return {}
    history = look.find("history", "pairs", "nothing")
    return {"prompt": prompt} | _column("query", query) | _column("history", history)


def _common(look: _Look) -> dict[str, str]:
    """The columns that mean the same in every formatting."""
    columns = _column("system", look.find("system", "text", "nothing"))
    for column in _MEDIA:
        columns |= _column(column, look.find(column, *_MEDIA_KINDS))
    return columns


def _column(column: str, key: str | None) -> dict[str, str]:
    return {column: key} if key else {}


def _only(look: _Look, kind: Kind) -> str | None:
    keys = [key for key, found in look.kinds.items() if found == kind]
    return keys[0] if len(keys) == 1 else None


def _pair(look: _Look) -> tuple[str, str] | None:
    """The chosen and the rejected answers, of whatever kind."""
    kinds: tuple[Kind, ...] = ("text", "texts", "object", "objects")
    chosen, rejected = look.find("chosen", *kinds), look.find("rejected", *kinds)
    return (chosen, rejected) if chosen and rejected else None


def _told(look: _Look, pair: tuple[str, str]) -> str:
    """What a pair is that cannot be read."""
    return " and ".join(f"`{key}` is {_WORDS[look.kinds[key]]}" for key in pair)


def _undecided(look: _Look, where: str) -> QtuneError:
    inner = _only(look, "objects")
    if inner and len(look.rows) == 1:
        return _nested(inner, where)
    wrong = look.find("response", *_UNREADABLE_ANSWERS) or look.find("prompt", *_UNREADABLE_ANSWERS)
    if wrong:
        takes = "LLaMA-Factory takes a question and an answer as text, or one list of messages"
        what = f"`{wrong}` is {_WORDS[look.kinds[wrong]]}; {takes}"
        return QtuneError(what, where=where, fix="write the rows so to a new file")
    if inner and (tags := likely_keys(look.values(inner))):
        named = naming(look.asked, {"messages": inner}, tags)
    else:
        named = naming(look.asked, _likely(look))
    return QtuneError(
        f"cannot tell what is asked and what is answered: rows have {look}",
        where=where,
        fix=f"name the columns: {named}",
    )


def _likely(look: _Look) -> dict[str, str]:
    """Question and answers as far as they are recognised; the longest of the other texts for what is not."""
    pair = _pair(look)
    wanted = ("prompt",) if pair else ("prompt", "response")
    found = {column: key for column in wanted if (key := look.find(column, "text"))}
    taken = {*found.values(), *(pair or ()), *look.named.columns.values()}
    texts = [key for key, kind in look.kinds.items() if kind == "text" and key not in taken]
    longest = sorted(texts, key=lambda key: -sum(map(len, look.values(key))))[: len(wanted) - len(found)]
    rest = iter([key for key in texts if key in longest])
    likely = {column: found.get(column) or next(rest, column.upper()) for column in wanted}
    return {**likely, **look.named.columns}
