"""Findings about datasets: names, registration keys, files, and the columns of their first row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from qtune.config.names import did_you_mean, quoted
from qtune.data.file_types import JSON_SUFFIXES
from qtune.data.peek import column_names, first_row
from qtune.data.reading.row_counts import count_rows
from qtune.data.registrations import CONVERSATIONS, Registration, names_in
from qtune.errors import QtuneError
from qtune.schema import column_keys, dataset_keys, problem, tag_keys
from qtune.secrets.text import holds
from qtune.values import Config, Finding, KeyPath, Value

USES = ("dataset", "eval_dataset")
"""The arguments that name datasets."""
DEMO, _DEMO_ROWS = "demo", "demo_eval"
"""What `qtune init` registers."""

# One of these says where the data lies. Hub keys may stand together: the environment picks the hub.
_HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url")
SOURCES = ("file_name", *_HUBS, "script_url", "cloud_file_name")

# llamafactory/extras/constants.py, FILEEXT2TYPE
_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")

# What a row must have beside its prompt, by stage (llamafactory/data/processor).
_ANSWER_COLUMNS = {"sft": ("response",), "kto": ("response", "kto_tag")}
_RANKING_STAGES = ("rm", "dpo")


def check_datasets(config: Config, registrations: Mapping[str, Registration]) -> list[Finding]:
    """Findings for the datasets that `config` uses."""
    findings = check_names(config.values, registrations)
    stage = config.argument("stage")
    for key in USES:
        for name in names_in(config.get("train", key)):
            if name in registrations:
                findings += check_registration(registrations[name], stage)
    return [*dict.fromkeys(findings), *_check_demo_rows(config)]


def _check_demo_rows(config: Config) -> list[Finding]:
    """The demo's evaluation rows, which older projects name in their qtune.yaml, beside other data."""
    used = {key: names_in(config.get("train", key)) for key in USES}
    if _DEMO_ROWS not in used["eval_dataset"] or DEMO in used["dataset"] or not used["dataset"]:
        return []
    others = quoted(used["dataset"])
    message = f"`{_DEMO_ROWS}` says nothing of a training on {others}, and picks its best checkpoint"
    fix = "name rows of your own, as `qtune data split NAME --eval 5%` makes them; or take it out"
    return [Finding("warning", "eval_dataset", message, fix, config.origin("train", "eval_dataset"))]


def check_names(values: Mapping[KeyPath, Value], registrations: Mapping[str, Registration]) -> list[Finding]:
    """The datasets that a config or one of its layers names, but nobody registered."""
    return [
        Finding(
            "error",
            key,
            f"dataset `{name}` is not registered",
            _how_to_register(name, registrations),
            values["train", key].origin,
        )
        for key in USES
        if ("train", key) in values
        for name in names_in(values["train", key].value)
        if name not in registrations
    ]


def check_registration(registration: Registration, stage: str | None = None) -> list[Finding]:
    """What LLaMA-Factory would ignore, choke on or misread in this registration.

    stage: the training stage, whose columns are then looked for; None leaves them out.
    """
    findings = _check_secrets(registration) or _check_keys(registration) or _check_source(registration)
    if not findings:
        findings = [*_check_columns(registration, stage), *_check_draws(registration)]
    return findings


def _how_to_register(name: str, registrations: Mapping[str, Registration]) -> str:
    register = f"register it: `qtune data add {name if PurePath(name).suffix else 'FILE'}`"
    hint = did_you_mean(name, registrations)
    return f"{hint} Or {register}" if hint else register


def _error(registration: Registration, keys: tuple[str, ...], message: str, fix: str) -> list[Finding]:
    """The one finding at these keys of a registration, as the list that every check returns."""
    key = ".".join((registration.name, *keys))
    return [Finding("error", key, message, fix, registration.origin(*keys))]


def _check_secrets(registration: Registration) -> list[Finding]:
    fix = "take it out: HF_TOKEN, `hf auth login` or the hub's own variables answer where it trains"
    message = "holds a password or token, which has no place in a rendered file"
    entry = registration.entry
    return [
        found
        for key in entry
        if holds({key: entry[key]})
        for found in _error(registration, (key,), message, fix)
    ]


def _check_keys(registration: Registration) -> list[Finding]:
    findings: list[Finding] = []
    blocks: list[tuple[tuple[str, ...], Mapping[str, Any], Mapping[str, Any]]] = [
        ((), registration.entry, dataset_keys()),
        (("columns",), registration.block("columns"), column_keys()),
        (("tags",), registration.block("tags"), tag_keys()),
    ]
    for where, given, known in blocks:
        for key, value in given.items():
            if key not in known:
                fix = did_you_mean(key, known) or f"known here: {', '.join(known)}"
                message = "LLaMA-Factory has no such key and would ignore it"
                findings += _error(registration, (*where, key), message, fix)
            elif value is not None and (wrong := problem(known[key], value)):
                findings += _error(registration, (*where, key), wrong, f"set `{key}` to what it takes")
    return findings


