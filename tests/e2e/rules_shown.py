"""What fails after the parser, shown on the function that a rule names: each call here raises."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from datasets import Dataset, interleave_datasets
from deepspeed.runtime.config import DeepSpeedConfig
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from llamafactory.data.data_utils import split_dataset
from llamafactory.extras.constants import AttentionFunction
from llamafactory.model.model_utils.attention import configure_attn_implementation
from llamafactory.model.model_utils.embedding import resize_embedding_layer
from llamafactory.model.model_utils.quantization import configure_quantization
from peft import LoraConfig, OFTConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, Trainer
from transformers.integrations import get_reporting_integration_callbacks
from transformers.integrations.deepspeed import HfDeepSpeedConfig, HfTrainerDeepSpeedConfig
from transformers.trainer_optimizer import _parse_optim_args

ROWS = Dataset.from_list([{"a": number} for number in range(10)])
WEIGHTS = [torch.nn.Parameter(torch.zeros(2))]


def _loader(**settings: Any) -> DataLoader[Any]:
    return DataLoader([1, 2, 3], **settings)


def _quantise(model: dict[str, Any] | None = None, stage: int = 0, **settings: Any) -> None:
    """Load a model in a process in which DeepSpeed is on at this stage."""
    zero = HfDeepSpeedConfig({"zero_optimization": {"stage": stage}})
    wanted = {"quantization_method": "bnb", "quantization_bit": 4, "export_quantization_bit": None}
    arguments = SimpleNamespace(
        **{**wanted, "quantization_device_map": None, "compute_dtype": None, **settings}
    )
    configure_quantization(SimpleNamespace(quantization_config=model), None, arguments, True, {})
    assert zero


def _streams_nothing() -> None:
    if not list(ROWS.to_iterable_dataset(num_shards=0)):
        raise ValueError("no rows")


def _validation_rows_return() -> None:
    """Set 20 of 100 rows aside as the library does, and pass over the others a second time."""
    stream = Dataset.from_list([{"a": number} for number in range(100)]).to_iterable_dataset()
    arguments = SimpleNamespace(streaming=True, val_size=20, buffer_size=64)
    train, evaluation = split_dataset(stream, None, arguments, seed=42)
    aside = {row["a"] for row in evaluation["validation"]}
    if not aside.isdisjoint(row["a"] for row in train["train"]):
        return  # from the first pass on: not what the rule says
    train["train"].set_epoch(1)
    if returned := aside & {row["a"] for row in train["train"]}:
        raise ValueError(f"{len(returned)} of {len(aside)} are trained on")


def _metric_of_each_dataset() -> None:
    """Evaluate two datasets, and look for the loss by which the best model is known."""

    def evaluate(**asked: Any) -> dict[str, float]:
        return {f"{asked['metric_key_prefix']}_loss": 1.0}

    arguments = SimpleNamespace(metric_for_best_model="loss")
    trainer = SimpleNamespace(args=arguments, eval_dataset={"one": [], "two": []}, evaluate=evaluate)
    measured = Trainer.evaluate(trainer)
    assert set(measured) == {"eval_one_loss", "eval_two_loss"}
    Trainer._determine_best_metric(trainer, measured, None)


def _new_token_on_quantised_model() -> None:
    model = SimpleNamespace(get_input_embeddings=lambda: torch.nn.Embedding(4, 2), quantization_method="bnb")
    resize_embedding_layer(model, "abcde")


def _backend_alone() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        PartialState(cpu=True, backend="gloo")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def _lora(**settings: Any) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    get_peft_model(model, LoraConfig(target_modules=["0"], **settings))


def _early_stopping() -> None:
    arguments = SimpleNamespace(load_best_model_at_end=True, metric_for_best_model="loss", eval_strategy="no")
    EarlyStoppingCallback().on_train_begin(arguments, None, None)


def _flash_attention_3() -> None:
    configure_attn_implementation(
        SimpleNamespace(model_type="qwen2"), SimpleNamespace(flash_attn=AttentionFunction.FA3)
    )


def _disagrees() -> None:
    config = HfTrainerDeepSpeedConfig({"optimizer": {"type": "Lion", "params": {"lr": 0.5}}})
    config.fill_match("optimizer.params.lr", 5e-5, "learning_rate")
    steps = SimpleNamespace(get_warmup_steps=lambda total: 0)
    config.trainer_config_finalize(steps, None, num_training_steps=10)


def _optimizer(name: str, stage: int = 0, **params: Any) -> None:
    """Make the optimizer that DeepSpeed's config names."""
    engine = SimpleNamespace(
        optimizer_params=lambda: params,
        optimizer_name=lambda: name,
        zero_use_cpu_optimizer=lambda: False,
        zero_optimization=lambda: stage > 0,
        zero_optimization_stage=lambda: stage,
    )
    DeepSpeedEngine._configure_basic_optimizer(engine, WEIGHTS)


