"""The presets that a recommendation compares: those of one stage that have no errors in the project."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtune.advice.choices import ACCUMULATION, BATCH, CUTOFF, METHOD, Candidate, offloads
from qtune.architectures import load_named
from qtune.checks.datasets import DEMO
from qtune.config.presets import catalogue_order
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.config.sources import built_in
from qtune.data.batches import splits_batches
from qtune.data.lengths.processors import packs
from qtune.data.registrations import read_registrations
from qtune.data.sources import uses_of
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.predict.models.shapes import Model
from qtune.prepare import pipeline
from qtune.schema import argument
from qtune.values import Config, Finding, KeyPath, Layer

if TYPE_CHECKING:
    from qtune.data.lengths.sample import RowLengths

# The groups of the built-in presets that differ in memory and speed alone; a project's own all count.
_GROUPS = ("everyday", "memory", "stages")
_STAGES = ("sft", "dpo", "kto", "rm", "pt", "ppo")


@dataclass(frozen=True)
class Field:
    """The presets that are compared with each other.

    stage: of all candidates; unsuitable: presets of that stage that have errors here, each with its first;
    shared: the errors that every preset has, which are the project's; rows: of the data, None where no
    dataset is named, or it is not here.
    """

    stage: str
    candidates: tuple[Candidate, ...]
    unsuitable: Mapping[str, str]
    shared: tuple[Finding, ...] = ()
    rows: RowLengths | None = None


def gather(
    project: Project,
    model: Model,
    hardware: Hardware,
    layers: Sequence[Layer],
    stack: Stack | None,
    names: Sequence[str] = (),
) -> Field:
    """The candidates among `names`, else among the project's own presets and the built-in everyday ones.

    Of several stages it is the one that the data suits: sft where it does, for training on answers is what
    presets are made for. Raises QtuneError for a name that is no preset's.
    """
    given = {path for layer in (*layers, *filter(None, [project.layer])) for path in layer.values}
    asked = _named(project, layers).get("model_name_or_path")
    configs: dict[str, Config] = {}
    errors: dict[str, list[Finding]] = {}
    wanted, broken = (list(names), {}) if names else _comparable(project)
    for name in wanted:
        try:
            prepared = pipeline.examine(name, project, hardware, layers, stack=stack)
        except QtuneError as error:
            if names:
                raise
            broken[name] = error.what
            continue
        configs[name] = prepared.config
        errors[name] = [item for item in prepared.errors if _matters(item, prepared.config)]
    reasons = {
        name: errors[name][0].message
        if errors[name]
        else _why_not_trained(configs[name], asked)
        or why_not_quantized(configs[name], model)
        or ("" if names else _why_not_shared(name, configs[name], project))
        for name in configs
    }
    stage = _stage(configs, reasons)
    of_stage = [name for name in configs if names or _stage_of(configs[name]) == stage]
    candidates = [
        Candidate(
            name,
            configs[name],
            project.store.load(name).step_down,
            adjustable=not given & {BATCH, ACCUMULATION} and not splits_batches(configs[name].block("train")),
            fits_rows=CUTOFF not in given and not packs(configs[name].block("train")),
            of_method=_own(name, METHOD, project) in (None, configs[name].argument(METHOD[1])),
        )
        for name in of_stage
        if not reasons[name]
    ]
    shared = [
        item for item in next(iter(errors.values()), []) if all(item in found for found in errors.values())
    ]
    unsuitable = {name: reasons[name] for name in of_stage if reasons[name]}
    rows = _rows(candidates[0].config, project, given) if candidates else None
    return Field(stage, tuple(candidates), {**unsuitable, **broken}, tuple(shared), rows)


def model_of(project: Project, layers: Sequence[Layer]) -> Model:
    """The model that qtune.yaml or the command line names: all candidates train that one."""
    return load_named(_named(project, layers), project.root)


def _named(project: Project, layers: Sequence[Layer]) -> dict[str, Any]:
    """The arguments that do not come from presets."""
    return merge("", [*project.layers, *layers]).block("train")


def _why_not_trained(config: Config, asked: str | None) -> str:
    """What stands in the way where a preset's own model wins over the project's default."""
    own = config.get("train", "model_name_or_path")
    return "" if own == asked or None in (own, asked) else f"it trains {own}"


def _own(name: str, path: KeyPath, project: Project) -> Any:
    """What a preset sets itself, or one that it extends; None where none does."""
    layers = [item.layer.values for item in project.store.chain(name)]
    return next((found.value for values in reversed(layers) if (found := values.get(path))), None)


def _why_not_shared(name: str, config: Config, project: Project) -> str:
    """Why one of qtune's own presets that shares a model among GPUs is of no use to a single process."""
    stage, launcher = (_own(name, path, project) for path in (("zero", "stage"), ("launch", "launcher")))
    shares = (stage and not offloads(config)) or launcher == "accelerate"
    if not shares or config.processes > 1 or project.store.load(name).source != built_in():
        return ""
    return "shared among GPUs, and there is one process"


def _rows(config: Config, project: Project, given: Collection[KeyPath]) -> RowLengths | None:
    """How long a candidate's rows are; where they cannot be counted a check of the data says why.

    The demo, which stands in a new project until it gets data of its own, says nothing of that.
    """
    dataset = config.get("train", "dataset")
    if not dataset or (dataset == DEMO and ("train", "dataset") not in given):
        return None
    from qtune.data.lengths.sample import sample_lengths  # and with it how every kind of row is read

    with suppress(QtuneError, ValueError, OSError):
        registrations, names = read_registrations(project), [name for name, _ in uses_of(config)]
        if all(name in registrations for name in names):
            train = config.block("train")
            return sample_lengths([registrations[name] for name in names], train, project.root)
    return None


def _comparable(project: Project) -> tuple[list[str], dict[str, str]]:
    """The presets to weigh, in the order of the catalogue; and those that cannot be read, with the reason."""
    presets, broken = [], {}
    for name in project.store.names():
        try:
            presets.append(project.store.load(name))
        except QtuneError as error:
            broken[name] = error.what
    return [
        preset.name
        for preset in sorted(presets, key=catalogue_order)
        if preset.source != built_in() or preset.group in _GROUPS
    ], broken


def _stage_of(config: Config) -> str:
    return str(config.argument("stage"))


def _stage(configs: Mapping[str, Config], reasons: Mapping[str, str]) -> str:
    good = {_stage_of(config) for name, config in configs.items() if not reasons[name]}
    return next((stage for stage in _STAGES if stage in good), _STAGES[0])


def _matters(finding: Finding, config: Config) -> bool:
    """Memory and speed are as well known where no data is named yet, and whatever the chat template is."""
    no_data = finding.key == "dataset" and config.find("train", "dataset") is None
    return not no_data and finding.key != "template"


def why_not_quantized(config: Config, model: Model) -> str:
    """What does not go with weights that are quantised already, also where only a hub's cache tells of it.

    Sources: the rules quantized-model-needs-adapter, quantized-model-without-zero3 and
    quantization-bit-on-quantized-model, which look at models in directories alone.
    """
    if model.quantization is None:
        return ""
    train = config.block("train")
    if argument(train, "finetuning_type") not in ("lora", "oft"):
        return f"the model's weights are quantised ({model.quantization}) and can only carry an adapter"
    if config.get("zero", "stage") == 3 or config.launcher == "accelerate":
        return f"ZeRO-3 and FSDP cannot shard {model.quantization} weights"
    if train.get("quantization_bit") is not None:
        return f"the model's weights are quantised already ({model.quantization})"
    return ""
