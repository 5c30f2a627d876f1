"""Python programs that train with TRL, Unsloth or transformers: their calls as the keys of a TRL config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.python import PythonCall, plain, unknowns, why_unknown
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import trl
from qtune.values import Value

# Objects that a program hands from call to call.
_OBJECTS = {"model", "args", "tokenizer", "processing_class", "train_dataset", "eval_dataset", "peft_config"}
_OBJECTS |= {"quantization_config", "data_collator", "callbacks", "ref_model", "config", "compute_metrics"}
_OF_CHATS = {"train_on_responses_only", "apply_chat_template", "get_chat_template", "standardize_sharegpt"}
_OF_CHATS |= {"standardize_data_formats"}
_UNSLOTH = re.compile(r"Fast\w*Model\b")
_NEEDLESS = ("output_dir", "device_map", "token", "use_cache", "low_cpu_mem_usage")
_NO_MODEL = re.compile("Tokenizer|Processor|Config|Peft")
# One of these tells their trainers from others of the same name.
_OF_THEIRS = {"TrainingArguments", "Seq2SeqTrainingArguments", "from_pretrained", "LoraConfig", "SFTTrainer"}
_OF_THEIRS |= {"DPOTrainer", "KTOTrainer", "RewardTrainer", "ORPOTrainer", "CPOTrainer", "GRPOTrainer"}
_DECIDED = ("bf16", "fp16", "dtype", "torch_dtype", "bnb_4bit_compute_dtype")


@dataclass
class _TrlKeys:
    """What the calls have said so far, as keys of a TRL config.

    defaults: what holds where they are silent; checkpoints: whether gradient checkpointing was turned on;
    model: whether the one that is trained was named.
    """

    keys: dict[str, Value] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    part: Translation = field(default_factory=Translation)
    checkpoints: bool = False
    model: bool = False


def translate(calls: Sequence[PythonCall], source: ImportedFile, project: Project) -> Original | None:
    """The training that the calls make, None where they make none by these libraries.

    Raises QtuneError for a trainer that LLaMA-Factory has no counterpart of.
    """
    table = table_beside(__file__, "program.yaml")
    trainers = dict.fromkeys(call.function for call in calls if call.function in table["trainers"])
    if not trainers or not any(call.function in _OF_THEIRS for call in calls):
        return None
    if len({table["trainers"][name] for name in trainers}) > 1:
        fix = "copy the one that you want to a file of its own"
        raise QtuneError(f"trains by {' and '.join(trainers)}", where=source.display, fix=fix)
    program = _TrlKeys()
    name = next(iter(trainers))
    unsloth = any(_UNSLOTH.match(call.name) for call in calls)
    for call in calls:
        _read(call, program, table, unsloth)
    if len(program.part.findings) > len(program.keys):
        fix = "import the command that starts it, or the config that it reads"
        raise QtuneError("takes its values from elsewhere when it runs", where=source.display, fix=fix)
    _rows_of_its_own(calls, program)
    if name in ("Trainer", "Seq2SeqTrainer"):
        texts = any(call.function == "DataCollatorForLanguageModeling" for call in calls)
        program.defaults["stage"] = "pt" if texts else "sft"
    if program.checkpoints:
        program.defaults["disable_gradient_checkpointing"] = False
    kind = f"a Python program with {'Unsloth and ' if unsloth else ''}{name}"
    rows = table["rows"]
    read = trl.read(
        table["trainers"][name], program.keys, source, project, rows=rows, instead=program.defaults
    )
    missing = len(program.part.findings) + (read.coverage.missing if read.coverage else 0)
    coverage = read.coverage and replace(read.coverage, missing=missing)
    return replace(read, kind=kind, part=program.part + read.part, coverage=coverage)


def _read(call: PythonCall, program: _TrlKeys, table: Mapping[str, Any], unsloth: bool) -> None:
    """The call's keywords into `program`, by the name of the function."""
    names, defaults, origin = table["keywords"], table["defaults"], call.origin
    positional = call.positional[0] if call.positional else None
    match call.function:
        case "from_pretrained" if not _NO_MODEL.search(call.name) and not program.model:
            program.model = True
            _take(call.keywords, names["from_pretrained"], program)
            if positional is not None:
                _take({"model_name_or_path": positional}, {}, program)
            if _UNSLOTH.match(call.name):
                program.defaults |= defaults["unsloth"]
        case "LoraConfig" | "get_peft_model" if call.function == "LoraConfig" or unsloth:
            program.keys["use_peft"] = Value(True, origin)
            program.defaults |= defaults[call.function]
            _take(call.keywords, names["lora"], program)
        case "prepare_model_for_kbit_training" | "gradient_checkpointing_enable":
            program.checkpoints = True
        case "BitsAndBytesConfig":
            _take(call.keywords, names["BitsAndBytesConfig"], program)
        case "load_dataset" if "dataset_name" not in program.keys:
            keywords = dict(call.keywords)
            files = keywords.pop("data_files", None)
            named = files or positional
            if named is not None:
                _take({"dataset_name": _first(named)}, {}, program)
            if files is not None:
                keywords.pop("path", None)
            elif len(call.positional) > 1:
                keywords["name"] = call.positional[1]
            _take(keywords, names["load_dataset"], program)
        case "train_on_responses_only":
            program.keys["assistant_only_loss"] = Value(True, origin)
            _take(call.keywords, {}, program)
        case function if function in table["configs"]:
            if "TrainingArguments" in function and not unsloth:
                program.defaults |= defaults["TrainingArguments"]
            _take(call.keywords, {}, program)
        case function if function in table["trainers"]:
            named_model = call.keywords.get("model")
            if named_model is not None and isinstance(named_model.value, str):
                _take({"model": named_model}, names["trainer"], program)
            _take(call.keywords, {}, program)
        case function if plain(call.keywords.get("truncation")) is True and "max_length" in call.keywords:
            _take({"max_length": call.keywords["max_length"]}, {}, program)


