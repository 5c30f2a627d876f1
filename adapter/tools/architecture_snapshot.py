"""Write qtune's snapshot of how the installed transformers builds language models, or check the one there.

    python adapter/tools/architecture_snapshot.py           # write adapter/qtune/schema/architectures-*.json
    python adapter/tools/architecture_snapshot.py --check   # exit 1 and say what differs
    python adapter/tools/architecture_snapshot.py --check llama olmoe   # of these alone

Each is built without weights from the library's own defaults, and from what architecture_snapshot.yaml says
where these make no model. What the fields mean: qtune.schema.architectures.Architecture.
"""

import argparse
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model.adapter import init_adapter
from llamafactory.model.model_utils.misc import find_all_linear_modules
from transformers import CONFIG_MAPPING
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.models.auto import modeling_auto
from transformers.pytorch_utils import Conv1D

from qtune.children.model_modules import build, describe
from qtune.predict.models.shapes import Module

FILE = Path(__file__).resolve().parents[1] / "qtune" / "schema"
FILE /= f"architectures-{version('llamafactory')}.json"
GIVEN: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))


def model_types() -> list[str]:
    """Those of language models, and of such as see."""
    return sorted(
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
        | modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.keys()
    )


def config_of(model_type: str) -> Any:
    """The library's defaults, or the nearest to them that make a model."""
    return CONFIG_MAPPING[model_type](**GIVEN.get(model_type, {}))


def numberless(name: str) -> str:
    """The name with N for the numbers of layers and experts."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


def architecture(model_type: str) -> dict[str, Any]:
    """The row of one model_type, without what is empty."""
    config = config_of(model_type)
    model = build(config)
    kinds: dict[str, dict[str, None]] = {}
    packs: dict[str, bool] = {}
    frozen: dict[str, None] = {}
    for name, kind, weights, tied, packed, is_frozen in describe(model):
        pattern = numberless(name)
        kinds.setdefault(kind, {})[pattern] = None
        if packed != Module(name, kind, tuple(weights), tied).packs:
            packs[pattern] = packed
        if is_frozen:
            frozen[pattern] = None
    parameters = {name for name, _ in model.named_parameters()}
    row = {
        "kinds": {kind: " ".join(patterns) for kind, patterns in kinds.items()},
        "packs": packs,
        "frozen": list(frozen),
        "renamed": list(renamed(model)),
        "prefix": model.base_model_prefix,
        "unread": sorted([*unread(model, parameters), *buffers(model, parameters)]),
        "tied": {
            name.removesuffix(".weight"): other.removesuffix(".weight")
            for name, other in (model._tied_weights_keys or {}).items()
            if name.endswith(".weight") and re.fullmatch(r"[\w.]+", name + other)
        },
        "ties": bool(getattr(config, "tie_word_embeddings", False)),
        "adapted": adapted(model_type),
    }
    return {name: value for name, value in row.items() if value}


def renamed(model: Any) -> Iterator[tuple[str, str]]:
    """What of a checkpoint's names becomes what of the model's; captured groups are for models of timm."""
    for change in get_model_conversion_mapping(model, add_legacy=False):
        if "\\1" not in change.target_patterns[0]:
            yield change.compiled_sources.pattern, change.target_patterns[0]


def unread(model: Any, parameters: set[str]) -> Iterator[str]:
    """Patterns of names that the library leaves out of a checkpoint where the model has none such."""
    for pattern in model._keys_to_ignore_on_load_unexpected or ():
        if not any(re.search(pattern, name) for name in parameters):
            yield pattern


def buffers(model: Any, parameters: set[str]) -> list[str]:
    """Patterns of the names of buffers, as short as no parameter's ends so."""
    found: dict[str, None] = {}
    for name, _ in model.named_buffers():
        parts = [r"\d+" if part.isdigit() else part for part in name.split(".")]
        ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
        short = next(end for end in ends if not any(f".{each}".endswith(f".{end}") for each in parameters))
        found[rf"(^|\.){short}$"] = None
    return list(found)


def adapted(model_type: str) -> list[str]:
    """What PEFT takes of the linear layers where it does not take all of what LLaMA-Factory finds as such."""
    model = build(config_of(model_type))
    names = sorted(find_all_linear_modules(model, freeze_vision_tower=True))
    if names and takes(model_type, "all"):
        return []
    if not names:
        convs = (name for name, module in model.named_modules() if isinstance(module, Conv1D))
        names = sorted({name.rpartition(".")[2] for name in convs})
    return [name for name in names if takes(model_type, name)]


def takes(model_type: str, target: str) -> bool:
    """Whether PEFT puts adapters on that target."""
    config = config_of(model_type)
    try:
        with torch.device("meta"):
            chosen = FinetuningArguments(lora_target=target)
            init_adapter(config, build(config), ModelArguments(model_name_or_path="m"), chosen, True)
    except (ValueError, AttributeError):
        return False
    return True


def snapshot(wanted: Iterable[str]) -> dict[str, Any]:
    """The rows of those that can be built with what is installed."""
    found = {}
    for model_type in wanted:
        try:
            found[model_type] = architecture(model_type)
        except Exception as error:
            print(f"{model_type}: not built ({str(error).strip().splitlines()[0]})", file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", nargs="*", metavar="TYPE", help="compare with the file, all or these alone"
    )
    check = parser.parse_args().check
    wanted = check or model_types()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    logging.disable()
    rows = (f'"{name}": {json.dumps(row)}' for name, row in snapshot(wanted).items())
    text = "{\n" + ",\n".join(rows) + "\n}\n"
    if check is None:
        FILE.write_text(text, encoding="utf-8")
        print(f"wrote {FILE.name}")
        return 0
    old, new = (json.loads(each) for each in (FILE.read_text("utf-8") if FILE.exists() else "{}", text))
    compared = wanted if check else old.keys() | new.keys()
    differing = [name for name in compared if old.get(name) != new.get(name)]
    print("\n".join(f"{FILE.name}: {name} differs" for name in sorted(differing)))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
