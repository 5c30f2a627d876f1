"""Files that cannot be written or opened."""

from __future__ import annotations

from qtune.failures.row import Failure

FULL = Failure(
    "disk-full",
    (
        r"No space left on device",
        r"Disk quota exceeded",
        r"\[Errno 28\]",
        r"\[Errno 122\]",
        # torch.save does not pass the system's words on
        r"^RuntimeError: basic_ios::clear: iostream error",
        r"inline_container\.cc:\d+\] \. unexpected pos \d+ vs \d+",
        r"PytorchStreamWriter failed writing file",
    ),
    "the disk is full: the checkpoint that was being written is not complete, the ones before it are",
    "make room, then go on with `qtune resume`; save_total_limit and save_only_model: true take less",
    "Linux, ENOSPC; caffe2/serialize/inline_container.cc; #5155 #1801",
    words="no space is left on the disk of the run",
)

FAILURES = (
    FULL,
    Failure(
        "read-only",
        (r"\[Errno 30\] Read-only file system(?:: (?P<path>'[^']*'))?",),
        "it has to write where nothing may be written: {path}",
        "name another directory as `runs:` in qtune.yaml, or one for HF_HOME where it is a cache's",
        "Linux, EROFS",
    ),
    Failure(
        "permission-denied",
        (r"^PermissionError: \[Errno 13\] Permission denied(?:: (?P<path>'[^']*'))?",),
        "this user may not read or write {path}",
        "mend its permissions, or name another directory: `runs:` in qtune.yaml, HF_HOME for caches",
        "Linux, EACCES",
    ),
    Failure(
        "too-many-open-files",
        (r"\[Errno 24\] Too many open files", r"Too many open files"),
        "a process has more files open than it may, mostly for loader workers",
        "raise the limit (ulimit -n 65536), or set dataloader_num_workers: 0",
        "Linux, EMFILE; torch/utils/data/dataloader.py, _try_get_data",
    ),
)
