"""What a rule is, and what it looks at: one config with the library's defaults, and where it will train."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qtune import schema
from qtune.config.auto import AUTO, DECIDED
from qtune.config.model import model_file
from qtune.config.recurrence import recurrent_kind
from qtune.data.registrations import Registration, names_in
from qtune.files import dump_yaml, read_object
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.values import Config, Finding, KeyPath

# As those who publish them write it: Qwen2.5-7B-Instruct-AWQ, -GPTQ-Int4, -bnb-4bit, -quantized.w4a16.
QUANTIZED_NAME = (
    r"(?i)(?:^|[-_.])(?P<method>awq|gptq|aqlm|hqq|eetq|bnb[-_]?[48]bit|w[48]a(?:8|16))(?=$|[-_.])"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: a combination that does not work, and what to do about it.

    keys: the finding stands at one of them that the config sets, with `zero.`, `deepspeed.` or `launch.` in
    front of keys of those blocks; when: whether the rule applies, or in words what it applies to, which
    message and fix then name as {found}; message and fix may name arguments, as {stage}, and {processes},
    {nproc_per_node} and {hardware}; source: the library's file and function that fails, or says so.
    """

    id: str
    keys: tuple[str, ...]
    when: Callable[[View], bool | str]
    message: str
    fix: str
    source: str
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class View:
    """A config as the rules see it.

    config: without the values that the schema check refuses; registrations: all of the project's; root: the
    project's, where the training will run; stack: None where the training will not run on this machine.
    """

    config: Config
    hardware: Hardware
    registrations: Mapping[str, Registration]
    root: Path
    stack: Stack | None = None

    def __getitem__(self, argument: str) -> Any:
        """A train argument's value, the library's default where the config sets none."""
        return schema.argument(self.train, argument)

    @cached_property
    def train(self) -> Mapping[str, Any]:
        """The arguments that the config sets."""
        return self.config.block("train")

    @cached_property
    def zero(self) -> Mapping[str, Any]:
        """DeepSpeed's `zero_optimization`, empty where DeepSpeed is off."""
        return self.config.block("zero") if self.config.uses_zero else {}

    @cached_property
    def deepspeed(self) -> Mapping[str, Any]:
        """DeepSpeed's other keys that the config sets, empty where DeepSpeed is off."""
        return self.config.block("deepspeed") if self.config.uses_zero else {}

    @cached_property
    def zero3(self) -> bool:
        return bool(self.zero.get("stage") == 3)

    def offload(self, what: str) -> Mapping[str, Any]:
        """`offload_optimizer` or `offload_param`, empty where nothing is offloaded."""
        block = self.zero.get(what, {})
        return block if block.get("device", "none") != "none" else {}

    @cached_property
    def fsdp(self) -> bool:
        """Whether FSDP shards the model: accelerate's launcher starts version 2, the argument version 1."""
        return bool(self["fsdp"]) or self.accelerate

    @cached_property
    def accelerate(self) -> bool:
        return self.config.launcher == "accelerate"

    @cached_property
    def distributed(self) -> bool:
        """Whether torchrun starts it: for DeepSpeed, several processes, or several GPUs in sight.

        Source: llamafactory/launcher.py, launch.
        """
        asked = self.config.launcher not in ("auto", "local")
        return asked or bool(self.zero) or self.config.processes > 1 or self.hardware.gpus > 1

    @cached_property
    def lora(self) -> bool:
        return bool(self["finetuning_type"] == "lora")

    @cached_property
    def adapters(self) -> list[str]:
        return names_in(self["adapter_name_or_path"])

    @cached_property
    def evaluates(self) -> bool:
        return bool(self["eval_strategy"] != "no")

    @cached_property
    def evaluation_data(self) -> bool:
        return self["eval_dataset"] is not None or self["val_size"] >= 1e-6

    @cached_property
    def evaluation_steps(self) -> float:
        """`eval_steps` as the trainer fills it in (transformers/training_args.py, __post_init__)."""
        return float(self["eval_steps"] or self["logging_steps"])

    @cached_property
    def loggers(self) -> list[str]:
        return names_in(self["report_to"])

    @cached_property
    def datasets(self) -> list[Registration]:
        """The registered ones of those in use."""
        names = [*names_in(self["dataset"]), *names_in(self["eval_dataset"])]
        return [self.registrations[name] for name in dict.fromkeys(names) if name in self.registrations]

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """The model's config.json, here or in a hub's cache; empty where there is none to read."""
        directory = self.model_directory
        return {} if directory is None else read_object(directory / "config.json")

    @cached_property
    def named_quantization(self) -> str:
        """What the name of a model that does not lie here says of how its weights are quantised."""
        name = str(self["model_name_or_path"] or "")
        found = None if self.model else re.search(QUANTIZED_NAME, name.rpartition("/")[2])
        return found["method"] if found else ""

    @cached_property
    def model_directory(self) -> Path | None:
        """Where the model's files are, here or in the hub's cache; None where nothing of it is."""
        file = model_file("config.json", self.train, self.root)
        return None if file is None else file.parent

    @cached_property
    def model_quantization(self) -> str | None:
        """How the model's weights are quantised, such as gptq; None where they are not, or nothing tells.

        Not for mxfp4 and fp8, which LLaMA-Factory turns back (model/model_utils/quantization.py).
        """
        block = self.model.get("quantization_config")
        method = str(block.get("quant_method", "")) if isinstance(block, dict) else None
        return None if method in ("mxfp4", "fp8") else method

    @cached_property
    def recurrent(self) -> str:
        """The model's type where it carries a state from token to token, else empty."""
        return recurrent_kind(self.model, str(self["model_name_or_path"]))

    @cached_property
    def _ranks(self) -> Mapping[str, int]:
        return {layer.name: rank for rank, layer in enumerate(self.config.layers)}

    def rank(self, key: str) -> int:
        """How high the layer stands that set the key; -1 for none, and for what `auto` became.

        A layer that the config does not list is an edit of what was rendered.
        """
        origin = self.config.origin(*_path(key))
        if origin is None or origin.layer.startswith(DECIDED):
            return -1
        return self._ranks.get(origin.layer, len(self._ranks))

    def decided(self, keys: Sequence[str]) -> int:
        """The rank of the highest layer that sets one of the keys or takes it out, -1 where none does."""
        taken = [
            rank
            for rank, layer in enumerate(self.config.layers)
            for key in keys
            if (found := layer.values.get(_path(key))) is not None and found.value is None
            if layer.name != AUTO
        ]
        return max([*taken, *map(self.rank, keys)], default=-1)

    def lacks(self, module: str) -> bool:
        """Whether the training will run here, and here is no such module."""
        return self.stack is not None and not self.stack.has_module(module)


