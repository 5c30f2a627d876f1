"""The finetune.py of Qwen's own repository: what its table cannot say in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qtune.config.project import Project
from qtune.files import table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import trainer
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.values import Value

_TABLE = "qwen.yaml"
OPTIONS = frozenset({"model_max_length", "use_lora", "q_lora", "data_path", "lazy_preprocess"})
"""Options that tell this finetune.py from others."""


def read(method: str, keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Original:
    """The options of a command that starts it."""
    toolkit = read_toolkit(__file__, _TABLE, "a command of Qwen's finetune.py", _silent, data=_data)
    return translate(replace(toolkit, rows={**trainer.rows(), **toolkit.rows}), keys, source, project)


def _silent(reading: Reading) -> dict[str, Any]:
    held = {"finetuning_type": "full", **trainer.defaults(reading)}
    if reading.plain("use_lora"):
        held |= {"finetuning_type": "lora", **table_beside(__file__, _TABLE)["lora_defaults"]}
    return held


def _data(key: str, value: Value, reading: Reading) -> Translation:
    """Rows of `conversations`, with `from` and `value` (finetune.py, preprocess)."""
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "assistant"}
    told = {"formatting": "sharegpt", "columns": {"messages": "conversations"}, "tags": tags}
    data = NamedData(str(value.value), value.origin, told)
    return registered(key, [data], reading, "eval_dataset" if key.startswith("eval") else "dataset")
