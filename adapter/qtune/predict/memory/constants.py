"""Constants of the memory estimate that no config tells: measured, assumed or taken from elsewhere."""

from __future__ import annotations

MIB, GIB = 2**20, 2**30

CUDA_CONTEXT, CUDA_CONTEXT_SHARE = 100 * MIB, 0.008
"""Bytes of a GPU for the driver's context and the loaded kernels: so many, and a share of the GPU's memory.
torch says in each out-of-memory error what the process holds, and what of it is reserved. The rest in 20 such
messages of public issues and logs: 0.09 to 0.24 GiB on 15 GiB, 0.25 to 0.56 on 22 to 24, 0.4 to 0.8 on 40 to
48, 0.5 to 0.8 on 80. Measured as 141 MiB on a T4 (FitCheck 0.3.1, data/measurements)."""
CUDA_CONTEXT_MOST = 2.5
"""How many times that it is at the most: 1.6 and 1.9 GiB in two of those on 80 GiB, 3.4 in one on 140."""
NCCL_BUFFERS = 250 * MIB
"""Bytes of a GPU for NCCL's channels under DeepSpeed and wherever several processes train. Assumed: 4 MiB
for each of two buffers of some tens of channels (NCCL_BUFFSIZE in NVIDIA's documentation of NCCL). One
process under DeepSpeed takes less; it is charged the same, so that a second GPU never seems to cost memory.
"""
UNCERTAIN = 0.08
"""Share of what is allocated by which the worst case is higher for what the formulas leave out. With less
than 0.06 more than 2% of the peaks in docs/published would be higher than what is said to be the most."""
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
