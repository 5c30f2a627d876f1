"""Arguments and installed packages that do not go together."""

from __future__ import annotations

from qtune.failures.row import Failure

FAILURES = (
    Failure(
        "unknown-keys",
        (r"^ValueError: Some (?:keys|\w+ arguments) are not used by the HfArgumentParser: (?P<keys>.+)",),
        "the installed LLaMA-Factory does not know {keys}: a slip, or of another version",
        "`qtune check` says what they are called; install the versions that qtune pins",
        "llamafactory/hparams/parser.py, _parse_args; transformers/hf_argparser.py; #7927 #7412",
    ),
    Failure(
        "no-bf16",
        (r"^ValueError: Your setup doesn't support bf16/gpu", r"This device does not support `pure_bf16`"),
        "this machine's GPU, or lack of one, does not compute in bf16",
        "set bf16: auto and fp16: auto, and on a CPU use_cpu: true",
        "transformers/training_args.py, _validate_args; #9025",
    ),
    Failure(
        "needs-torchrun",
        (
            r"^ValueError: Please use `FORCE_TORCHRUN=1` to launch DeepSpeed training",
            r"^ValueError: Please launch distributed training with `llamafactory-cli` or `torchrun`",
        ),
        "DeepSpeed and several GPUs need torchrun, which was not used",
        "start it with `qtune train`, or with FORCE_TORCHRUN=1",
        "llamafactory/hparams/parser.py, get_train_args; #6268",
    ),
    Failure(
        "output-not-empty",
        (r"^ValueError: Output directory already exists and is not empty",),
        "output_dir holds a trained model, and no checkpoint to go on from",
        "take a new run (`qtune train` gives each a directory of its own), or `--overwrite`",
        "llamafactory/hparams/parser.py, get_train_args; #721 #6288",
    ),
    Failure(
        "rtx-4000",
        (r"^NotImplementedError: Using RTX 4000 series doesn't support faster communication",),
        "GeForce cards of this series cannot reach each other's memory, which NCCL would try",
        "set NCCL_P2P_DISABLE=1 and NCCL_IB_DISABLE=1 in the environment",
        "accelerate/state.py, PartialState; #3282",
    ),
    Failure(
        "missing-package",
        (
            r"The '(?P<package>[^']+)' distribution was not found and is required",
            r"^\w*Error: .*requires (?P<name>[\w-]+) to be installed\. Run `pip install",
            r"^ImportError: .*[Pp]lease install it with `pip install (?P<requirement>[^`]+)`",
            r"^ModuleNotFoundError: No module named '(?P<module>[^']+)'",
        ),
        "a package that these arguments need is not installed: {package}{name}{requirement}{module}",
        "install it into the environment of llamafactory-cli, or take the argument out: `qtune check` says "
        "which",
        "transformers/utils/versions.py, require_version; llamafactory/extras/misc.py, check_version",
    ),
    Failure(
        "wrong-version",
        (r"^ImportError: (?P<package>\S+ is required for a normal functioning of this module.*)",),
        "{package}",
        "install the versions that qtune pins: pip install 'qtune[train]'",
        "transformers/utils/versions.py, _compare_versions; llamafactory/extras/misc.py, check_dependencies",
    ),
    Failure(
        "flash-attention-build",
        (r"flash_attn\S*\.so: undefined symbol", r"ImportError: FlashAttention2 has been toggled on"),
        "the installed flash-attn was built for another torch, or is missing",
        "set flash_attn: auto; or build it anew: pip install --no-build-isolation --no-cache flash-attn",
        "transformers/modeling_utils.py; flash-attention #975; #3464",
    ),
    Failure(
        "flash-attention-gpu",
        (r"^RuntimeError: FlashAttention only supports Ampere GPUs or newer",),
        "flash-attn needs an NVIDIA GPU from Ampere on",
        "set flash_attn: auto",
        "flash-attention, csrc/flash_attn/flash_api.cpp",
    ),
    Failure(
        "gpu-too-new-or-old",
        (r"no kernel image is available for execution on the device",),
        "the installed torch, or a package beside it, was not built for this GPU",
        "install the build of torch for this GPU's CUDA version: `qtune doctor` names both",
        "CUDA, cudaErrorNoKernelImageForDevice; vllm #18835",
    ),
    Failure(
        "driver",
        (
            r"The NVIDIA driver on your system is too old",
            r"Found no NVIDIA driver on your system",
            r"CUDA driver version is insufficient for CUDA runtime version",
        ),
        "the NVIDIA driver is missing, or older than this torch needs",
        "install a newer driver: `qtune doctor` names what is here",
        "torch/csrc/cuda/Module.cpp; c10/cuda/CUDAFunctions.cpp",
    ),
    Failure(
        "gpu-fell-out",
        (
            r"CUDA error: (?:an illegal memory access was encountered|unspecified launch failure)",
            r"CUDA error: uncorrectable ECC error",
            r"GPU is lost",
        ),
        "a GPU failed in the midst of its work: a fault of the hardware, its driver or a kernel",
        "go on with `qtune resume`; if it comes again, look at `nvidia-smi -q` and the system's log",
        "CUDA, cudaErrorIllegalAddress, cudaErrorECCUncorrectable",
    ),
)