def apply(rule: Rule, view: View) -> Finding | None:
    """The rule's finding, None where the rule does not apply."""
    found = rule.when(view)
    if not found:
        return None
    key = _key_to_change(rule.keys, view)
    words = _Words(view, found)
    return Finding(
        rule.severity,
        key,
        rule.message.format_map(words),
        rule.fix.format_map(words),
        view.config.origin(*_path(key)),
        rule.id,
        rule.source,
    )


def _key_to_change(keys: tuple[str, ...], view: View) -> str:
    """Of the keys that the config sets the one whose layer is highest: what was there before it worked."""
    given = (key for key in keys if view.config.origin(*_path(key)) is not None)
    return max(given, key=view.rank, default=keys[0])  # the first of equals


def _path(key: str) -> KeyPath:
    parts = tuple(key.split("."))
    return parts if parts[0] in ("zero", "deepspeed", "launch") else ("train", *parts)


class _Words(dict[str, str]):
    """What a message may name, as YAML would write it."""

    def __init__(self, view: View, found: bool | str) -> None:
        super().__init__(
            found=str(found),
            processes=str(view.config.processes),
            nproc_per_node=str(view.config.nproc_per_node),
            gpus=str(view.hardware.gpus),
            hardware=str(view.hardware),
        )
        self.view = view

    def __missing__(self, argument: str) -> str:
        return dump_yaml(self.view[argument])
