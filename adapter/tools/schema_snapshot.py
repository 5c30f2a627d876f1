"""Write qtune's snapshot of what the installed LLaMA-Factory accepts, or check the one that is there.

    python adapter/tools/schema_snapshot.py           # write adapter/qtune/schema/*.json
    python adapter/tools/schema_snapshot.py --check   # exit 1 and say what differs

The snapshot is what lets qtune check a config without importing torch. The types come from the
libraries' own annotations; where their code takes more than they annotate, or less, the tables of
schema_snapshot.yaml say so, each with the place in their source.
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
from functools import cache
from importlib import import_module
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA_DIRECTORY = REPOSITORY / "adapter" / "qtune" / "schema"

TYPE_ORDER = ("bool", "int", "float", "str", "list", "dict")

TABLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

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
            shape.types.update(TABLES["wider_types"].get(name, ()))
            shape.nullable = shape.nullable or name in TABLES["also_nullable"]
            if name in TABLES["closed_choices"]:
                shape.choices = TABLES["closed_choices"][name]
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


def model_keys(model: Any) -> dict[str, Entry]:
    """The keys that one of DeepSpeed's pydantic models accepts, under every name that it accepts."""
    texts = field_help(model)
    found: dict[str, Entry] = {}
    for attribute, field in model.model_fields.items():
        shape = Shape().add(field.annotation)
        if "int" in shape.types and shape.choices is None:
            shape.types.add("float")  # pydantic takes 5e8 for an int, but not 0.5
        shape.types.update(TABLES["zero_wider_types"].get(attribute, ()))
        shape.nullable = shape.nullable or attribute == "leaf_module"
        shape.choices = TABLES["zero_choices"].get(attribute, shape.choices)
        text = texts.get(attribute) or one_line(field.description or "")
        default = None if field.default_factory else field.default
        entry = shape.entry(default, text)
        members = typing.get_args(field.annotation) or (field.annotation,)  # of a union, or itself
        nested = next((kind for kind in members if hasattr(kind, "model_fields")), None)
        if nested is not None:
            entry["keys"] = model_keys(nested)
        found[attribute] = entry
        if field.alias:
            found[field.alias] = entry
            found[attribute] = {**entry, "help": f"The same as {field.alias}. {text}"}
    for name in found.keys() & TABLES["filled_in_by_transformers"]:
        found[name] = {**found[name], "auto": True}
    return found


def deepspeed_keys() -> dict[str, Entry]:
    """DeepSpeed's top-level keys but for zero_optimization."""
    found = table_keys(TABLES["deepspeed_keys"])
    for path, place in TABLES["deepspeed_models"].items():
        module, _, name = place.rpartition(".")
        model = getattr(import_module(module), name)
        outer, _, inner = path.rpartition(".")
        text = one_line(vars(model).get("__doc__") or "")  # its own, not its base's
        entry = {**Shape({"dict"}).entry(None, text), "keys": model_keys(model)}
        (found[outer]["keys"] if outer else found)[inner] = entry
    for path in TABLES["deepspeed_filled_in"]:
        outer, _, inner = path.rpartition(".")
        (found[outer]["keys"] if outer else found)[inner]["auto"] = True
    return found


def table_keys(rows: dict[str, Any]) -> dict[str, Entry]:
    """The keys of our own table, each of which has to stand in DeepSpeed's source as a text."""
    found: dict[str, Entry] = {}
    for name, row in rows.items():
        if not re.search(rf"""["']{name}["']""", deepspeed_source()):
            raise SystemExit(f"{name}: DeepSpeed has no such key")
        default = row.get("default")
        types = {"dict"} if "keys" in row else set(row.get("types") or [type(default).__name__])
        found[name] = Shape(types, choices=row.get("choices")).entry(default, row["help"])
        if "keys" in row:
            found[name]["keys"] = table_keys(row["keys"])
    return found


@cache
def deepspeed_source() -> str:
    """The text of all that reads DeepSpeed's config."""
    import deepspeed

    root = Path(deepspeed.__file__).parent
    parts = ("config.py", "constants.py", "lr_schedules.py", "__init__.py")
    return "\n".join(path.read_text(encoding="utf-8") for part in parts for path in root.rglob(part))


