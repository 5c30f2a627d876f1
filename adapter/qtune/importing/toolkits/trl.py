"""TRL's configs and commands: which trainer they are of, and what its keys are in LLaMA-Factory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import dump_yaml, table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import trainer, trl_data
from qtune.importing.toolkits.table import Reading, ReadKey, Row, Silent, read_toolkit, row_of
from qtune.importing.toolkits.translate import translate
from qtune.values import KeyPath, Origin, Value

_FILE = "trl.yaml"
# What no LLaMA-Factory config has, and what every one has.
_SIGNS = {"dataset_name", "dataset_mixer", "dataset_mixture", "use_peft", "lora_target_modules"}
_SIGNS |= {
    "dataset_text_field",
    "assistant_only_loss",
    "completion_only_loss",
    "packing_strategy",
    "loss_type",
}
_SIGNS |= {"max_prompt_length", "desirable_weight", "cpo_alpha", "reward_funcs", "num_generations"}
_NOT_TRL = {"stage", "finetuning_type", "template", "dataset", "dataset_dir", "cutoff_len", "lora_target"}
_NOT_TRL |= {"lora_rank", "train_file", "data_path"}

# The keys that one trainer alone has, and the words of a path that name one. Source: trl/trainer/*_config.py.
_BY_KEY = {
    "grpo": {"num_generations", "reward_funcs", "use_vllm", "vllm_mode", "log_completions"},
    "kto": {"desirable_weight", "undesirable_weight"},
    "reward": {"center_rewards_coefficient"},
    "cpo": {"cpo_alpha", "simpo_gamma"},
    "sft": {"packing", "packing_strategy", "assistant_only_loss", "completion_only_loss", "max_seq_length"},
}
_BY_WORD = {"sft": "sft", "dpo": "dpo", "kto": "kto", "orpo": "orpo", "cpo": "cpo", "simpo": "cpo"}
_BY_WORD |= {"reward": "reward", "reward_modeling": "reward", "rm": "reward", "grpo": "grpo"}
_OF_PREFERENCES = {"beta", "precompute_ref_log_probs", "rpo_alpha", "label_smoothing", "sync_ref_model"}
_NO_COUNTERPART = "LLaMA-Factory trains by SFT, DPO, KTO, ORPO, SimPO and reward models; keep this one in TRL"


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A YAML of `trl sft`, `trl dpo` and so on, None where the file is none."""
    keys = set(source.keys or {})
    listed = isinstance((source.keys or {}).get("datasets"), list)
    if "model_name_or_path" not in keys or keys & _NOT_TRL or not (listed or keys & _SIGNS):
        return None
    method, why = _method(source)
    read_as = noted("", f"read as `trl {method}`: {why}", Origin(LAYER, source.display))
    original = read(method, source.values(), source, project)
    return replace(original, part=read_as + original.part)


def read(
    method: str,
    keys: Mapping[str, Value],
    source: ImportedFile,
    project: Project,
    rows: Mapping[str, Any] = MappingProxyType({}),
    instead: Mapping[str, Any] = MappingProxyType({}),
) -> Original:
    """The keys of a config or of a command `trl METHOD`.

    rows: more of them, as in the table; instead: defaults that go before TRL's.
    Raises QtuneError for a method that LLaMA-Factory does not have.
    """
    methods = table_beside(__file__, _FILE)["methods"]
    method = _BY_WORD.get(method, method)
    if method not in methods:
        message = f"is TRL's {method.upper()}, which LLaMA-Factory does not have"
        raise QtuneError(message, where=source.display, fix=_NO_COUNTERPART)
    kind = f"a config of `trl {method}`"
    toolkit = read_toolkit(__file__, _FILE, kind, _silent(method, instead), **_readers(method))
    more: dict[KeyPath, Row] = {(name,): row_of(words) for name, words in rows.items()}
    toolkit = replace(toolkit, rows={**trainer.rows(), **toolkit.rows, **more})
    original = translate(toolkit, keys, source, project)
    said = Translation() if "stage" in instead else _of_the_loss(method, keys, source)
    return replace(original, part=original.part + said)


def _method(source: ImportedFile) -> tuple[str, str]:
    """(the trainer, how the file tells): by keys that it alone has, by the file's name, by nothing."""
    keys = source.keys or {}
    losses = keys.get("loss_type")
    for name in losses if isinstance(losses, list) else [losses]:
        if name in ("kto", "simpo", "sigmoid", "hinge", "ipo"):
            return {"kto": "kto", "simpo": "cpo"}.get(name, "dpo"), f"`loss_type` is {name}"
    if keys.get("lora_task_type") == "SEQ_CLS":
        return "reward", "`lora_task_type` is SEQ_CLS"
    words = re.findall(r"[a-z]+", f"{source.path.parent.name} {source.path.stem}".lower())
    named = next((word for word in reversed(words) if word in _BY_WORD), None)
    for method, own in _BY_KEY.items():
        if (has := next((key for key in keys if key in own), None)) is not None:
            return method, f"it has `{has}`"
    if named is not None:
        return _BY_WORD[named], f"its path says {named}"
    has = next((key for key in keys if key in _OF_PREFERENCES), None)
    return ("dpo", f"it has `{has}`") if has else ("sft", "it does not say which trainer it is for")