def _check_source(registration: Registration) -> list[Finding]:
    sources = [key for key in SOURCES if registration.entry.get(key)]
    if not sources:
        return _error(registration, (), "names no data", "set `file_name`, or a hub's id with `hf_hub_url`")
    if len(sources) > 1 and not set(sources) <= set(_HUBS):
        given = " and ".join(f"`{key}`" for key in sources)
        return _error(registration, (), f"names its data twice: {given}", "keep one of them")
    path = registration.path
    if path is not None and not path.exists():
        fix = f"correct the path; it starts from {registration.document.path.parent.name}/"
        return _error(registration, ("file_name",), f"there is no file {path}", fix)
    if path is not None and path.is_file() and path.suffix not in _SUFFIXES:
        message = f"LLaMA-Factory does not read `{path.suffix or path.name}` files"
        fix = f"convert it to one of {', '.join(_SUFFIXES)}"
        return _error(registration, ("file_name",), message, fix)
    return []


def _check_columns(registration: Registration, stage: str | None) -> list[Finding]:
    path, file = registration.path, next(iter(registration.files), None)
    if path is None or file is None:
        return []
    row: Mapping[str, Any] = {}
    if file.suffix in JSON_SUFFIXES:
        try:
            row = first_row(file)
        except QtuneError as error:
            message = f"{error.where}: {error.what}"
            return _error(registration, ("file_name",), message, error.fix or "mend the file")
        seen = f"the first row has {quoted(row)}"
    else:
        names = column_names(file)
        if names is None:
            return []
        seen = f"its columns are {quoted(names)}"
    findings: list[Finding] = []
    for column, name in registration.block("columns").items():
        if isinstance(name, str) and registration.has_column(name) is False:
            message = f"no row of {path.name} has `{name}`; {seen}"
            findings += _error(registration, ("columns", column), message, "name a key that is there")
    if findings:
        return findings
    columns = registration.columns()
    missing = [column for column in _needed(registration, stage) if not columns.get(column)]
    if missing:
        written = ", ".join(f"{column}: …" for column in missing)
        defaults = quoted(column_keys()[column].default or column for column in missing)
        message = f"no row of {path.name} has {defaults}; {seen}"
        return _error(registration, ("columns",), message, f"say which of them it is: columns: {{{written}}}")
    if registration.formatting in CONVERSATIONS:
        return _check_tags(registration, row.get(columns["messages"]))
    return []


def _check_draws(registration: Registration) -> list[Finding]:
    """What beyond all rows is asked for (llamafactory/data/loader.py, _load_single_dataset)."""
    drawn = registration.entry.get("num_samples")
    rows = count_rows(registration.files) if drawn else None
    if not rows or not drawn or drawn <= rows:
        return []
    message = f"is {drawn:,} and there are {rows:,} rows: {drawn - rows:,} are drawn again, by chance"
    fix = f"set it to {rows} or fewer, unless rows are meant to repeat"
    key, origin = f"{registration.name}.num_samples", registration.origin("num_samples")
    return [Finding("warning", key, message, fix, origin)]


def _needed(registration: Registration, stage: str | None) -> tuple[str, ...]:
    """The columns without which `stage` has nothing to train on."""
    ranked = ("chosen", "rejected") if registration.entry.get("ranking") and stage in _RANKING_STAGES else ()
    if registration.formatting in CONVERSATIONS:
        return ("messages", *ranked)
    return ("prompt", *ranked, *_ANSWER_COLUMNS.get(stage or "", ()))


def _check_tags(registration: Registration, messages: Any) -> list[Finding]:
    """The first message against the tags; a usual slip is `role`/`content` under `from`/`value` tags."""
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
        return []
    tags = registration.tags()
    first = messages[0]
    missing = [tag for tag in ("role_tag", "content_tag") if tags[tag] not in first]
    if missing:
        wanted = " and ".join(f"`{tags[tag]}`" for tag in missing)
        found = quoted(first)
        fix = f"tags: {{{', '.join(f'{tag}: …' for tag in missing)}}}"
        if {"role", "content"} <= first.keys():
            fix = "tags: {role_tag: role, content_tag: content, user_tag: user, assistant_tag: assistant}"
        return _error(registration, ("tags",), f"messages have no {wanted} but {found}", fix)
    roles = {value for tag, value in tags.items() if tag not in ("role_tag", "content_tag")}
    role = first[tags["role_tag"]]
    if role not in roles:
        listed = quoted(sorted(map(str, roles)))
        fix = "name the roles: tags: {user_tag: user, assistant_tag: assistant}"
        message = f"the first message's role is `{role}`; the tags know {listed}"
        return _error(registration, ("tags",), message, fix)
    return []