def _stage_0(**settings: Any) -> None:
    batch = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
    DeepSpeedConfig({**batch, "zero_optimization": {"stage": 0}, **settings})


_ELASTIC = {
    **{"enabled": True, "max_train_batch_size": 8, "micro_batch_sizes": [1, 2], "min_gpus": 1, "max_gpus": 4},
    **{"min_time": 0, "version": 0.1, "prefer_larger_batch": True},
}


def _needs_marks() -> None:
    """DeepSpeed's Muon asks each parameter for a mark of its own."""
    _optimizer("muon", stage=2, lr=0.1)


SHOWN: dict[str, Callable[[], Any]] = {
    "quantized-model-without-zero3": lambda: _quantise({"quant_method": "gptq"}, stage=3),
    "sharded-quantization-is-bnb-4": lambda: _quantise(stage=3, quantization_bit=8),
    "quantization-bits": lambda: _quantise(quantization_bit=3),
    "quantized-model-without-new-tokens": _new_token_on_quantised_model,
    "oft-rank-or-block-size": lambda: OFTConfig(r=8, oft_block_size=32),
    "fa3-for-gpt-oss": _flash_attention_3,
    "val-size": lambda: ROWS.train_test_split(test_size=1.0),
    "streaming-files-need-workers": _streams_nothing,
    "streaming-validation-rows-return": _validation_rows_return,
    "interleave-probs-sum-to-one": lambda: interleave_datasets([ROWS, ROWS], probabilities=[0.5, 0.6]),
    "interleave-once-is-missing": lambda: interleave_datasets(
        [ROWS, ROWS], stopping_strategy="all_exhausted_without_replacement"
    ),
    "interleave-probs-for-different-datasets": lambda: interleave_datasets(
        [ROWS, ROWS], probabilities=[0.5, 0.3, 0.2]
    ),
    "metric-of-each-dataset": _metric_of_each_dataset,
    "early-stopping-needs-evaluation": _early_stopping,
    "persistent-workers-need-workers": lambda: _loader(persistent_workers=True, num_workers=0),
    "report-to-known": lambda: get_reporting_integration_callbacks(["tensorbord"]),
    "optim-args-are-pairs": lambda: _parse_optim_args("rank:64"),
    "learning-rate-range": lambda: torch.optim.AdamW(WEIGHTS, lr=-1e-5),
    "weight-decay-range": lambda: torch.optim.AdamW(WEIGHTS, weight_decay=-0.01),
    "adam-beta1-range": lambda: torch.optim.AdamW(WEIGHTS, betas=(1.0, 0.999)),
    "adam-beta2-range": lambda: torch.optim.AdamW(WEIGHTS, betas=(0.9, -0.1)),
    "adam-epsilon-range": lambda: torch.optim.AdamW(WEIGHTS, eps=-1e-8),
    "lora-rank-range": lambda: _lora(r=0),
    "lora-dropout-range": lambda: _lora(lora_dropout=1.1),
    "module-dropout-range": lambda: torch.nn.Dropout(-0.1),
    "per-device-eval-batch-size-range": lambda: _loader(batch_size=0),
    "dataloader-num-workers-range": lambda: _loader(num_workers=-1),
    "dataloader-prefetch-factor-range": lambda: next(iter(_loader(num_workers=1, prefetch_factor=0))),
    "preprocessing-num-workers-range": lambda: ROWS.map(lambda row: row, num_proc=0),
    "buffer-size-range": lambda: list(ROWS.to_iterable_dataset().shuffle(buffer_size=0)),
    "zero-key-twice": lambda: DeepSpeedZeroConfig(stage3_prefetch_bucket_size=1, prefetch_bucket_size=2),
    "zero-not-negative": lambda: DeepSpeedZeroConfig(reduce_bucket_size=-1),
    "zero-offload-share": lambda: DeepSpeedZeroConfig(offload_optimizer={"device": "cpu", "ratio": 1.5}),
    "offload-ratio-needs-stage-3": lambda: DeepSpeedZeroConfig(
        stage=2, offload_optimizer={"device": "cpu", "ratio": 0.5}
    ),
    "backend-needs-processes": _backend_alone,
    "deepspeed-agrees-with-arguments": _disagrees,
    "deepspeed-auto-is-filled": lambda: _optimizer("SGD", lr=0.1, momentum="auto"),
    "deepspeed-class-is-known": lambda: _optimizer("AdanW"),
    "deepspeed-key-and-stage": lambda: _stage_0(bf16={"enabled": True, "bf16_optimizer_states": True}),
    "deepspeed-muon-is-the-librarys": _needs_marks,
    "deepspeed-optimizer-needs-gpu": lambda: _optimizer("lion", lr=0.1),
    "deepspeed-clips-by-argument": lambda: _optimizer("lion", max_grad_norm=1.0),
    "deepspeed-leaves-the-batch": lambda: _stage_0(elasticity=_ELASTIC),
}
