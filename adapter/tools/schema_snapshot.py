"""Write qtune's snapshot of what the installed LLaMA-Factory accepts, or check the one that is there.

    python adapter/tools/schema_snapshot.py           # write adapter/qtune/schema/*.json
    python adapter/tools/schema_snapshot.py --check   # exit 1 and say what differs

The snapshot is what lets qtune check a config without importing torch. The types come from the
libraries' own annotations; where their code takes more than they annotate, or less, the tables at the
top of this file say so, each with the place in their source.
"""

import argparse
import ast
import dataclasses
import inspect
import json
import re
import sys
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA_DIRECTORY = REPOSITORY / "adapter" / "qtune" / "schema"

TYPE_ORDER = ("bool", "int", "float", "str", "list", "dict")

# Types that the code handles beside the annotated ones.
WIDER_TYPES = {
    # split_arg in data_args.py and finetuning_args.py: text is split at commas, a list is kept
    "dataset": ("list",),
    "eval_dataset": ("list",),
    "interleave_probs": ("list",),
    "additional_target": ("list",),
    "apollo_target": ("list",),
    "freeze_extra_modules": ("list",),
    "freeze_trainable_modules": ("list",),
    "galore_target": ("list",),
    "lora_target": ("list",),
    "oft_target": ("list",),
    # train/tuner.py: str(master_port)
    "master_port": ("int",),
    # transformers, Trainer.train: true means the newest checkpoint in output_dir, false none
    "resume_from_checkpoint": ("bool",),
    # transformers, TrainingArguments._process_fsdp_args: true means full_shard
    "fsdp": ("bool",),
}

# Closed sets that the annotation does not tell.
CLOSED_CHOICES: dict[str, list[Any]] = {
    # transformers, TrainingArguments.include_num_input_tokens_seen; a boolean stands for all or no
    "include_num_input_tokens_seen": ["all", "non_padding", "no"],
    # finetuning_args.py: assert ... in [None, 8, 4]
    "ref_model_quantization_bit": [4, 8],
    "reward_model_quantization_bit": [4, 8],
    # train/fp8_utils.py takes any text, and silently does the default with a misspelt one
    "fp8_backend": ["auto", "torchao", "te", "msamp"],
}

# Null is handled although the annotation leaves it out (transformers, TrainingArguments.__post_init__).
ALSO_NULLABLE = {"debug"}

# transformers/integrations/deepspeed.py, trainer_config_finalize: what "auto" is replaced in. DeepSpeed
# itself quietly drops every other "auto" and takes its own default.
FILLED_IN_BY_TRANSFORMERS = {
    "reduce_bucket_size",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
}

# Checked in validators rather than annotated: zenflow_config.py, leaf_module_config.py.
ZERO_CHOICES = {
    "select_strategy": ["auto", "step", "epoch"],
    "select_interval": ["auto"],
    "update_interval": ["auto"],
}
ZERO_WIDER_TYPES = {"classes": ("str",), "names": ("str",), "name_suffixes": ("str",), "leaf_module": ()}

# LLaMA-Factory documents dataset_info.json outside its code (data/README.md), so the words are ours.
# Where the keys come from: data/parser.py, get_dataset_list and DatasetAttr.join.
DATASET_SOURCES = {
    "file_name": "Data file, or folder of data files, below dataset_dir.",
    "hf_hub_url": "Dataset on the Hugging Face hub, as owner/name.",
    "ms_hub_url": "Dataset on the ModelScope hub, as owner/name; used when USE_MODELSCOPE_HUB=1.",
    "om_hub_url": "Dataset on the Modelers hub, as owner/name; used when USE_OPENMIND_HUB=1.",
    "script_url": "Folder below dataset_dir that holds a loading script.",
    "cloud_file_name": "Data file in a cloud bucket, as s3://... or gs://....",
}
DATASET_KEYS = {
    "formatting": "Shape of the rows.",
    "ranking": "Whether each row holds a chosen and a rejected answer (stages rm and dpo).",
    "subset": "Name of the subset (configuration) of a hub dataset.",
    "split": "Split to read.",
    "folder": "Folder inside a hub dataset to read.",
    "num_samples": "Number of rows to sample; rows repeat when there are fewer.",
}
DATASET_BLOCKS = {
    "columns": "Which column holds what; in a block given partly, LLaMA-Factory has no column for the rest.",
    "tags": "Keys and role names of sharegpt rows; in a block given partly, the rest have no name.",
}
DATASET_COLUMNS = {
    "prompt": "Column with the instruction (alpaca).",
    "query": "Column with the input that follows the instruction (alpaca).",
    "response": "Column with the answer (alpaca).",
    "history": "Column with earlier turns, a list of pairs (alpaca).",
    "messages": "Column with the list of messages (sharegpt, openai).",
    "system": "Column with the system prompt.",
    "tools": "Column with the descriptions of tools.",
    "images": "Column with the paths of images.",
    "videos": "Column with the paths of videos.",
    "audios": "Column with the paths of audio files.",
    "chosen": "Column with the preferred answer (ranking).",
    "rejected": "Column with the rejected answer (ranking).",
    "kto_tag": "Column that says whether the answer is a desirable one (kto).",
}
DATASET_TAGS = {
    "role_tag": "Key in a message that holds the role.",
    "content_tag": "Key in a message that holds the text.",
    "user_tag": "Role name of the user.",
    "assistant_tag": "Role name of the assistant.",
    "observation_tag": "Role name of a tool's result.",
    "function_tag": "Role name of a tool call.",
    "system_tag": "Role name of the system prompt.",
}

