"""LLaMA Board's saved configs: the fields of its page as the arguments that it starts a training with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import dump_yaml, from_json, table_beside
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, refused
from qtune.importing.retype import plain
from qtune.importing.source import ImportedFile
from qtune.schema import snapshot
from qtune.values import Value

_MODEL = "top.model_name"
_MADE = ("train.reward_model", "train.ds_offload", "top.quantization_method")
_PEFT = ("lora", "oft")  # llamafactory/extras/constants.py, PEFT_METHODS


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A config that LLaMA Board saved, None for any other file.

    Raises QtuneError for one that it saved of an evaluation.
    """
    keys = source.keys or {}
    if _MODEL not in keys:
        return None
    if "train.training_stage" not in keys:
        fix = "`qtune eval RUN -d DATASET` measures what a run trained"
        raise QtuneError("is what LLaMA Board saved of an evaluation", where=source.display, fix=fix)
    board = _Board(source)
    arguments = dict(board.arguments())
    kept = board.table["kept"]
    said = {name: value for name, value in arguments.items() if name in kept or _is_said(value.value)}
    return Original("a config that LLaMA Board saved", source, said, board.rest(), whole=True)


class _Board:
    """The fields of one saved config; those that were read are kept in mind."""

    def __init__(self, source: ImportedFile) -> None:
        self.table: Mapping[str, Any] = table_beside(__file__, "board.yaml")
        self.part = Translation()
        self._source = source
        self._fields = source.values()
        self._read: set[str] = set()

    def get(self, field: str, default: Any = None) -> Any:
        self._read.add(field)
        found = self._fields.get(field)
        return default if found is None else found.value

    def arguments(self) -> Iterator[tuple[str, Value]]:
        """(argument, value) as LLaMA Board sets them; a later one of a name wins."""
        origin = self._source.origin(_MODEL)
        yield from ((name, Value(value, origin)) for name, value in self.table["always"].items())
        yield from self._model()
        stage = self.get("train.training_stage")
        yield "stage", self._at("train.training_stage", self.table["stages"].get(stage, stage))
        for block in self.table["fields"]:
            if "where" not in block or self.get(block["where"]) in block["is"]:
                for field, name in block["keys"].items():
                    if field in self._fields:
                        yield name, self._at(field, self._meant(name, self.get(field)))
        for field, values in self.table["values"].items():
            for name, value in values.get(self.get(field), {}).items():
                yield name, self._at(field, value)
        yield from self._made()
        extra = self._extra()
        yield from ((name, self._at("train.extra_args", value)) for name, value in extra.items())

    def rest(self) -> Translation:
        """What there is to say of the fields that are no argument here."""
        page = set(self.table["page"])
        known = {field for block in self.table["fields"] for field in block["keys"]} | {
            *self.table["multimodal"]
        }
        known |= {"train.reward_model", "train.ds_offload", "top.quantization_method"}
        part = self.part
        unread = [field for field in self._fields if field not in self._read | page]
        if unused := [field for field in unread if field in known]:
            message = "left out: they count only for a method that is not chosen"
            part += noted(", ".join(unused), message, self._source.at(1))
        for field in unread:
            if field not in known:
                fix = "write in the preset what it means, and take it out of the original"
                part += refused(field, "LLaMA Board has no such field", fix, self._source.origin(field))
        return part

    def _meant(self, name: str, value: Any) -> Any:
        """A list as the names with commas between, the text of a number as the number."""
        if name in self.table["or_none"]:
            return value or None
        if isinstance(value, list):
            return ",".join(str(item) for item in value)
        return plain(value) if isinstance(value, str) and name in self.table["numbers"] else value

    def _at(self, field: str, value: Any) -> Value:
        return Value(value, self._source.origin(field))

    def _model(self) -> Iterator[tuple[str, Value]]:
        name = str(self.get(_MODEL))
        models = snapshot("board")
        path = models["models"].get(name)
        if path is None:
            message = (
                f"`{name}` is not one of LLaMA-Factory's own models, and the page does not save its path"
            )
            fix = "import training_args.yaml, which lies beside what LLaMA Board trained"
            self.part += refused(_MODEL, message, fix, self._source.origin(_MODEL))
            path = name
        else:
            self.part += noted(_MODEL, f"{name} is {path} on the hub", self._source.origin(_MODEL))
        yield "model_name_or_path", self._at(_MODEL, path)
        if name in models["multimodal"]:
            for field, argument in self.table["multimodal"].items():
                if field in self._fields:
                    yield argument, self._at(field, _pixels(self.get(field)))

    def _made(self) -> Iterator[tuple[str, Value]]:
        """Arguments that more than one field makes."""
        method = self.get("top.finetuning_type")
        scaling = self.get("top.rope_scaling", "none")
        if scaling != "none":
            yield "rope_scaling", self._at("top.rope_scaling", scaling)
        yield (
            "packing",
            self._at("train.packing", bool(self.get("train.packing") or self.get("train.neat_packing"))),
        )
        if method == "lora":
            yield "lora_target", self._at("train.lora_target", self.get("train.lora_target") or "all")
            yield "pissa_convert", self._at("train.use_pissa", self.get("train.use_pissa"))
        saved = self.get("top.checkpoint_path")
        if saved:
            argument = "adapter_name_or_path" if method in _PEFT else "model_name_or_path"
            yield argument, self._at("top.checkpoint_path", self._saved(saved))
        bits = self.get("top.quantization_bit", "none")
        if bits != "none":
            yield "quantization_bit", self._at("top.quantization_bit", self._meant("quantization_bit", bits))
            yield (
                "quantization_method",
                self._at("top.quantization_method", self.get("top.quantization_method")),
            )
            yield "double_quantization", self._at("top.quantization_bit", True)
        if self.get("train.training_stage") == "PPO":
            field = "train.reward_model"
            yield "reward_model", self._at(field, self._saved(self.get(field)))
            yield "reward_model_type", self._at(field, "lora" if method == "lora" else "full")
            yield "top_k", self._at("train.training_stage", 0)
            yield "top_p", self._at("train.training_stage", 0.9)
        if (self.get("train.val_size") or 0) > 1e-6 and self.get("train.training_stage") != "PPO":
            yield "val_size", self._at("train.val_size", self.get("train.val_size"))
            yield "eval_strategy", self._at("train.val_size", "steps")
            yield "eval_steps", self._at("train.save_steps", self.get("train.save_steps"))
            yield "per_device_eval_batch_size", self._at("train.batch_size", self.get("train.batch_size"))
        stage = self.get("train.ds_stage", "none")
        if stage != "none":
            offload = "offload_" if self.get("train.ds_offload") else ""
            yield (
                "deepspeed",
                self._at("train.ds_stage", f"llamaboard_cache/ds_z{stage}_{offload}config.json"),
            )

    def _saved(self, given: Any) -> str:
        """Where LLaMA Board keeps what it trained: names below saves/MODEL/METHOD, paths as they are."""
        names = [str(name) for name in (given if isinstance(given, list) else [given])]
        above = "/".join(str(self.get(field)).replace(" ", "") for field in (_MODEL, "top.finetuning_type"))
        return ",".join(name if "/" in name else f"saves/{above}/{name}" for name in names)

    def _extra(self) -> Mapping[str, Any]:
        """The arguments that are written as JSON."""
        field = "train.extra_args"
        text = self.get(field) or "{}"
        try:
            extra = from_json(text) if isinstance(text, str) else None
        except ValueError:
            extra = None
        if isinstance(extra, dict):
            return extra
        message = f"is no JSON mapping: {dump_yaml(text)}"
        self.part += refused(field, message, "correct it in the original", self._source.origin(field))
        return {}


def _is_said(value: Any) -> bool:
    """Whether LLaMA Board passes a value on."""
    return value not in (None, "", []) and value is not False and value != {}


def _pixels(value: Any) -> Any:
    """`768*768` as the number that it is; anything else as it is."""
    sides = value.split("*") if isinstance(value, str) else []
    return (
        int(sides[0]) * int(sides[1]) if len(sides) == 2 and all(side.isdigit() for side in sides) else value
    )
