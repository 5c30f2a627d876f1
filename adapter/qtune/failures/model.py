"""Models, adapters and checkpoints that cannot be loaded."""

from __future__ import annotations

from qtune.failures.row import Failure

FAILURES = (
    Failure(
        "gated-model",
        (r"You are trying to access a gated repo", r"GatedRepoError: ", r"Cannot access gated repo"),
        "the model is given to those only who were granted access",
        "ask for it on the model's page, then log in: `hf auth login`, or set HF_TOKEN",
        "transformers/utils/hub.py, cached_files; huggingface_hub/errors.py",
    ),
    Failure(
        "no-such-model",
        (
            r"(?P<name>\S+) is not a local folder and is not a valid model identifier",
            r"RepositoryNotFoundError: ",
        ),
        "there is no such model, on this machine or on the hub",
        "mend model_name_or_path; a private model needs `hf auth login`",
        "transformers/utils/hub.py, cached_files",
    ),
    Failure(
        "hub-unreachable",
        (
            r"^OSError: We couldn't connect to '(?P<hub>[^']*)' to load the files",
            r"^ConnectionError: Couldn't reach '.*' on the Hub",
            r"(?:Max retries exceeded|ConnectError|NameResolutionError).*(?:hf\.co|huggingface|modelscope)",
        ),
        "the model or dataset is not on this machine, and its hub cannot be reached",
        "fetch it where there is a network: `qtune download`; or name a mirror as HF_ENDPOINT, or "
        "`hub: modelscope` in qtune.yaml",
        "transformers/utils/hub.py, cached_files; datasets/load.py; #8573",
    ),
    Failure(
        "broken-weights",
        (
            r"SafetensorError: (?!.*(?:No space left|Disk quota|os error))",
            r"^RuntimeError: PytorchStreamReader failed",
            r"UnpicklingError: ",
        ),
        "a file of weights, or of a checkpoint, is not whole: its download or its writing was interrupted",
        "fetch the model again (`qtune download`); of a checkpoint, go on from the one before: "
        "`qtune resume` verifies them",
        "safetensors; torch/serialization.py; transformers #35782",
    ),
    Failure(
        "no-weights",
        (
            r"^OSError: Error no file named .* found in directory (?P<path>.+?)\.?$",
            r"^OSError: (?P<model>.+) does not appear to have (?:a file|files) named",
            r"^ValueError: Unrecognized model in (?P<directory>\S+)\.",
        ),
        "the model's directory holds no whole model",
        "fetch it again: `qtune download`; after a full training, name the directory with config.json",
        "transformers/modeling_utils.py; transformers/models/auto/configuration_auto.py",
    ),
    Failure(
        "unknown-architecture",
        (r"The checkpoint you are trying to load has model type `(?P<type>[^`]*)` but Transformers",),
        "this transformers does not know models of type `{type}`",
        "install a newer transformers that LLaMA-Factory allows, or choose another model",
        "transformers/models/auto/configuration_auto.py, AutoConfig.from_pretrained",
    ),
    Failure(
        "own-code",
        (r"contains custom code which must be executed",),
        "the model comes with code of its own, which runs only where that is allowed",
        "read that code; then set trust_remote_code: true",
        "transformers/dynamic_module_utils.py, resolve_trust_remote_code",
    ),
    Failure(
        "other-shapes",
        (r"^RuntimeError: You set `ignore_mismatched_sizes` to `False`", r"size mismatch for \S+: copying"),
        "the weights have other shapes than the config, or the model below the adapter, says",
        "name the model that they belong to; a resized vocabulary needs resize_vocab: true",
        "transformers/modeling_utils.py; torch/nn/modules/module.py, load_state_dict",
    ),
    Failure(
        "no-such-modules",
        (r"^ValueError: Target modules (?P<names>.+) not found in the base model",),
        "lora_target names modules that the model does not have: {names}",
        "set lora_target: all",
        "peft/tuners/tuners_utils.py, inject_adapter",
    ),
    Failure(
        "no-adapter",
        (r"^ValueError: Can't find 'adapter_config\.json' at '(?P<path>[^']*)'",),
        "adapter_name_or_path names {path}, which holds no adapter",
        "name a run's directory, or a checkpoint in it",
        "peft/config.py, _get_peft_type",
    ),
    Failure(
        "no-such-checkpoint",
        (r"^ValueError: Can't find a valid checkpoint at (?P<path>.+)",),
        "{path} holds no checkpoint that this training can go on from: save_only_model leaves out what "
        "DeepSpeed needs",
        "`qtune resume` finds the newest complete one",
        "transformers/trainer.py, _load_from_checkpoint; transformers/integrations/deepspeed.py; #5497",
    ),
    Failure(
        "padding-outside-vocabulary",
        (r"^AssertionError: Padding_idx must be within num_embeddings",),
        "config.json says vocab_size, and its pad_token_id is beyond it",
        "take config.json and weights from one model",
        "torch/nn/modules/sparse.py, Embedding",
    ),
    Failure(
        "quantised-model-under-zero3",
        (r"^ValueError: DeepSpeed ZeRO-3 or FSDP is incompatible with PTQ-quantized models",),
        "a model that is quantised already cannot be sharded",
        "choose its plain version, or a preset without ZeRO-3",
        "llamafactory/model/model_utils/quantization.py, configure_quantization; #6898",
    ),
    Failure(
        "merge-into-quantised",
        (r"^ValueError: Cannot merge adapters to a quantized model",),
        "an adapter can be merged into whole weights only",
        "export with the plain base model: `qtune export` does",
        "llamafactory/train/tuner.py, export_model; #5577",
    ),
    Failure(
        "nothing-to-train",
        (r"^RuntimeError: element 0 of tensors does not require grad",),
        "no weight of the model is trained",
        "set lora_target: all, or freeze_trainable_layers above 0",
        "torch/csrc/autograd/python_engine.cpp",
    ),
)
