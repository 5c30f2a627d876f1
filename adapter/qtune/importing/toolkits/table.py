"""A toolkit's keys and what each is in LLaMA-Factory: rows in YAML, functions where a row is not enough.

The YAML of a toolkit:

    toolkit: axolotl
    version: 0.19.0
    defaults: {optim: adamw_torch_fused}     # LLaMA-Factory's arguments that hold where a config is silent
    tables:
      - source: src/axolotl/utils/schemas/peft.py     # of the rows below, in that version
        same: [learning_rate, weight_decay]     # they have LLaMA-Factory's own name
        keys:
          lora_r: {is: lora_rank}
          load_in_4bit: {values: {true: {quantization_bit: 4}, false: {}}}
          optimizer: {is: optim, values: {adamw_bnb_8bit: adamw_8bit}}     # other values stay as they are
          attn_implementation: {is: flash_attn, words: attention}     # values of words.yaml, then these
          dataset_prepared_path: {left_out: qtune keeps what it tokenises under the runs}
          lisa_n_layers: {missing: LLaMA-Factory has no LISA, fix: take another method}
          datasets: {by: datasets}     # the function of that name of the toolkit's module
          trl.beta: {is: pref_beta}    # a key within a block
          deepspeed: {zero: {zero1: {stage: 1}}}     # the `zero` block of each file that it ships, by name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qtune.config.project import Project
from qtune.files import dump_yaml, table_beside
from qtune.importing.parts import Translation, noted
from qtune.importing.source import ImportedFile
from qtune.values import KeyPath, Value

_WORDS = {"is": "becomes"}


@dataclass(frozen=True)
class Row:
    """What one key of a toolkit is; the words are those of the YAML, `is` is `becomes`."""

    becomes: str = ""
    values: Mapping[Any, Any] | None = None
    left_out: str = ""
    missing: str = ""
    fix: str = ""
    by: str = ""
    zero: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reading:
    """One config of a toolkit while it is translated: all its keys by path, null ones left out.

    registrations: those that its readers have made so far, so that no two have one name.
    """

    keys: Mapping[KeyPath, Value]
    source: ImportedFile
    project: Project
    registrations: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def plain(self, name: str, default: Any = None) -> Any:
        """The plain value of a key, dotted within a block; `default` where it is not set."""
        found = self.keys.get(tuple(name.split(".")))
        return default if found is None else found.value


ReadKey = Callable[[str, Value, Reading], Translation]
"""(key, dotted within a block; its value; the whole) → what it is; a finding where it has no counterpart."""


def becomes(key: str, value: Value, said: Mapping[str, Any], message: str = "") -> Translation:
    """The arguments that a key becomes, with a note."""
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in said.items())
    values: dict[KeyPath, Value] = {("train", name): Value(item, value.origin) for name, item in said.items()}
    note = ": ".join(text for text in (words, message) if text) or "left out: it is off"
    return Translation(values) + noted(key, note, value.origin)


def becomes_zero(key: str, value: Value, *path: str) -> Translation:
    """The key of the preset's `zero` block that a key becomes."""
    note = f"`{'.'.join(path)}: {dump_yaml(value.value)}` under `zero:`"
    return Translation({("zero", *path): value}) + noted(key, note, value.origin)


Silent = Callable[[Reading], Mapping[str, Any]]
"""A whole config → LLaMA-Factory's arguments that hold where it is silent, by what else it says."""


@dataclass(frozen=True)
class Toolkit:
    """One toolkit: its table, and the functions that the table's `by` names.

    kind: what a config of it is called, such as `an axolotl config`; defaults: as in the YAML; silent: those
    that depend on other keys.
    """

    name: str
    version: str
    kind: str
    rows: Mapping[KeyPath, Row]
    defaults: Mapping[str, Any]
    readers: Mapping[str, ReadKey]
    silent: Silent = lambda reading: {}


def read_toolkit(
    module: str, file: str, kind: str, silent: Silent = lambda reading: {}, **readers: ReadKey
) -> Toolkit:
    """The toolkit of the YAML `file` beside the module of that path."""
    data = table_beside(module, file)
    rows: dict[KeyPath, Row] = {}
    for table in data["tables"]:
        rows |= {(name,): Row(becomes=name) for name in table.get("same", ())}
        rows |= {tuple(key.split(".")): row_of(row) for key, row in table.get("keys", {}).items()}
    return Toolkit(data["toolkit"], data["version"], kind, rows, data.get("defaults", {}), readers, silent)


def row_of(words: Mapping[str, Any]) -> Row:
    """A row by the words of its YAML."""
    row = {_WORDS.get(word, word): item for word, item in words.items()}
    if shared := row.pop("words", None):
        row["values"] = {**shared_words(shared), **row.get("values", {})}
    return Row(**row)


def shared_words(name: str) -> Mapping[str, Any]:
    """One list of words.yaml."""
    words: Mapping[str, Any] = _words()[name]
    return words


def _words() -> Mapping[str, Any]:
    tables: Mapping[str, Any] = table_beside(__file__, "words.yaml")
    return tables
