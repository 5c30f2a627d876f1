"""The data of an ms-swift training: its way to name data sets, and what is known of their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qtune.files import from_json, table_beside
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading
from qtune.values import Origin, Value

_NAMED = re.compile(
    r"(?:(?P<hub>hf|ms)::)?(?P<name>[^#]*?)(?::(?P<subsets>[^:#]*))?(?:#(?P<rows>\d+))?", re.IGNORECASE
)


def words() -> Mapping[str, Any]:
    """What the readers of ms-swift's keys know beside its table."""
    found: Mapping[str, Any] = table_beside(__file__, "ms-swift-words.yaml")
    return found


def data(key: str, value: Value, reading: Reading) -> Translation:
    """`hub::name:subset/subset#rows`, any part but the name left out (swift/dataset/dataset_syntax.py)."""
    given = value.value if isinstance(value.value, list) else [value.value]
    sets = [data for text in given for data in _named(str(text), value.origin, reading)]
    target = "eval_dataset" if key == "val_dataset" else "dataset"
    return registered(key, sets, reading, target)


def _named(text: str, origin: Origin, reading: Reading) -> list[NamedData]:
    match = _NAMED.fullmatch(text)
    if match is None or reading.source.find(text):
        return [NamedData(text, origin, _told(text, reading))]
    hugging_face = match["hub"].lower() == "hf" if match["hub"] else from_hugging_face(reading)
    told = _told(match["name"], reading)
    if match["rows"]:
        told["num_samples"] = int(match["rows"])
    subsets = [subset.strip() for subset in (match["subsets"] or "").split("/")]
    return [
        NamedData(
            match["name"].strip(),
            origin,
            {**told, "subset": subset} if subset not in ("", "default", "all") else told,
            "hf_hub_url" if hugging_face else "ms_hub_url",
        )
        for subset in subsets
    ]


def _told(name: str, reading: Reading) -> dict[str, Any]:
    """What is known of the rows: `columns`, their names by ms-swift's, and its own usual sets."""
    columns = mapping_of(reading.plain("columns"))
    names = words()["columns"]
    told = {names[theirs]: ours for ours, theirs in columns.items() if theirs in names}
    if told:
        return {"formatting": "sharegpt" if "messages" in told else "alpaca", "columns": told}
    return dict(words()["known_data"].get(name.rpartition("/")[2], {}))


def from_hugging_face(reading: Reading) -> bool:
    return any(str(reading.plain(key, "")).lower() in ("true", "1") for key in ("use_hf", "USE_HF"))


def identity(key: str, value: Value, reading: Reading) -> Translation:
    """The name or the author that ms-swift writes into its data; one warning for both."""
    if key == "model_author" and reading.plain("model_name"):
        return noted(key, "left out, as model_name", value.origin)
    fix = "write the names into a copy of the data, in place of {{NAME}} and {{AUTHOR}}"
    return warned(key, "LLaMA-Factory does not put names into data", fix, value.origin)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """A mapping, also as JSON text; empty where it is neither."""
    if isinstance(value, str):
        try:
            value = from_json(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