# For a local directory whose name says nothing: config.json's model_type, where everything its makers
# released under that type takes one template. A wrong template trains without a word and spoils the
# model, so whatever shares a type is left out and has to be named in the config:
#   llama (Llama 2 and 3, Yi, SOLAR, Vicuna, SmolLM, ...), mistral (7B; Nemo is ministral, Small is
#   mistral_small), phi3 (Phi-3 phi, Phi-4 phi4, Phi-4-mini phi4_mini), chatglm (ChatGLM3 chatglm3,
#   GLM-4-9B glm4), glm4 (GLM-4-0414 glm4, GLM-Z1 glmz1), glm4_moe (4.5, 4.7), deepseek_v2 (V2, V2.5),
#   deepseek_v3 (V3, R1, Moonlight), exaone (3.0, Deep), minicpm (2, 4), the qwen3 relatives that exist
#   as Instruct and as Thinking (qwen3_moe, qwen3_next, qwen3_vl, qwen3_omni_moe), qwen3_5 (3.5, 3.6),
#   gemma4 (E2B and E4B gemma4n, the others gemma4), llava and llava_next (any language model inside).
# qwen3 itself is in: of its dense models only Qwen3-4B-Instruct-2507 differs, and it is known by name.
# Fine-tunes that brought a template of their own (DeepSeek-R1-Distill-Qwen under qwen2) are known by name.
MODEL_TYPES = {
    "cohere": "cohere",
    "dbrx": "dbrx",
    "falcon": "falcon",
    "falcon_h1": "falcon_h1",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma2",  # the text-only sizes, 270M and 1B: gemma2 is the library's own choice
    "gemma3n": "gemma3n",
    "glm4_moe_lite": "glm4_7",
    "gpt_oss": "gpt_oss",
    "granite": "granite3",
    "granitemoe": "granite3",
    "internlm2": "intern2",
    "internlm3": "intern2",
    "lfm2": "lfm2",
    "llama4": "llama4",
    "minimax_m2": "minimax2",
    "mixtral": "mistral",
    "mllama": "mllama",
    "phi3small": "phi_small",
    "phimoe": "phi",
    "qwen2": "qwen",
    "qwen2_5_omni": "qwen2_omni",
    "qwen2_5_vl": "qwen2_vl",
    "qwen2_audio": "qwen2_audio",
    "qwen2_moe": "qwen",
    "qwen2_vl": "qwen2_vl",
    "qwen3": "qwen3",
    "seed_oss": "seed_oss",
}

# Where llamafactory/data/tool_utils.py keeps the prompt of each tool format; gemma4 and mistral have none.
TOOL_PROMPTS = {
    "default": "DEFAULT_TOOL_PROMPT",
    "glm4": "GLM4_TOOL_PROMPT",
    "glm4_moe": "GLM4_MOE_TOOL_PROMPT",
    "lfm2": "LFM2_TOOL_PROMPT",
    "ling": "LING_TOOL_PROMPT",
    "llama3": "LLAMA3_TOOL_PROMPT",
    "minimax1": "MINIMAX_M1_TOOL_PROMPT",
    "minimax2": "MINIMAX_M2_TOOL_PROMPT",
    "qwen": "QWEN_TOOL_PROMPT",
    "qwen3_5": "QWEN35_TOOL_PROMPT",
    "seed_oss": "SEED_TOOL_PROMPT",
}

