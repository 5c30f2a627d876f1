"""The arguments with which LLaMA-Factory loads a trained model and generates with it, and their YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from qtune.checks.schema import check_schema
from qtune.config.aliases import aliases
from qtune.config.names import did_you_mean
from qtune.config.project import Project
from qtune.config.resolve import SET_LAYER, merge, overrides
from qtune.errors import QtuneError
from qtune.files import table_beside
from qtune.machine.stack import version
from qtune.render.files import arguments_of, render_arguments
from qtune.render.templates import Templates
from qtune.schema import arguments
from qtune.use.models import Trained
from qtune.values import Config, Layer, Origin, Value

TEMPLATE = "infer.yaml.j2"
FILE = "infer.yaml"

GROUPS: Mapping[str, tuple[str, ...]] = {
    group: tuple(names) for group, names in table_beside(__file__, "arguments.yaml").items()
}
"""LLaMA-Factory's arguments by what they are for: arguments.yaml."""

_ENGINES = {"vllm": "pip install 'vllm<=0.11.0'", "sglang": "pip install 'sglang[all]'"}
# What vLLM takes for vllm_max_lora_rank (vllm/config, LoRAConfig).
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_VLLM_DEFAULT_RANK = 32


def loading(trained: Trained, *, quantised: bool = True) -> dict[str, Value]:
    """The arguments that load it, each with the origin that the training's config had for it.

    Paths start from the project's root. quantised: load the base as the training did; an export never does.
    Raises QtuneError for a path that LLaMA-Factory would take for several.
    """
    config = trained.config
    whole = trained.weights is not None and not trained.is_adapter
    run = Origin(f"run {trained.name}")
    kept = [*GROUPS["loader"], *GROUPS["tokenizer"], *_names_with("media_prefixes")]
    kept += [*_names_with("engine_prefixes"), *GROUPS["chat"]]
    if not whole:
        kept += GROUPS["source"]
    if not whole and quantised:
        kept += GROUPS["quantised"]
    if trained.is_adapter:
        kept += GROUPS["to_the_base"]
    model = config.find("train", "model_name_or_path")
    values = {"model_name_or_path": Value(trained.weights, run) if whole or model is None else model}
    if trained.is_adapter:
        values["adapter_name_or_path"] = Value(",".join(_adapters(trained)), run)
    # LLaMA-Factory refuses an adapter with `oft`, whose own config tells PEFT what it is
    method = "lora" if trained.finetuning_type == "oft" else trained.finetuning_type
    values["finetuning_type"] = Value(method, config.origin("train", "finetuning_type") or run)
    if trained.stage == "rm":
        values["stage"] = Value("rm", config.origin("train", "stage") or run)
    block = config.block("train")
    for name in dict.fromkeys(kept):
        if block.get(name) is not None:
            values[name] = Value(block[name], config.origin("train", name) or run)
    return values


def infer_config(trained: Trained, assignments: Sequence[str] = (), backend: str | None = None) -> Config:
    """What `chat`, `webchat` and `api` are given: how to load it, and how it generates.

    assignments: `--set KEY=VALUE`, over what the training's config says; backend: --infer-backend.
    Raises QtuneError for a key that has no effect here, a wrong value, and a backend that is not installed or
    cannot run it.
    """
    values = loading(trained)
    find, generating = trained.config.find, names_of("generating")
    values |= {name: found for name in generating if (found := find("train", name)) is not None}
    layers = [Layer("run", {("train", name): value for name, value in values.items()})]
    if backend is not None:
        value = Value(backend, Origin("--infer-backend"))
        layers.append(Layer("options", {("train", "infer_backend"): value}))
    given = settings(assignments, infer_settings())
    layers.append(given)
    config = merge(trained.name, layers)
    engine = config.get("train", "infer_backend", default="huggingface")
    if engine in _ENGINES:
        _require_engine(engine, config, trained)
        config = merge(trained.name, [*layers, _engine_layer(engine, config, trained)])
    return config


def infer_settings() -> tuple[str, ...]:
    """The arguments that `--set` may give where a trained model is used."""
    return (
        *names_of("generating"),
        *GROUPS["chat"],
        *_names_with("engine_prefixes"),
        *_names_with("media_prefixes"),
        *(name for group in ("quantised", "loader", "tokenizer", "source") for name in GROUPS[group]),
        "rope_scaling",
    )


