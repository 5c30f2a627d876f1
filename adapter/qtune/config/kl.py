"""`kl_beta`: how strongly a training is held near its base model, in each stage's own arguments.

docs/kl_beta.md is the guide. The larger, the nearer to the base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtune.config.resolve import SET_LAYER
from qtune.schema import argument
from qtune.values import Config, KeyPath, Layer, Origin, Value

KL_BETA = "kl_beta"
KL_BETA_HINT = (
    "write what it stands for: in stage sft `use_asft_loss: true` and `asft_alpha`, in dpo and kto"
    " `pref_beta`; other stages and losses hold nothing near the base model (docs/kl_beta.md)"
)

# hparams/finetuning_args.py, FinetuningArguments.__post_init__: these train without a reference model.
_WITHOUT_REFERENCE = ("orpo", "simpo")


def kl_arguments(train: Mapping[str, Any], weight: Any) -> dict[str, Any]:
    """LLaMA-Factory's arguments for a `kl_beta` of `weight` over the arguments `train`; None removes one.

    weight: of the KL term, None to have none. The answer is empty where the stage or its loss has no such
    term. For LoRA in stage sft it names a reference model, without which the library crashes.
    Source: llamafactory/train/sft/trainer.py; train/trainer_utils.py, asft_loss_func and create_ref_model;
    train/dpo/trainer.py and train/kto/trainer.py (beta).
    """
    stage = argument(train, "stage")
    if stage == "kto" or (stage == "dpo" and train.get("pref_loss") not in _WITHOUT_REFERENCE):
        return {"pref_beta": weight}
    if stage != "sft":
        return {}
    arguments = {"use_asft_loss": None if weight is None else True, "asft_alpha": weight}
    if weight is not None and argument(train, "finetuning_type") == "lora":
        reference = ("ref_model", "ref_model_quantization_bit")
        arguments |= {key: "auto" for key in reference if key not in train}
    return arguments


def kl_layer(config: Config) -> Layer | None:
    """A layer that puts the stage's arguments in place of `--set kl_beta=…`, None where nothing does.

    In a stage without such a term `kl_beta` stays, for the check to report.
    """
    path = ("train", KL_BETA)
    given = [
        layer.values[path] for layer in config.layers if layer.name == SET_LAYER and path in layer.values
    ]
    arguments = kl_arguments(config.block("train"), given[-1].value) if given else {}
    if not arguments:
        return None
    name = f"{SET_LAYER} {KL_BETA}"
    values: dict[KeyPath, Value] = {path: Value(None, Origin(name))}
    values |= {("train", key): Value(value, Origin(name)) for key, value in arguments.items()}
    return Layer(name, values)