# What a training stands on, in the order in which doctor looks at it.
PACKAGES = (
    *("llamafactory", "torch", "transformers", "datasets", "accelerate", "peft", "trl"),
    *("deepspeed", "bitsandbytes"),
)

CHAT_FORMATS = ("prefix", "system", "user", "assistant", "observation", "function")
CHAT_FIELDS = (
    "default_system",
    "stop_words",
    "thought_words",
    "tool_call_words",
    "efficient_eos",
    "replace_eos",
    "enable_thinking",
    "preserve_thinking",
)

Entry = dict[str, Any]


@dataclasses.dataclass
class Shape:
    """What a resolved annotation lets a YAML value be."""

    types: set[str] = dataclasses.field(default_factory=set)
    nullable: bool = False
    choices: list[Any] | None = None

    def add(self, annotation: Any) -> "Shape":
        """Take in one annotation; a union is taken in member by member."""
        origin = typing.get_origin(annotation)
        if annotation is None or annotation is type(None):
            self.nullable = True
        elif origin in (typing.Union, types.UnionType):
            for member in typing.get_args(annotation):
                self.add(member)
        elif origin is typing.Literal:
            self.add_choices(list(typing.get_args(annotation)))
        elif origin in (list, dict):
            self.types.add(origin.__name__)
        elif annotation in (bool, int, float, str, list, dict):
            self.types.add(annotation.__name__)
        elif annotation is Path:
            self.types.add("str")
        elif isinstance(annotation, type) and issubclass(annotation, Enum):
            self.add_choices([member.value for member in annotation])
        elif hasattr(annotation, "model_fields"):  # a pydantic model
            self.types.add("dict")
        # Anything else (GenerationConfig, ParallelismConfig) is a Python object: YAML cannot hold it.
        return self

    def add_choices(self, choices: list[Any]) -> None:
        self.choices = (self.choices or []) + choices
        self.types.update(type(choice).__name__ for choice in choices)

    def entry(self, default: Any, help_text: str) -> Entry:
        """The shape as the snapshot holds it."""
        return {
            "types": [name for name in TYPE_ORDER if name in self.types],
            "nullable": self.nullable,
            "choices": self.choices,
            "default": plain(default),
            "help": help_text,
        }


def plain(value: Any) -> Any:
    """The value as JSON can hold it, or None."""
    if isinstance(value, Enum):
        value = value.value
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None