def settings(assignments: Sequence[str], allowed: Sequence[str]) -> Layer:
    """`--set KEY=VALUE` for a command that takes only the arguments `allowed`.

    Raises QtuneError for an argument that is not among them, and a value that it does not take.
    """
    known = arguments()
    names = {alias: name for alias, name in aliases().items() if name in allowed and alias not in known}
    layer = overrides(assignments, names)
    for finding in check_schema(Config("", layer.values)):
        raise QtuneError(finding.message, where=f"{SET_LAYER} {finding.key}", fix=finding.fix)
    for path in layer.values:
        if path[0] != "train" or path[1] not in allowed:
            raise QtuneError(
                "has no effect on what is trained already",
                where=f"{SET_LAYER} {'.'.join(path[path[0] == 'train' :])}",
                fix=did_you_mean(path[1] if path[0] == "train" else path[-1], allowed) or "leave it out",
            )
    return layer


def infer_yaml(config: Config, project: Project, title: str) -> str:
    """infer.yaml's text; raises QtuneError where the template fails, or changes a value."""
    templates = Templates(project.sources, project.root)
    return render_arguments(TEMPLATE, arguments_of(config), templates, {"name": title})


@contextmanager
def infer_file(config: Config, project: Project, title: str) -> Iterator[Path]:
    """infer.yaml in a directory of its own while inside.

    Not in the run's directory: two who use one run would read each other's settings, and a run may be
    somebody else's.
    """
    with TemporaryDirectory(prefix="qtune-") as name:
        path = Path(name) / FILE
        path.write_text(infer_yaml(config, project, title), encoding="utf-8")
        yield path


def _adapters(trained: Trained) -> list[str]:
    """The adapters in the order in which they are laid over the base, the run's own last."""
    train = trained.config.block("train")
    before = [
        path.strip() for path in str(train.get("adapter_name_or_path") or "").split(",") if path.strip()
    ]
    if before and not train.get("create_new_adapter"):
        before.pop()  # the run's own is that one, trained further
    own = str(trained.weights)
    if "," in own:
        raise QtuneError(
            "LLaMA-Factory would take this path for several adapters",
            where=own,
            fix="rename what has the comma",
        )
    return [*before, own]


def _require_engine(engine: str, config: Config, trained: Trained) -> None:
    """Raises QtuneError where the engine is not installed, or LLaMA-Factory refuses it for this model."""
    where = str(config.origin("train", "infer_backend"))
    if version(engine) is None:
        fix = f"{_ENGINES[engine]}, or use infer_backend huggingface"
        raise QtuneError(f"`{engine}` is not installed here", where=where, fix=fix)
    if engine != "vllm":
        return
    if trained.stage == "rm":
        raise QtuneError("vLLM cannot run a reward model", where=where, fix="use infer_backend huggingface")
    for name in ("quantization_bit", "rope_scaling"):
        if config.get("train", name) is not None:
            fix = f"add `-s {name}=null`, or use infer_backend huggingface"
            raise QtuneError(f"LLaMA-Factory gives vLLM no model with {name}", where=where, fix=fix)


def _engine_layer(engine: str, config: Config, trained: Trained) -> Layer:
    """What the engine has to know of the adapter: vLLM takes none of a larger rank than it was told."""
    rank = trained.config.get("train", "lora_rank", default=8)
    set_already = config.find("train", "vllm_max_lora_rank") is not None
    if engine != "vllm" or not trained.is_adapter or rank <= _VLLM_DEFAULT_RANK or set_already:
        return Layer("engine", {})
    fitting = next((size for size in _VLLM_RANKS if size >= rank), rank)
    return Layer("engine", {("train", "vllm_max_lora_rank"): Value(fitting, Origin("qtune"))})


def names_of(group: str) -> list[str]:
    """LLaMA-Factory's arguments of one of its own groups, such as `generating`."""
    return [name for name, argument in arguments().items() if argument.group == group]


def _names_with(prefixes: str) -> list[str]:
    return [name for name in names_of("model") if name.startswith(GROUPS[prefixes])]
