"""Rules about the hardware that a training will run on."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.units import counted

_ARGUMENTS = "transformers/training_args.py, TrainingArguments._validate_args"


def _more_than_cores(view: View, workers: int | None) -> str:
    """The workers against the machine's cores, where these are known: `cpu` names a machine of any size."""
    known = not view.hardware.is_cpu or view.stack is not None
    if not known or workers is None or workers <= view.hardware.cores:
        return ""
    return f"{counted(workers, 'worker')} on {counted(view.hardware.cores, 'core')}"


def _more_than_gpus(view: View) -> str:
    processes, gpus = view.config.nproc_per_node, view.hardware.gpus
    return f"{counted(processes, 'process')} on {counted(gpus, 'GPU')}" if 0 < gpus < processes else ""


def _loaders(view: View) -> str:
    each, processes = view["dataloader_num_workers"], view.config.nproc_per_node
    found = _more_than_cores(view, each * processes)
    return f"{found}, {each} in each of {processes} processes" if found and processes > 1 else found


def _foreign_backend(view: View) -> str:
    """Why the GPUs do not talk over the backend; Ascend's do over hccl, Intel's over xccl."""
    backend = view["ddp_backend"]
    if backend == "hccl":
        absent = "hccl is of Ascend NPUs and needs torch_npu, which is not installed here"
        return absent if view.lacks("torch_npu") else ""
    if backend == "xccl":
        built = view.stack is None or "+xpu" in (view.stack.version("torch") or "")
        return "" if built else "xccl is of Intel GPUs and needs a torch that is built for them"
    if backend in (None, "nccl", "gloo"):
        return ""
    return f"NVIDIA and AMD GPUs talk over nccl; {backend} is for others"


RULES = (
    Rule(
        "bf16-on-hardware",
        ("bf16", "bf16_full_eval"),
        lambda view: (
            (view["bf16"] or view["bf16_full_eval"]) and not view["use_cpu"] and not view.hardware.bf16
        ),
        "{hardware} does not compute in bf16",
        "set bf16: auto and fp16: auto; on a CPU use_cpu: true allows bf16",
        _ARGUMENTS,
    ),
    Rule(
        "pure-bf16-on-hardware",
        ("pure_bf16",),
        lambda view: view["pure_bf16"] and not view.hardware.bf16,
        "{hardware} does not compute in bf16",
        "take it out",
        "llamafactory/hparams/parser.py, get_train_args",
    ),
    Rule(
        "tf32-on-hardware",
        ("tf32",),
        lambda view: view["tf32"] is True and not view.hardware.bf16,
        "{hardware} has no TF32: NVIDIA GPUs have it from Ampere on",
        "take it out",
        "transformers/training_args.py, TrainingArguments.__post_init__",
    ),
    Rule(
        "fp16-on-hardware",
        ("fp16", "use_cpu"),
        lambda view: view["fp16"] and not view["bf16"] and (view.hardware.is_cpu or view["use_cpu"]),
        "has no effect on a CPU, which trains in float32; DeepSpeed refuses it on most",
        "set fp16: auto",
        "accelerate/accelerator.py, Accelerator.__init__; deepspeed/runtime/engine.py, _do_sanity_check",
        "warning",
    ),
    Rule(
        "processes-on-hardware",
        ("launch.nproc_per_node",),
        _more_than_gpus,
        "{found}: each process needs one of its own",
        "set launch.nproc_per_node: auto, or use gradient_accumulation_steps for a larger batch",
        "llamafactory/extras/misc.py, get_current_device; torch.cuda.set_device",
    ),
    Rule(
        "cpu-processes-need-gloo",
        ("ddp_backend", "launch.nproc_per_node"),
        lambda view: (
            view.hardware.is_cpu
            and view.distributed
            and view["ddp_backend"] not in (("gloo",) if view.config.processes > 1 else ("gloo", None))
        ),
        "processes on a CPU talk over gloo only; several without it train on nothing, with loss 0",
        "set ddp_backend: auto, or gloo",
        "accelerate/state.py, PartialState._prepare_backend",
    ),
    Rule(
        "backend-needs-processes",
        ("ddp_backend", "launch.nproc_per_node", "zero.stage"),
        lambda view: view["ddp_backend"] is not None and not view.distributed,
        "is {ddp_backend}, by which processes talk; with one process alone accelerate fails on it",
        "set ddp_backend: auto, or take it out",
        "accelerate/state.py, PartialState.__init__",
    ),
    Rule(
        "gpu-processes-need-nccl",
        ("ddp_backend",),
        lambda view: "" if view.hardware.is_cpu or not view.distributed else _foreign_backend(view),
        "{found}",
        "set ddp_backend: auto, which leaves it to what is there",
        "torch/distributed/distributed_c10d.py, init_process_group; accelerate/state.py, _prepare_backend",
    ),
    Rule(
        "cpu-zero3-processes",
        ("launch.nproc_per_node", "zero.stage"),
        lambda view: view.hardware.is_cpu and view.config.processes > 1 and view.zero3,
        "ZeRO-3 over {processes} processes on a CPU now and then trains on garbage, and says nothing of it",
        "set launch.nproc_per_node: 1, or zero.stage: 2",
        "deepspeed/runtime/zero/partition_parameters.py, _allgather_params_coalesced; DeepSpeed issue 8539",
    ),
    Rule(
        "cpu-zero3-4bit-evaluation",
        ("eval_strategy", "quantization_bit", "zero.stage", "launch.launcher"),
        lambda view: (
            view.hardware.is_cpu
            and (view.zero3 or view.accelerate)
            and view["quantization_bit"] == 4
            and view.evaluates
        ),
        "on a CPU a 4-bit model trains in shards, by ZeRO-3 or FSDP, but cannot be evaluated there",
        "set eval_strategy: auto and load_best_model_at_end: auto, which leave it out then",
        "bitsandbytes/backends/cpu/ops.py (packed_weight.dtype == torch.uint8)",
    ),
    Rule(
        "preprocessing-workers-on-hardware",
        ("preprocessing_num_workers",),
        lambda view: _more_than_cores(view, view["preprocessing_num_workers"]),
        "makes {found}: they wait for each other, and each takes memory of its own",
        "set preprocessing_num_workers: auto",
        "datasets/arrow_dataset.py, Dataset.map",
        "warning",
    ),
    Rule(
        "loader-workers-on-hardware",
        ("dataloader_num_workers", "launch.nproc_per_node"),
        _loaders,
        "makes {found}: they wait for each other",
        "set dataloader_num_workers: auto",
        "torch/utils/data/dataloader.py, DataLoader.check_worker_number_rationality",
        "warning",
    ),
    Rule(
        "cpu-fsdp",
        ("fsdp",),
        lambda view: view.hardware.is_cpu and bool(view["fsdp"]),
        "the FSDP of this argument, version 1, does not run on a CPU",
        "take it out",
        "torch/distributed/fsdp/_init_utils.py, _get_compute_device",
    ),
    Rule(
        "flash-attention-on-hardware",
        ("flash_attn",),
        lambda view: view["flash_attn"] == "fa2" and (view.hardware.is_cpu or view.lacks("flash_attn")),
        "flash attention 2 is not there: LLaMA-Factory goes on without it",
        "set flash_attn: auto, or install flash-attn for this torch",
        "llamafactory/model/model_utils/attention.py, configure_attn_implementation",
        "warning",
    ),
)
