"""A trained run to the arguments of `llamafactory-cli export`; what cannot be exported is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qtune.config.resolve import merge
from qtune.errors import QtuneError
from qtune.files import table_beside
from qtune.machine.stack import version
from qtune.predict.models.find import Model, load
from qtune.use.exporting.gguf import find_converter
from qtune.use.infer import GROUPS, loading, settings
from qtune.use.models import Trained
from qtune.values import Config, KeyPath, Layer, Origin, Value

_QUANTISATION = GROUPS["quantising"]
_INSTEAD: Mapping[str, str] = table_beside(__file__, "instead.yaml")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_TOKENIZER_BYTES = 75  # for each word: see predict/disk.py
_GPTQ = ("optimum", "gptqmodel")  # llamafactory/model/model_utils/quantization.py
_GPTQ_BITS = (2, 3, 4, 8)


@dataclass(frozen=True)
class ExportPlan:
    """What is to be exported.

    merge: the arguments that make the whole model; quantise: those that GPTQ takes beside them, empty where
    it is not asked for. Neither says yet where from and where to. dtype: of the weights, as far as it is
    known; size: expected bytes, None where nothing tells. converter: the words that start llama.cpp's, None
    where no GGUF is asked for.
    """

    trained: Trained
    merge: Config
    quantise: dict[str, Value]
    dtype: str | None
    size: int | None
    converter: tuple[str, ...] | None = None


def plan(trained: Trained, assignments: Sequence[str], root: Path, *, gguf: bool = False) -> ExportPlan:
    """How `trained` is to be exported. root: the project's; assignments: `--set KEY=VALUE`; gguf: as one too.

    Raises QtuneError for what LLaMA-Factory would refuse, for a quantised base, into which nothing can be
    merged, and for a GGUF that cannot be made.
    """
    for name in (assignment.partition("=")[0].removeprefix("train.") for assignment in assignments):
        if name in _INSTEAD:
            raise QtuneError("is not set here", where=f"--set {name}", fix=_INSTEAD[name])
    given = settings(assignments, (*GROUPS["exporting"], *_QUANTISATION, *GROUPS["exporting_too"]))
    model = _base_model(trained, root)
    _require_plain_base(trained, model)
    values = {
        name: value
        for name, value in loading(trained, quantised=False).items()
        if not name.startswith(GROUPS["only_generating_prefixes"])
    }
    stored = model.dtype if model is not None else None
    if stored in _BYTES:
        # the same on every machine; left to itself the library asks which device is there
        values.setdefault("infer_dtype", Value(stored, Origin("base model")))
    defaults = {"export_size": 5, "export_device": "cpu", "export_legacy_format": False}
    values |= {name: Value(value, Origin("qtune")) for name, value in defaults.items()}
    layers = [Layer("run", {("train", name): value for name, value in values.items()}), given]
    whole = merge(trained.name, layers)
    quantise = {
        name: whole.values["train", name] for name in _QUANTISATION if ("train", name) in whole.values
    }
    _check_quantisation(quantise, trained)
    kept = {path: value for path, value in whole.values.items() if path[-1] not in quantise}
    dtype = whole.get("train", "infer_dtype")
    dtype = dtype if dtype in _BYTES else None
    size = _size(trained, model, dtype, root)
    converter = _converter(trained, quantise) if gguf else None
    return ExportPlan(trained, Config(whole.name, kept, whole.layers), quantise, dtype, size, converter)


def with_paths(config: Config, source: str | None, target: Path) -> Config:
    """The arguments with where the model goes to, and where it comes from if that is no longer the run."""
    values = dict(config.values)
    if source is not None:
        values["train", "model_name_or_path"] = Value(source, Origin("qtune"))
    values["train", "export_dir"] = Value(str(target), Origin("qtune"))
    return Config(config.name, values, config.layers)


def of_exported(config: Config, directory: Path) -> Config:
    """The arguments that load the exported model as it lies in `directory`."""
    paths: list[KeyPath] = [("train", name) for name in GROUPS["of_exported"]]
    values = {path: config.values[path] for path in paths if path in config.values}
    values["train", "finetuning_type"] = Value("full", Origin("qtune"))  # there is no adapter
    return with_paths(Config(config.name, values), str(directory), directory)


def _base_model(trained: Trained, root: Path) -> Model | None:
    train = trained.config.block("train")
    try:
        return load(
            trained.base,
            root,
            revision=train.get("model_revision", "main"),
            cache_dir=train.get("cache_dir"),
        )
    except QtuneError:
        return None


def _require_plain_base(trained: Trained, model: Model | None) -> None:
    method = model.quantization if model is not None else None
    # the library loads these two unquantised (configure_quantization)
    if method is None or method in ("mxfp4", "fp8"):
        return
    raise QtuneError(
        f"its base model {trained.base} is quantised ({method}), and nothing merges into such weights",
        where=trained.name,
        fix="use the adapter as it is (`qtune chat`, `qtune api`), or train over the unquantised model",
    )


def _check_quantisation(values: dict[str, Value], trained: Trained) -> None:
    if not values:
        return
    bits, data = (values.get(f"export_quantization_{name}") for name in ("bit", "dataset"))
    if bits is None:
        name, value = next(iter(values.items()))
        raise QtuneError(
            "has no effect without export_quantization_bit",
            where=f"{value.origin} {name}",
            fix="add `-s export_quantization_bit=4` for GPTQ",
        )
    where = f"{bits.origin} export_quantization_bit"
    if bits.value not in _GPTQ_BITS:
        raise QtuneError(f"GPTQ makes no {bits.value} bits", where=where, fix="give 2, 3, 4 or 8")
    if data is None:
        fix = "add `-s export_quantization_dataset=FILE`: JSON with texts like those it will see"
        raise QtuneError("GPTQ needs texts to calibrate with", where=where, fix=fix)
    if trained.stage == "rm":
        raise QtuneError(
            "is a reward model, which GPTQ does not take", where=trained.name, fix="leave it out"
        )
    missing = [name for name in _GPTQ if version(name) is None]
    if missing:
        raise QtuneError(
            f"{' and '.join(f'`{name}`' for name in missing)} {'is' if len(missing) == 1 else 'are'} not "
            "installed here, which quantise with GPTQ",
            where=where,
            fix="pip install 'optimum>=1.24.0' 'gptqmodel>=2.0.0', or leave it out",
        )


def _converter(trained: Trained, quantise: dict[str, Value]) -> tuple[str, ...]:
    if trained.stage == "rm":
        fix = "leave --gguf out"
        raise QtuneError("is a reward model, which llama.cpp does not run", where=trained.name, fix=fix)
    if quantise:
        fix = "leave one out: `llama-quantize` makes a GGUF smaller"
        raise QtuneError("does not go with GPTQ", where="--gguf", fix=fix)
    return find_converter()


def _size(trained: Trained, model: Model | None, dtype: str | None, root: Path) -> int | None:
    """Bytes of the exported model: by its parameters, else by the files that it is made from."""
    if model is not None:
        width = _BYTES.get(dtype or model.dtype or "", 4)
        return model.parameters * width + _TOKENIZER_BYTES * model.vocab_size
    if trained.weights is None or trained.is_adapter:
        return None
    return sum(file.stat().st_size for file in (root / trained.weights).glob("*.safetensors")) or None
