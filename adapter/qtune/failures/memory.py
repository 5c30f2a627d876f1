"""Too little memory, on a GPU or in the machine."""

from __future__ import annotations

from qtune.failures.row import Failure

_SMALLER = (
    "train with a smaller step: --on-oom step-down does so by itself; `qtune estimate` says what takes the "
    "memory, `qtune recommend` what fits"
)

KILLED = Failure(
    "killed-for-memory",
    (r"oom[_-]kill event", r"Detected \d+ oom_kill events?", r"Out of memory: Killed process"),
    "the system ended the training because the machine, or its control group, has no memory left",
    f"{_SMALLER}; offloading and loader workers take memory of the host",
    "Linux, mm/oom_kill.c; Slurm, slurmstepd",
    out_of_memory=True,
)
SIGKILL = Failure(
    "killed",
    (r"failed \(exitcode: -9\) local_rank: (?P<rank>\d+)", r"died with <Signals\.SIGKILL: 9>"),
    "something ended the training with SIGKILL, which leaves no word: a person, a scheduler, or the system "
    "where memory runs out",
    f"look at the system's log (`dmesg`); where it was memory, {_SMALLER}",
    "torch/distributed/elastic/multiprocessing/api.py; #6687",
)

FAILURES = (
    Failure(
        "cuda-out-of-memory",
        (r"\bOutOfMemoryError: (?P<words>CUDA out of memory\.)", r"^RuntimeError: CUDA out of memory\."),
        "a GPU has too little memory for this step: batch, cutoff_len, or the weights themselves",
        _SMALLER,
        "c10/cuda/CUDACachingAllocator.cpp; #2744 #4559",
        out_of_memory=True,
    ),
    Failure(
        "cuda-library-out-of-memory",
        (
            r"CUDA error: out of memory",
            r"CUBLAS_STATUS_ALLOC_FAILED",
            r"CUDA driver error: out of memory",
            r"cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        ),
        "a GPU has no memory left for CUDA's own libraries: often another program uses it",
        f"look with `nvidia-smi` who else does; else {_SMALLER}",
        "c10/cuda/CUDAException.cpp; aten/src/ATen/cuda/CUDABlas.cpp; #2744",
        out_of_memory=True,
    ),
    Failure(
        "host-allocator",
        (r"DefaultCPUAllocator: can't allocate memory: you tried to allocate (?P<bytes>\d+) bytes",),
        "the machine, or a limit on the process, leaves no memory for {bytes} bytes more",
        f"{_SMALLER}; on a GPU, offload less and take fewer loader workers",
        "c10/core/impl/alloc_cpu.cpp",
        out_of_memory=True,
    ),
    Failure(
        "memory-error",
        (
            r"^MemoryError\b",
            r"\b_ArrayMemoryError: ",
            r"std::bad_alloc",
            r"^OSError: \[Errno 12\] Cannot allocate memory",
            r"^RuntimeError: \[enforce fail at alloc_cpu",
            r"^RuntimeError: can't start new thread",
            r"pyarrow\.lib\.ArrowMemoryError: ",
            r"mmap\b.*Cannot allocate memory",
        ),
        "the machine, or a limit on the process, leaves no memory",
        f"end other programs, or raise the limit (`ulimit -a`); else {_SMALLER}",
        "CPython, Objects/obmalloc.c; numpy, _core/_exceptions.py; libstdc++, new_op.cc",
        out_of_memory=True,
    ),
    KILLED,
    SIGKILL,
    Failure(
        "worker-of-data-died",
        (
            r"^RuntimeError: One of the .* has abruptly died during map operation",
            r"^RuntimeError: DataLoader worker \(pid\S* [\d, ]+\) (?:is killed by signal: Killed|exited)",
        ),
        "a process that prepares the rows was ended, mostly because the machine has no memory left",
        "set preprocessing_num_workers: 1 and dataloader_num_workers: 0, or fewer than now",
        "datasets/utils/py_utils.py, iflatmap_unordered; torch/utils/data/dataloader.py; #6762 #1914",
    ),
    Failure(
        "shared-memory",
        (
            r"is killed by signal: Bus error",
            r"Unexpected bus error encountered in worker",
            r"unable to (?:open|resize|mmap) .*shared memory.*(?:No space left|Cannot allocate)",
            r"unable to allocate shared memory",
        ),
        "loader workers hand rows over in /dev/shm, and it is full",
        "give the container more: docker run --shm-size=8g, or --ipc=host; or set dataloader_num_workers: 0",
        "torch/csrc/DataLoader.cpp; pytorch #5040",
    ),
)