def dataset() -> dict[str, dict[str, Entry]]:
    """The keys of one dataset_info.json registration."""
    from llamafactory.data.parser import DatasetAttr

    fields = {field.name: field for field in dataclasses.fields(DatasetAttr)}
    annotations = typing.get_type_hints(DatasetAttr)
    ours = {*TABLES["dataset_keys"], *TABLES["dataset_columns"], *TABLES["dataset_tags"]}
    if ours != set(fields) - {"load_from", "dataset_name"}:
        raise SystemExit(f"DatasetAttr has other fields than this script: {sorted(ours ^ set(fields))}")

    def entries(texts: dict[str, str]) -> dict[str, Entry]:
        return {
            name: Shape().add(annotations[name]).entry(fields[name].default, text)
            for name, text in texts.items()
        }

    keys = {name: Shape({"str"}).entry(None, text) for name, text in TABLES["dataset_sources"].items()}
    keys |= entries(TABLES["dataset_keys"])
    keys |= {name: Shape({"dict"}).entry(None, text) for name, text in TABLES["dataset_blocks"].items()}
    blocks = {block: entries(TABLES[f"dataset_{block}"]) for block in ("columns", "tags")}
    return {"keys": keys, **blocks}


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
            **{field: slots(getattr(template, field).slots) for field in TABLES["chat_formats"]},
            **{field: getattr(template, field) for field in TABLES["chat_fields"]},
            "function_format": template.format_function.tool_format,
            "tool_format": template.format_tools.tool_format,
            "media": media(template.mm_plugin),
        }
        for name, template in TEMPLATES.items()
    }


def media(plugin: Any) -> Entry | None:
    """The class of what puts a model's own tokens where media stand, and those; None for text alone."""
    if type(plugin).__name__ == "BasePlugin":
        return None
    tokens = {name: value for name, value in vars(plugin).items() if name.endswith("_token")}
    return {"plugin": type(plugin).__name__, **tokens}


def slots(given: list[Any]) -> list[Any]:
    """A formatter's slots; the set that names one of the tokenizer's own tokens becomes {"special": name}."""
    return [{"special": min(slot)} if isinstance(slot, set) else slot for slot in given]


def tool_prompts() -> dict[str, str]:
    """The text around the descriptions of tools, by tool format; formats that have one of a fixed wording."""
    from llamafactory.data import tool_utils

    return {name: getattr(tool_utils, constant) for name, constant in TABLES["tool_prompts"].items()}


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

    found = {identifier.lower(): template for identifier, template in TABLES["more_models"].items()}
    for name, identifiers, group_template in registered_models():
        # A model registered twice has the template that the library itself ends up with.
        template = DEFAULT_TEMPLATE.get(name, group_template)
        for identifier in identifiers:
            known = found.setdefault(identifier.lower(), template)
            if known != template:
                raise SystemExit(f"{identifier}: two templates, {known} and {template}")
    return found


def base_models() -> list[str]:
    """The lower-cased identifiers of models that never learnt to chat.

    Source: llamafactory/extras/constants.py, register_model_group.
    """
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for name, identifiers, _ in registered_models():
        chats = any(suffix in name for suffix in ("-Chat", "-Distill", "-Instruct", "-Thinking"))
        found[chats] |= {identifier.lower() for identifier in identifiers}
    return sorted(found[False] - found[True])


def always_thinking() -> list[str]:
    """The lower-cased identifiers of models that think before each answer, as their hubs' names say."""
    named = re.compile(TABLES["always_thinking"], re.IGNORECASE)
    return sorted(
        identifier.lower()
        for _, identifiers, _ in registered_models()
        if any("/" in identifier and named.search(identifier) for identifier in identifiers)
        for identifier in identifiers
    )


def model_types() -> list[str]:
    """Every model_type that transformers can build."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return sorted(CONFIG_MAPPING_NAMES)


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
        for name in TABLES["packages"]
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


def board_models() -> Entry:
    """What LLaMA Board's names of models are on the Hugging Face hub, and which of them see media."""
    from llamafactory.extras.constants import MULTIMODAL_SUPPORTED_MODELS, SUPPORTED_MODELS, DownloadSource

    hub = DownloadSource.DEFAULT
    return {
        "models": {name: hubs[hub] for name, hubs in SUPPORTED_MODELS.items() if hub in hubs},
        "multimodal": sorted(MULTIMODAL_SUPPORTED_MODELS),
    }


def snapshot() -> dict[str, Any]:
    """Every snapshot file's content by its name."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    names = template_names()
    templates: dict[str, dict[str, str]] = {"models": models(), "model_types": TABLES["model_types"]}
    unknown = {template for table in templates.values() for template in table.values()} - set(names)
    if unknown:
        raise SystemExit(f"no such template: {', '.join(sorted(unknown))}")
    llamafactory = version("llamafactory")
    chats = plain(chat_templates())
    schema = {
        "versions": {name: version(name) for name in ("llamafactory", "transformers", "deepspeed")},
        "arguments": arguments(),
        "zero": model_keys(DeepSpeedZeroConfig),
        "deepspeed": deepspeed_keys(),
        "dataset": dataset(),
        "templates": names,
        "loggers": loggers(),
    }
    return {
        f"llamafactory-{llamafactory}.json": schema,
        f"templates-{llamafactory}.json": {
            **templates,
            "base_models": base_models(),
            "always_thinking": always_thinking(),
            "reasoning": sorted(name for name, row in chats.items() if "Reasoning" in row["class"]),
        },
        f"board-{llamafactory}.json": board_models(),
        f"chat-{llamafactory}.json": {"templates": chats, "tool_prompts": tool_prompts()},
        f"library-{llamafactory}.json": {
            "packages": packages(),
            "composites": composites(),
            "model_types": model_types(),
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