def _take(keywords: Mapping[str, Value], names: Mapping[str, str], program: _TrlKeys) -> None:
    """Each keyword as the key that it is; of what only a run knows, one finding each."""
    for keyword, value in keywords.items():
        key = names.get(keyword, keyword)
        if key in _OBJECTS:
            continue
        open_ones = unknowns(value)
        if not open_ones:
            program.keys[key] = Value(plain(value), value.origin)
        elif key in _NEEDLESS:
            program.part += noted(key, "left out: qtune has its own", value.origin)
        elif key in _DECIDED:
            message = "left out: qtune decides on bf16 and fp16 for each machine"
            program.part += noted(key, message, value.origin)
        else:
            why = why_unknown(open_ones[0][1])
            program.part += warned(key, why, f"set {key} in the preset", value.origin)


def _first(files: Value) -> Value:
    """The data file, of the files by split the one to train on."""
    given = files.value
    if isinstance(given, dict) and given:
        given = given.get("train", next(iter(given.values())))
    elif isinstance(given, list) and given:
        given = given[0]
    return given if isinstance(given, Value) else Value(given, files.origin)


def _rows_of_its_own(calls: Sequence[PythonCall], program: _TrlKeys) -> None:
    """What to say of rows that the program makes itself, such as the column `text` of a whole chat."""
    chat = next((call.origin for call in calls if call.function in _OF_CHATS), None)
    made = next((call.origin for call in calls if call.function == "map" and call.of is not None), None)
    function = program.keys.pop("formatting_func", None)
    if made is None and function is not None:
        made = function.origin
    if (chat or made) and (text := program.keys.pop("dataset_text_field", None)):
        message = (
            f"left out: the program writes the column {text.value}, as LLaMA-Factory's template does here"
        )
        program.part += noted("dataset_text_field", message, text.origin)
    if made is not None:
        fix = "register the data with its own columns: `qtune data add` looks at them"
        program.part += warned("train_dataset", "the program makes the rows that it trains on", fix, made)
