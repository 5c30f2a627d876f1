"""Constants of the memory estimate that no config tells: measured, assumed or taken from elsewhere."""

from __future__ import annotations

MIB, GIB = 2**20, 2**30

CUDA_CONTEXT = 500 * MIB
"""Bytes of a GPU for the driver's context, the loaded kernels and cuBLAS. nvidia-smi against
torch.cuda.memory_reserved on Ampere and Hopper cards: 400 to 600 MiB. Not measured here."""
NCCL_BUFFERS = 250 * MIB
"""Bytes of a GPU for NCCL's channels under DeepSpeed and wherever several processes train. Assumed: 4 MiB
for each of two buffers of some tens of channels (NCCL_BUFFSIZE in NVIDIA's documentation of NCCL). One
process under DeepSpeed takes less; it is charged the same, so that a second GPU never seems to cost memory.
"""
UNCERTAIN = 0.10
"""Share of what is allocated by which the worst case is higher for what the formulas leave out."""
INTERPRETER = 1000 * MIB
"""Bytes of each process beside the model: Python with torch, transformers, peft and datasets, all in use.
Measured as resident memory after training a model of next to nothing: 987 MiB, with DeepSpeed or without
(bench/measured_training.py)."""
GPU_PROCESS = 2000 * MIB
"""Bytes of host memory that CUDA's libraries and pinned staging buffers add to a process. Assumed."""
HOST_UNCERTAIN = 0.15
"""As UNCERTAIN, of host memory: the goal of the measurements on the CPU."""
PINNED = 1.3
"""Pinned buffers are rounded up to a power of two (pytorch, aten/src/ATen/core/CachingHostAllocator.h): at
the most twice the size, on average over evenly spread sizes 4/3. In the high end of the range only."""

HEAP_BLOCK = 32 * MIB
"""Bytes below which glibc takes blocks from its heap, whose freed ones it keeps, once larger ones were freed;
others it gives back (mallopt(3), M_MMAP_THRESHOLD: DEFAULT_MMAP_THRESHOLD_MAX)."""
HEAP_KEPT = 4.0
"""What the heap keeps, as a multiple of the activations of the layer at work. Measured: with
MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ at 128 KiB a LoRA training takes 975 MiB and 979 are
predicted without this part; without them 1,358 MiB, 4.4 times the 87 MiB of the layer at work more."""