def _silent(method: str, instead: Mapping[str, Any]) -> Silent:
    table = table_beside(__file__, _FILE)

    def silent(reading: Reading) -> Mapping[str, Any]:
        lora = reading.plain("use_peft") is True
        tuning = {"finetuning_type": "lora", **table["lora"]} if lora else {"finetuning_type": "full"}
        texts = {"packing": False} if reading.plain("dataset_text_field") is not None else {}
        return {**trainer.defaults(reading), **table["methods"][method], **tuning, **texts, **instead}

    return silent


def _readers(method: str) -> dict[str, ReadKey]:
    return {
        "dtype": _dtype,
        "lora": _lora,
        "environment": _environment,
        "accelerate": _accelerate,
        "processes": _processes,
        "packing": _packing,
        "of_packing": _of_packing,
        "loss_mask": _loss_mask,
        "loss": lambda key, value, reading: _loss(method, key, value, reading),
        "of_loss": _of_loss,
        "smoothing": _smoothing,
        **trl_data.readers(method),
    }


def _says(key: str, value: Value, **train: Any) -> Translation:
    """Arguments that a key becomes, with a note of them."""
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in train.items())
    values: dict[KeyPath, Value] = {
        ("train", name): Value(item, value.origin) for name, item in train.items()
    }
    return Translation(values) + noted(key, words, value.origin)


def _dtype(key: str, value: Value, reading: Reading) -> Translation:
    """The type of the loaded weights; LLaMA-Factory holds what it trains in float32 but for pure_bf16.

    Source: llamafactory/model/adapter.py, init_adapter; hparams/parser.py refuses pure_bf16 under ZeRO-3.
    """
    full = reading.plain("use_peft") is not True
    zero3 = "zero3" in str(reading.plain("accelerate_config"))
    word = str(value.value).removeprefix("torch.")
    if full and word == "bfloat16" and not zero3:
        return _says(key, value, pure_bf16=True)
    if full and word == "float16":
        fix = "train with bf16, or keep `fp16: true`, which trains float32 weights in float16 steps"
        return warned(key, "LLaMA-Factory trains no weights that are float16 themselves", fix, value.origin)
    said = "trained weights are float32" if full else "bf16 and fp16 say what the frozen weights are"
    return noted(key, f"left out: in LLaMA-Factory {said}", value.origin)


_LORA = {
    "lora_r": "lora_rank",
    "lora_target_modules": "lora_target",
    "lora_modules_to_save": "additional_target",
}