def one_line(text: str) -> str:
    """Help text without line breaks, argparse's doubled percent signs and reStructuredText roles."""
    text = re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`").replace("%%", "%")
    text = re.sub(r"\[([^\]]+)\]\((?:https?:[^)]*)\)", r"\1", text)
    return " ".join(text.split())


def arguments() -> dict[str, Entry]:
    """Every argument that HfArgumentParser.parse_dict accepts for a training."""
    from llamafactory.hparams.parser import _TRAIN_ARGS

    found: dict[str, Entry] = {}
    for arguments_class in _TRAIN_ARGS:
        group = arguments_class.__name__.removesuffix("Arguments").lower()
        annotations = typing.get_type_hints(arguments_class)
        for field in dataclasses.fields(arguments_class):
            if not field.init:
                continue
            name = field.name
            help_text = one_line(field.metadata.get("help", ""))
            if name in found or not help_text:
                raise SystemExit(f"{name}: given twice or without help; this script expects neither")
            shape = Shape().add(annotations[name])
            shape.types.update(WIDER_TYPES.get(name, ()))
            shape.nullable = shape.nullable or name in ALSO_NULLABLE
            if name in CLOSED_CHOICES:
                shape.choices = CLOSED_CHOICES[name]
            elif "choices" in field.metadata:  # metadata meant for argparse
                shape.choices = list(field.metadata["choices"])
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            else:
                default = field.default
            found[name] = {"group": group, **shape.entry(default, help_text)}
    return found


def field_help(model: type) -> dict[str, str]:
    """The text literals that follow a pydantic model's fields, by field."""
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    previous: str | None = None  # the field whose text may come next
    waiting = ""  # a second text in a row: written above its field instead of below
    for statement in body.body[1:] if ast.get_docstring(body) else body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            previous = statement.target.id
            found[previous], waiting = waiting, ""
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            text = one_line(str(statement.value.value))
            if previous is not None and not found[previous]:
                found[previous] = text
            else:
                waiting = text
    return found


def zero_keys(model: Any) -> dict[str, Entry]:
    """The keys that one of DeepSpeed's pydantic models accepts, under every name that it accepts."""
    texts = field_help(model)
    found: dict[str, Entry] = {}
    for attribute, field in model.model_fields.items():
        shape = Shape().add(field.annotation)
        if "int" in shape.types and shape.choices is None:
            shape.types.add("float")  # pydantic takes 5e8 for an int, but not 0.5
        shape.types.update(ZERO_WIDER_TYPES.get(attribute, ()))
        shape.nullable = shape.nullable or attribute == "leaf_module"
        shape.choices = ZERO_CHOICES.get(attribute, shape.choices)
        text = texts.get(attribute) or one_line(field.description or "")
        default = None if field.default_factory else field.default
        entry = shape.entry(default, text)
        nested = next((kind for kind in members(field.annotation) if hasattr(kind, "model_fields")), None)
        if nested is not None:
            entry["keys"] = zero_keys(nested)
        found[attribute] = entry
        if field.alias:
            found[field.alias] = entry
            found[attribute] = {**entry, "help": f"The same as {field.alias}. {text}"}
    for name in FILLED_IN_BY_TRANSFORMERS & set(found):
        found[name] = {**found[name], "auto": True}
    return found


def members(annotation: Any) -> tuple[Any, ...]:
    """A union's members, or the annotation itself."""
    return typing.get_args(annotation) or (annotation,)


def dataset() -> dict[str, dict[str, Entry]]:
    """The keys of one dataset_info.json registration."""
    from llamafactory.data.parser import DatasetAttr

    fields = {field.name: field for field in dataclasses.fields(DatasetAttr)}
    annotations = typing.get_type_hints(DatasetAttr)
    ours = {*DATASET_KEYS, *DATASET_COLUMNS, *DATASET_TAGS}
    if ours != set(fields) - {"load_from", "dataset_name"}:
        raise SystemExit(f"DatasetAttr has other fields than this script: {sorted(ours ^ set(fields))}")

    def entries(texts: dict[str, str]) -> dict[str, Entry]:
        return {
            name: Shape().add(annotations[name]).entry(fields[name].default, text)
            for name, text in texts.items()
        }

    keys = {name: Shape({"str"}).entry(None, text) for name, text in DATASET_SOURCES.items()}
    keys |= entries(DATASET_KEYS)
    keys |= {name: Shape({"dict"}).entry(None, text) for name, text in DATASET_BLOCKS.items()}
    return {"keys": keys, "columns": entries(DATASET_COLUMNS), "tags": entries(DATASET_TAGS)}


def template_names() -> list[str]:
    """The chat templates that LLaMA-Factory knows."""
    from llamafactory.data.template import TEMPLATES

    return sorted(TEMPLATES)


def chat_templates() -> dict[str, Entry]:
    """What each chat template puts around a conversation, under the names of its own fields."""
    from llamafactory.data.template import TEMPLATES

    return {
        name: {
            "class": type(template).__name__,
            **{f"format_{part}": slots(getattr(template, f"format_{part}").slots) for part in CHAT_FORMATS},
            **{field: getattr(template, field) for field in CHAT_FIELDS},
            "function_format": template.format_function.tool_format,
            "tool_format": template.format_tools.tool_format,
            "multimodal": type(template.mm_plugin).__name__ != "BasePlugin",
        }
        for name, template in TEMPLATES.items()
    }


def slots(given: list[Any]) -> list[Any]:
    """A formatter's slots; the set that names one of the tokenizer's own tokens becomes {"special": name}."""
    return [{"special": min(slot)} if isinstance(slot, set) else slot for slot in given]


def tool_prompts() -> dict[str, str]:
    """The text around the descriptions of tools, by tool format; formats that have one of a fixed wording."""
    from llamafactory.data import tool_utils

    return {name: getattr(tool_utils, constant) for name, constant in TOOL_PROMPTS.items()}


def registered_models() -> Iterator[tuple[str, set[str], str]]:
    """Each registered model's display name, identifiers, and its group's template.

    Read from the source: at run time the library keeps no template for base models.
    """
    from llamafactory.extras import constants

    for statement in ast.parse(inspect.getsource(constants)).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "register_model_group":
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        models = given["models"]
        assert isinstance(models, ast.Dict)
        if "template" not in given:
            continue
        template = ast.literal_eval(given["template"])
        for key, hubs in zip(models.keys, models.values, strict=True):
            assert key is not None and isinstance(hubs, ast.Dict)
            name = ast.literal_eval(key)
            yield name, {name, *(ast.literal_eval(value) for value in hubs.values)}, template


def models() -> dict[str, str]:
    """Template by model identifier, lower-cased."""
    from llamafactory.extras.constants import DEFAULT_TEMPLATE

    found: dict[str, str] = {}
    for name, identifiers, group_template in registered_models():
        # A model registered twice has the template that the library itself ends up with.
        template = DEFAULT_TEMPLATE.get(name, group_template)
        for identifier in identifiers:
            known = found.setdefault(identifier.lower(), template)
            if known != template:
                raise SystemExit(f"{identifier}: two templates, {known} and {template}")
    return found


def packages() -> list[Entry]:
    """The ranges of the packages; see qtune/schema/library.py, class Package."""
    from llamafactory.extras import misc

    gates = clauses(re.findall(r'check_version\("(.+)"\)', inspect.getsource(misc.check_dependencies)))
    # of a wheel's requirements the upper bound stands first
    needed = clauses(requires("llamafactory") or ())
    ranges = {name: ",".join(reversed(text.split(","))) for name, text in needed.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges |= clauses(project["optional-dependencies"]["train"])
    tested = clauses((REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines())
    return [
        {
            "name": name,
            "gate": gates.get(name),
            "range": ranges[name],
            "tested": tested[name].removeprefix("=="),
        }
        for name in PACKAGES
    ]


def clauses(requirements: Iterable[str]) -> dict[str, str]:
    """The range that each requirement gives, by the package's name."""
    found = (re.match(r"([\w-]+)(.*)", requirement) for requirement in requirements)
    return {match[1]: match[2] for match in found if match}


def composites() -> dict[str, dict[str, list[str]]]:
    """What is frozen of models that see or hear; see qtune/schema/library.py, class Composite."""
    from llamafactory.model.model_utils.visual import COMPOSITE_MODELS

    return {
        model_type: {
            "projector": composite.projector_keys,
            "vision": composite.vision_model_keys,
            "language": composite.language_model_keys,
            "conflicts": composite.lora_conflict_keys,
        }
        for model_type, composite in COMPOSITE_MODELS.items()
    }


def loggers() -> list[str]:
    """What transformers can report to."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    return sorted(INTEGRATION_TO_CALLBACK)


def snapshot() -> dict[str, Any]:
    """Every snapshot file's content by its name."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    names = template_names()
    templates = {"models": models(), "model_types": MODEL_TYPES}
    unknown = {template for table in templates.values() for template in table.values()} - set(names)
    if unknown:
        raise SystemExit(f"no such template: {', '.join(sorted(unknown))}")
    llamafactory = version("llamafactory")
    schema = {
        "versions": {name: version(name) for name in ("llamafactory", "transformers", "deepspeed")},
        "arguments": arguments(),
        "zero": zero_keys(DeepSpeedZeroConfig),
        "dataset": dataset(),
        "templates": names,
    }
    return {
        f"llamafactory-{llamafactory}.json": schema,
        f"templates-{llamafactory}.json": templates,
        f"chat-{llamafactory}.json": {"templates": plain(chat_templates()), "tool_prompts": tool_prompts()},
        f"library-{llamafactory}.json": {
            "packages": packages(),
            "composites": composites(),
            "loggers": loggers(),
        },
    }


def differences(old: Any, new: Any, where: str) -> Iterator[str]:
    """What changed from old to new, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            here = f"{where} {key}"
            if key not in old:
                yield f"{here}: new"
            elif key not in new:
                yield f"{here}: gone"
            else:
                yield from differences(old[key], new[key], here)
    elif old != new or type(old) is not type(new):
        yield f"{where}: {json.dumps(old, ensure_ascii=False)} is now {json.dumps(new, ensure_ascii=False)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check

    stale = False
    for name, content in snapshot().items():
        path = SCHEMA_DIRECTORY / name
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
        elif not path.exists():
            stale = True
            print(f"{name}: missing")
        elif path.read_text(encoding="utf-8") != text:
            stale = True
            old = json.loads(path.read_text(encoding="utf-8"))
            print("\n".join(differences(old, content, f"{name}:")) or f"{name}: differs in layout only")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
