"""A project's `hub:` block: where models and data come from, as the hubs' own environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args
from urllib.parse import urlsplit

from qtune.config.names import did_you_mean
from qtune.errors import QtuneError
from qtune.files import Document
from qtune.machine.hub import Name
from qtune.secrets.names import is_secret

KEYS = ("name", "mirror", "offline")
NAMES: tuple[str, ...] = get_args(Name)
_ENDPOINTS = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}
_LOG_IN = "log in with `hf auth login` or `modelscope login`, or set HF_TOKEN where it runs"
_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[\w./~%-]*)?")


def hub_variables(name: str | None, mirror: str | None, offline: bool = False) -> dict[str, str]:
    """The variables that Hugging Face's and ModelScope's libraries, and LLaMA-Factory, read.

    name: None leaves the hub as it is; mirror: of the hub named, of Hugging Face's where none is.
    """
    variables = {}
    if name is not None:
        variables["USE_MODELSCOPE_HUB"] = "1" if name == "modelscope" else "0"
    if mirror is not None:
        variables[_ENDPOINTS[name or "huggingface"]] = mirror.rstrip("/")
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    return variables


def read_hub(document: Document) -> Mapping[str, str]:
    """The variables of a project's `hub:`; raises QtuneError where it is wrong, or holds a secret."""
    data = document.data.get("hub")
    if data is None:
        return {}
    if not isinstance(data, dict):
        fix = "indent its keys below `hub:`: name, mirror, offline"
        raise QtuneError("`hub` takes a mapping of keys", where=document.where("hub"), fix=fix)
    for key in data:
        if key in KEYS:
            continue
        where = document.where("hub", key)
        if is_secret(str(key)):
            raise QtuneError(f"`{key}` is no setting: this file is shared", where=where, fix=_LOG_IN)
        fix = did_you_mean(key, KEYS) or f"`hub` has {', '.join(KEYS)}"
        raise QtuneError(f"unknown key `hub.{key}`", where=where, fix=fix)
    name, mirror, offline = (data.get(key) for key in KEYS)
    if name is not None and name not in NAMES:
        raise QtuneError(
            "`hub.name` is not a hub", where=document.where("hub", "name"), fix=" or ".join(NAMES)
        )
    if mirror is not None:
        check_address(mirror, document.where("hub", "mirror"))
    if offline is not None and not isinstance(offline, bool):
        where = document.where("hub", "offline")
        raise QtuneError("`hub.offline` is true or false", where=where, fix="offline: true")
    return hub_variables(name, mirror, bool(offline))


def check_address(address: object, where: str) -> None:
    """Raises QtuneError, which repeats nothing of it, where it is no URL or holds a password."""
    if isinstance(address, str) and "@" in urlsplit(address).netloc:
        raise QtuneError("the mirror's URL holds a password or a token", where=where, fix=_LOG_IN)
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        fix = "such as https://hf-mirror.com, without `?` and what follows it"
        raise QtuneError("the mirror is no URL of a hub", where=where, fix=fix)