def _lora(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("use_peft") is not True:
        return noted(key, "left out: TRL reads it with `use_peft: true` alone", value.origin)
    given = value.value
    if key in ("lora_target_modules", "lora_modules_to_save"):
        modules = given if isinstance(given, list) else [given]
        given = ",".join("all" if module == "all-linear" else str(module) for module in modules)
        if not re.fullmatch(r"[\w.,-]+", given):
            fix = "name the modules in lora_target, with commas between"
            return warned(key, f"{given} is a pattern, and LLaMA-Factory takes names", fix, value.origin)
    return _says(key, value, **{_LORA.get(key, key): given})


def _environment(key: str, value: Value, reading: Reading) -> Translation:
    variables = value.value if isinstance(value.value, dict) else {key.upper(): value.value}
    export = " ".join(f"{name}={item}" for name, item in variables.items())
    fix = f"start the training with {export} before the command"
    return warned(key, "sets environment variables, which a preset does not hold", fix, value.origin)


def _accelerate(key: str, value: Value, reading: Reading) -> Translation:
    """The files that TRL ships in trl/accelerate_configs, by name."""
    name = Path(str(value.value)).stem
    stage = re.fullmatch(r"(?:deepspeed_)?zero([123])", name)
    if stage is not None:
        block: dict[str, Any] = {"stage": int(stage[1])}
        block |= {"stage3_gather_16bit_weights_on_model_save": True} if block["stage"] == 3 else {}
        part = Translation({("zero", name): Value(item, value.origin) for name, item in block.items()})
        return part + noted(key, f"`zero: {dump_yaml(block)}`", value.origin)
    if name in ("multi_gpu", "single_gpu"):
        return noted(key, "left out: qtune starts one process a GPU", value.origin)
    fix = "set `launch.launcher: accelerate` and the file's fsdp settings, or take a preset with ZeRO"
    return warned(key, f"{value.value} is not taken over", fix, value.origin)


def _processes(key: str, value: Value, reading: Reading) -> Translation:
    machines = reading.plain("num_machines", 1)
    count, given = ("nnodes", machines) if key == "num_machines" else ("nproc_per_node", value.value)
    if not isinstance(given, int) or not isinstance(machines, int) or machines < 1:
        return warned(key, f"{dump_yaml(value.value)} is no count", f"set launch.{count}", value.origin)
    each = given if key == "num_machines" else given // machines
    part = Translation({("launch", count): Value(each, value.origin)})
    return part + noted(key, f"`{count}: {each}` under `launch:`", value.origin)


def _packing(key: str, value: Value, reading: Reading) -> Translation:
    """TRL's bfd keeps the packed examples apart, as neat_packing does; wrapped joins and cuts them.

    Source: trl/trainer/sft_config.py; llamafactory/data/processor/supervised.py.
    """
    apart = reading.plain("packing_strategy", "bfd") != "wrapped"
    of_texts = reading.plain("dataset_text_field") is not None
    if value.value is True and apart and not of_texts:
        return _says(key, value, packing=True, neat_packing=True)
    return _says(key, value, packing=value.value)


def _of_packing(key: str, value: Value, reading: Reading) -> Translation:
    packing = reading.plain("packing", False)
    if key == "eval_packing" and value.value != packing:
        fix = "keep in mind that the evaluation's loss is over other sequences than TRL's"
        return warned(key, "LLaMA-Factory packs both data sets or none", fix, value.origin)
    return noted(key, "read with `packing`" if packing else "left out: nothing is packed", value.origin)


def _loss_mask(key: str, value: Value, reading: Reading) -> Translation:
    if value.value is True:
        return noted(key, "left out: LLaMA-Factory counts the answers alone", value.origin)
    if key == "completion_only_loss" and reading.plain("assistant_only_loss") is not True:
        return _says(key, value, train_on_prompt=True)
    return noted(key, "left out: TRL's default", value.origin)


def _of_the_loss(method: str, keys: Mapping[str, Value], source: ImportedFile) -> Translation:
    """What to say where the loss that holds without a word is none of LLaMA-Factory's.

    Source: trl/trainer/sft_trainer.py, experimental/cpo/cpo_config.py.
    """
    origin = Origin(LAYER, source.display)
    if method == "cpo" and "loss_type" not in keys:
        return _no_such_loss(method, Value("sigmoid", origin), "of CPO")
    masks = [keys[name].value for name in ("assistant_only_loss", "completion_only_loss") if name in keys]
    if method != "sft" or "dataset_text_field" in keys or any(mask is not None for mask in masks):
        return Translation()
    message = "TRL counts every token of a conversation, LLaMA-Factory the answers alone"
    fix = "set `train_on_prompt: true` in the preset, if all tokens are meant to count"
    return warned("assistant_only_loss", message, fix, origin)


_PREFERENCES = ("sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo")


def _loss(method: str, key: str, value: Value, reading: Reading) -> Translation:
    losses = value.value if isinstance(value.value, list) else [value.value]
    if (method == "sft" and losses in (["nll"], ["chunked_nll"])) or (method == "kto" and losses == ["kto"]):
        return noted(key, "left out: LLaMA-Factory's own loss", value.origin)
    if method == "sft" and losses == ["dft"]:
        return _says(key, value, use_dft_loss=True)
    given = reading.plain("loss_weights")
    weights = given if isinstance(given, list) else [1.0] * len(losses)
    weighed = dict(zip(map(str, losses), map(_number, weights), strict=False))
    of_text = weighed.pop("sft", 0.0)
    (main, weight), *others = weighed.items() or [("", 0.0)]
    pure = method != "cpo" or (reading.plain("cpo_alpha", 1.0) == 0 and main == "simpo")
    if method in ("dpo", "cpo", "orpo") and main in _PREFERENCES and not others and weight and pure:
        share = {"pref_ftx": round(of_text / weight, 6)} if of_text else {}
        return _says(key, value, pref_loss=main, **share)
    return _no_such_loss(method, value, "" if pure else "with CPO's NLL term")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _no_such_loss(method: str, value: Value, how: str) -> Translation:
    usual = "train with the usual loss"
    fix = usual if method in ("sft", "kto") else f"take a `pref_loss` of {', '.join(_PREFERENCES)}"
    message = f"LLaMA-Factory has no loss {dump_yaml(value.value)} {how}".rstrip()
    return warned("loss_type", message, f"{fix}, or keep this training in TRL", value.origin)


def _of_loss(key: str, value: Value, reading: Reading) -> Translation:
    return noted(key, "read with `loss_type`", value.origin)


def _smoothing(key: str, value: Value, reading: Reading) -> Translation:
    """TRL up to 0.29 smooths the sigmoid loss with it, 1.x only losses that LLaMA-Factory does not have."""
    if not value.value:
        return noted(key, "left out: it is off", value.origin)
    part = _says(key, value, dpo_label_smoothing=value.value)
    fix = "take dpo_label_smoothing out of the preset, if it ran in TRL 1.x"
    return part + warned(key, "smooths the sigmoid loss up to TRL 0.29, and not in 1.x", fix, value.origin)
