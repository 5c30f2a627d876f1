"""LLaMA-Factory's configs that train nothing: those of an export, a chat or an evaluation.

Each is told what it is, and which of qtune's commands does the same of a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qtune.errors import QtuneError
from qtune.files import dump_yaml
from qtune.importing.original import Original
from qtune.schema import arguments
from qtune.values import Value

# llamafactory/hparams/evaluation_args.py
_BENCHMARK = ("task", "task_dir", "n_shot")
_MEASURES = ("do_predict", "do_eval", "predict_with_generate")
_DATA = ("dataset", "dataset_dir", "eval_dataset", "cutoff_len", "streaming", "packing", "val_size")
_SET_BY_EXPORT = (
    *("export_size", "export_device", "infer_dtype"),
    *("export_quantization_bit", "export_quantization_dataset"),
    *("export_quantization_nsamples", "export_quantization_maxlen"),
)
_ADAPTER = "adapter_name_or_path"
_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # unlike saves/model/lora and ./model


def require_training(original: Original) -> None:
    """Raises QtuneError where the keys are those of a config that trains nothing."""
    keys = original.keys
    if _plain(keys, "do_train") in (True, "true", "True"):
        return
    if _plain(keys, "export_dir") is not None:
        raise _error(original, "export_dir", "an export config", _export(keys))
    if not original.whole:  # another toolkit's, which knows no do_train
        return
    for key in _BENCHMARK:
        if key in keys and key not in arguments():
            tasks = str(_plain(keys, "task") or "").partition("_")[0] or "TASKS"
            raise _error(original, key, "a benchmark's config", f"qtune eval RUN --harness {tasks}")
    measured = next((key for key in _MEASURES if _plain(keys, key) is True), None)
    if measured is not None:
        raise _error(original, measured, "an evaluation config", _evaluation(keys))
    if _chats(keys):
        key = "infer_backend" if "infer_backend" in keys else "template"
        raise _error(original, key, "a chat config", _chat(keys))


def _plain(keys: Mapping[str, Value], key: str) -> Any:
    found = keys.get(key)
    return None if found is None else found.value


def _error(original: Original, key: str, kind: str, command: str) -> QtuneError:
    model, adapter = (_plain(original.keys, name) for name in ("model_name_or_path", _ADAPTER))
    of = f"; it is for {model}{f' with the adapter {adapter}' if adapter else ''}" if model else ""
    if model and not adapter and _HUB.fullmatch(str(model)):
        fix = f"qtune does that with a run: train one from {model}; then `{command}`"
    else:
        trained = adapter or model or "the model"
        fix = f"import the config that trained {trained}, and train it; then `{command}`"
    what = f"is {kind} (`{key}`), which trains nothing{of}"
    return QtuneError(what, where=original.keys[key].origin.place, fix=fix)


def _export(keys: Mapping[str, Value]) -> str:
    return f"qtune export RUN -o {_plain(keys, 'export_dir')}" + _settings(keys, _SET_BY_EXPORT)


def _evaluation(keys: Mapping[str, Value]) -> str:
    command = "qtune eval RUN"
    data = _plain(keys, "eval_dataset") or _plain(keys, "dataset")
    if data:
        command += f" -d {','.join(data) if isinstance(data, list) else data}"
    if _plain(keys, "max_samples"):
        command += f" --max-samples {_plain(keys, 'max_samples')}"
    if not any(_plain(keys, key) for key in ("do_predict", "predict_with_generate")):
        command += " --loss-only"
    return command + _settings(keys, _of_group("generating"))


def _chat(keys: Mapping[str, Value]) -> str:
    backend = _plain(keys, "infer_backend")
    command = "qtune chat RUN"
    if backend and backend != arguments()["infer_backend"].default:
        command += f" --infer-backend {backend}"
    return command + _settings(keys, _of_group("generating"))


def _chats(keys: Mapping[str, Value]) -> bool:
    """Whether the keys say how a model is loaded and asked, and nothing of data or of a training."""
    groups = {
        arguments()[key].group if key in arguments() else "" for key in keys if key != "finetuning_type"
    }
    return (
        "template" in keys
        and "model_name_or_path" in keys
        and groups <= {"model", "data", "generating"}
        and not any(key in keys for key in _DATA)
    )


def _of_group(group: str) -> tuple[str, ...]:
    return tuple(name for name, argument in arguments().items() if argument.group == group)


def _settings(keys: Mapping[str, Value], names: tuple[str, ...]) -> str:
    set_ = [name for name in names if _plain(keys, name) not in (None, arguments()[name].default)]
    return "".join(f" -s {name}={dump_yaml(_plain(keys, name))}" for name in set_)
