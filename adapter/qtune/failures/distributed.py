"""Several processes: DeepSpeed, torchrun, NCCL, gloo, Ray, Slurm."""

from __future__ import annotations

from qtune.failures.row import Failure

FAILURES = (
    Failure(
        "no-ninja",
        (r"Ninja is required to load C\+\+ extensions",),
        "DeepSpeed compiles with ninja, which is not on PATH",
        "install it: pip install ninja",
        "torch/utils/cpp_extension.py, verify_ninja_availability",
    ),
    Failure(
        "no-compiler",
        (r"/bin/sh: \d+: (?P<name>\S*(?:\+\+|cc|clang|nvcc|c\+\+\S*)): not found",),
        "DeepSpeed compiles with {name}, which is not there",
        "install a C++ compiler (Debian: apt-get install g++), or mend CXX",
        "torch/utils/cpp_extension.py, _run_ninja_build; #9270",
    ),
    Failure(
        "no-header",
        (r"fatal error: '?(?P<file>[^:']+)'?(?:: No such file or directory| file not found)",),
        "DeepSpeed cannot be compiled: {file} is not there",
        "install the package that has it (Debian: python3-dev for Python.h, libaio-dev for libaio.h)",
        "torch/utils/cpp_extension.py, _run_ninja_build",
    ),
    Failure(
        "no-async-io",
        (r"Unable to JIT load the async_io op",),
        "offloading to NVMe needs libaio's headers, which are not there",
        "install them (Debian: apt-get install libaio-dev), or offload to the cpu",
        "deepspeed/ops/op_builder/builder.py, OpBuilder.jit_load",
    ),
    Failure(
        "no-cuda-home",
        (
            r"CUDA_HOME does not exist, unable to compile CUDA op",
            r"CUDA_HOME environment variable is not set",
        ),
        "DeepSpeed compiles for the GPU with CUDA's toolkit, which is not there",
        "install the toolkit of torch's CUDA version and set CUDA_HOME; or set "
        "zero_force_ds_cpu_optimizer: false, which compiles nothing for the optimizer",
        "deepspeed/ops/op_builder/builder.py, installed_cuda_version; #9270",
    ),
    Failure(
        "other-cuda-version",
        (
            r"Exception: (?:>- DeepSpeed Op Builder: )?Installed CUDA version (?P<have>\S+) does not match "
            r"the version torch was compiled with (?P<want>[\d.]+)",
        ),
        "DeepSpeed would compile with CUDA {have}, and torch was built with {want}",
        "install CUDA's toolkit {want} and set CUDA_HOME to it",
        "deepspeed/ops/op_builder/builder.py, assert_no_cuda_mismatch; DeepSpeed #1077",
    ),
    Failure(
        "compiling-failed",
        (
            r"Error building extension '(?P<name>[^']+)'",
            r"AttributeError: 'DeepSpeedCPUAdam' object has no attribute 'ds_opt_adam'",
        ),
        "DeepSpeed could not compile what it needs; the reason stands further up in the log",
        "look for the first `error:` there; a half-made one is cleared by removing ~/.cache/torch_extensions",
        "torch/utils/cpp_extension.py; deepspeed/ops/adam/cpu_adam.py; DeepSpeed #1077",
        follows=True,
    ),
    Failure(
        "batch-and-processes",
        (
            r"AssertionError: Check batch related parameters\. train_batch_size is not equal to .* "
            r"(?P<sum>\d+ != \d+ \* \d+ \* \d+)",
        ),
        "DeepSpeed sees another number of processes than were started ({sum}): on a CPU, use_cpu hides them",
        "take use_cpu out and set ddp_backend: gloo; in a ZeRO JSON of your own, leave the batch sizes auto",
        "deepspeed/runtime/config.py, _batch_assertion",
    ),
    Failure(
        "other-world-size",
        (
            r"The checkpoint being loaded used a DP world size of (?P<then>\d+) but the current world size "
            r"is (?P<now>\d+)",
        ),
        "ZeRO wrote this checkpoint with {then} processes, and cannot read it with {now}",
        "go on with {then} processes, or start anew from the model that the checkpoint holds",
        "deepspeed/runtime/engine.py, _load_zero_checkpoint; DeepSpeed #3810",
    ),
    Failure(
        "loss-scale",
        (r"Current loss scale already at minimum",),
        "in fp16 the gradients overflow at every step",
        "set bf16: auto and fp16: auto; where the GPU has no bf16, lower learning_rate",
        "deepspeed/runtime/fp16/loss_scaler.py, update_scale; #251",
    ),
    Failure(
        "port-in-use",
        (r"EADDRINUSE", r"\[Errno 98\] Address already in use", r"errno: 98 - Address already in use"),
        "another program, or a training that was left behind, listens on the port of the processes",
        "set another MASTER_PORT, or leave it out: a free one is taken then",
        "torch/csrc/distributed/c10d/socket.cpp",
    ),
    Failure(
        "node-missing",
        (
            r"Timed out after \d+ seconds waiting for clients\. (?P<joined>\d+/\d+) clients joined",
            r"The client socket has timed out after .* while trying to connect to \((?P<address>[^)]*)\)",
            r"RendezvousTimeoutError",
            r"RendezvousConnectionError: The connection to the C10d store has failed",
        ),
        "not all nodes came together {joined}{address}",
        "start every node with the same MASTER_ADDR and MASTER_PORT, and a NODE_RANK of its own, and open "
        "that port in the firewalls",
        "torch/csrc/distributed/c10d/TCPStore.cpp, socket.cpp; #5277 #8801",
    ),
    Failure(
        "nccl-time-out",
        (r"Watchdog caught collective operation timeout: WorkNCCL\(.*OpType=(?P<operation>\w+)",),
        "a GPU waited too long for the others ({operation}): one was slow or had failed, or the link hangs",
        "set ddp_timeout: 180000000 where rows are prepared for long; on RTX 4000 cards NCCL_P2P_DISABLE=1 "
        "and NCCL_IB_DISABLE=1; NCCL_DEBUG=INFO says more",
        "torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp; #2424 #3282 #7396",
        follows=True,
    ),
    Failure(
        "gloo-time-out",
        (r"Timed out waiting \d+ms for (?:recv|send) operation to complete",),
        "a process waited too long for the others",
        "set ddp_timeout: 180000000; look at the other processes' lines",
        "gloo/transport/tcp/unbound_buffer.cc",
        follows=True,
    ),
    Failure(
        "nccl",
        (r"NCCL error in: .*?, (?P<words>[^,]+)", r"ncclSystemError", r"ncclUnhandledCudaError"),
        "the GPUs cannot exchange data: {words}",
        "run with NCCL_DEBUG=INFO; name the network with NCCL_SOCKET_IFNAME; in a container give more of "
        "/dev/shm (--shm-size=8g); NCCL_P2P_DISABLE=1 where cards cannot reach each other",
        "torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp; #3250 #1169",
    ),
    Failure(
        "process-lost",
        (
            r"Connection closed by peer",
            r"Connection reset by peer",
            r"ncclRemoteError",
            r"Broken pipe \[",
        ),
        "one of the processes ended, and the others lost it",
        "look at what the one that ended first says: its lines begin with [rank…]",
        "gloo/transport/tcp/pair.cc",
        follows=True,
    ),
    Failure(
        "ray-cannot-place",
        (
            r"No available node types can fulfill resource requests? (?P<request>\{.*?\})",
            r"RayError: the Ray cluster cannot place (?P<request>.*?): its",
        ),
        "the Ray cluster has too little for {request}",
        "ask for less (launch.nnodes, launch.nproc_per_node), or add nodes: `ray status` lists what there is",
        "ray/autoscaler/v2/event_logger.py; qtune/children/ray_nodes.py",
    ),
    Failure(
        "no-ray-cluster",
        (
            r"RayError: no Ray cluster answers at (?P<where>\S+):",
            r"RayError: cannot connect to the Ray cluster(?P<where>)",
        ),
        "there is no Ray cluster {where}",
        "start one (`ray start --head`), or correct launch.ray_init_kwargs.address",
        "qtune/children/ray_nodes.py",
    ),
    Failure(
        "ray-node-lost",
        (r"NodeDiedError: (?P<node>node \d+(?: \(\S+\))?) is gone",),
        "the Ray cluster lost {node}, so the other nodes were ended",
        "see what became of that machine; `qtune resume` goes on once the cluster is whole",
        "qtune/children/ray_nodes.py",
    ),
    Failure(
        "time-limit",
        (r"(?:STEP|JOB) \S+ ON \S+ CANCELLED AT \S+ DUE TO TIME LIMIT",),
        "Slurm ended the job at its time limit",
        "ask for more with --time, and go on with `qtune resume`",
        "Slurm, slurmstepd",
    ),
)
