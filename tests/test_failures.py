"""What a failed child's words mean: each row of the table on text that was really printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qtune import failures
from qtune.failures.losses import NAN, ZERO, LossWatch

CASES = sorted(Path(__file__).with_name("failure_cases").glob("*.txt"))
SOUND = b"{'loss': '2.1', 'grad_norm': '1.5', 'learning_rate': '0.0001', 'epoch': '0.5'}\n"
EMPTY = b"{'loss': '0', 'grad_norm': '0', 'learning_rate': '0.0001', 'epoch': '1'}\n"
SPOILT = b"{'loss': '0', 'grad_norm': 'nan', 'learning_rate': '0.0001', 'epoch': '1.5'}\n"
NUMBERLESS = b"{'loss': 'nan', 'grad_norm': 'nan', 'learning_rate': '0.0001', 'epoch': '1.5'}\n"
DEAF = b"{'loss': 0.0, 'grad_norm': 1.4142135381698608, 'learning_rate': 4.3e-06, 'epoch': 0.01}\n"  # #8261


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_failure_is_recognised_by_what_was_really_printed(case: Path) -> None:
    source, *lines = case.read_text(encoding="utf-8").splitlines()
    assert source.startswith(("# printed by ", "# quoted from "))
    reason = failures.reason_in(lines, 1)
    assert reason.failure is not None, reason.words
    assert reason.failure.id == case.stem.split(".")[0], reason.words
    assert reason.cause and reason.fix and "{" not in (reason.cause + reason.fix).replace("{'", "")


def test_every_row_has_such_a_text_a_source_and_an_id_of_its_own() -> None:
    shown = {case.stem.split(".")[0] for case in CASES}
    assert shown == {failure.id for failure in failures.rows() if failure.patterns}
    assert len({failure.id for failure in failures.rows()}) == len(failures.rows()) > 50
    for failure in failures.rows():
        assert re.fullmatch(r"[a-z0-9-]+", failure.id), failure.id
        assert failure.cause and failure.fix and failure.source, failure.id


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_same_words_in_a_row_of_the_data_mean_nothing(case: Path) -> None:
    """LLaMA-Factory prints one row of each dataset."""
    lines = case.read_text(encoding="utf-8").splitlines()
    shown = [line for line in lines if not re.match(r"\[|Traceback ", line)]
    log = ["training example:", "inputs:", *shown, "[INFO|trainer.py] ***** Running training *****"]
    assert failures.reason_in(log, 1) == failures.Reason("exit code 1")


def test_the_first_of_many_errors_is_told() -> None:
    lines = [
        "[rank1]: RuntimeError: [gloo/tcp/pair.cc:538] Read error [::1]:37771: Connection reset by peer",
        "[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "[rank0]: During handling of the above exception, another exception occurred:",
        "[rank0]: OSError: [Errno 28] No space left on device",
    ]
    reason = failures.reason_in(lines, 1)
    assert reason.words == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert reason.failure and reason.failure.id == "cuda-out-of-memory" and reason.maybe_memory
    assert failures.reason_in(lines[:1], 1).failure.id == "process-lost"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.",
        "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB.",
    ],
)
def test_memory_runs_out_on_other_makers_accelerators_too(line: str) -> None:
    reason = failures.reason_in([f"[rank0]: {line}"], 1)
    assert reason.failure and reason.failure.id == "cuda-out-of-memory" and reason.maybe_memory


@pytest.mark.parametrize(
    ("killed_for_memory", "id", "maybe_memory"),
    [(True, "killed-for-memory", True), (False, "killed", False), (None, "killed", True)],
)
@pytest.mark.parametrize(
    ("lines", "exit_code"),
    [
        ([], -9),
        ([], 137),
        (["E1121 17:33 api.py:986] failed (exitcode: -9) local_rank: 1 (pid: 24977) of binary: python"], 1),
        (["RuntimeError: [/gloo/transport/tcp/pair.cc:538] Connection closed by peer"], -9),
    ],
)
def test_a_kill_is_one_for_memory_where_the_system_counted_one(
    lines: list[str], exit_code: int, killed_for_memory: bool | None, id: str, maybe_memory: bool
) -> None:
    reason = failures.reason_in(lines, exit_code, killed_for_memory=killed_for_memory)
    assert reason.failure and (reason.failure.id, reason.maybe_memory) == (id, maybe_memory)
    assert reason.words.endswith("ended by SIGKILL")


def test_of_unknown_errors_that_of_the_process_that_failed_first_is_told() -> None:
    lines = [
        "[rank1]: ZooError: the true one",
        "[rank0]: BarError: what followed",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
        "Root Cause (first observed failure):",
        "[0]:",
        "  time      : 2026-11-21_17:33:03",
        "  host      : localhost",
        "  rank      : 1 (local_rank: 1)",
        "  exitcode  : 1 (pid: 24977)",
    ]
    assert failures.reason_in(lines, 1) == failures.Reason("ZooError: the true one")


def test_what_is_told_ends_with_what_helps(tmp_path: Path) -> None:
    told = failures.told(
        "the export failed", ["Traceback:", "  File x", "ValueError: Template a does not exist."], 1
    )
    assert told.splitlines() == [
        "the export failed: ValueError: Template a does not exist.",
        "  | Traceback:",
        "  |   File x",
        "  | ValueError: Template a does not exist.",
        "  cause: LLaMA-Factory has no chat template `a`",
        "  fix: set template: auto, or a name of its own: `qtune check` suggests near ones",
    ]
    log = tmp_path / "log"
    log.write_bytes(b"MemoryError\nan attempt later: ValueError: odd\nOddError: x\n")
    assert failures.reason_of(log, 1, start=12) == failures.Reason("OddError: x")


@pytest.mark.parametrize(
    ("output", "trouble"),
    [
        (SOUND * 9, None),
        (EMPTY * 3, ZERO),
        (EMPTY * 2, None),
        (DEAF * 3, ZERO),
        (SOUND + SPOILT * 3, NAN),
        (SPOILT * 3, NAN),
        (SOUND + NUMBERLESS * 3, NAN),
        (SOUND + DEAF * 3, NAN),
        (SOUND + EMPTY * 9, None),  # it knows its data
        (EMPTY * 2 + SOUND + EMPTY * 2, None),  # batches without an answer
        (SOUND.replace(b"2.1", b"2.1e+00").replace(b"1.5", b"nan") * 9, None),  # fp16 finds its scale
        (b"{'loss': 0.0, 'reward': 0.4, 'learning_rate': 1e-05}\n" * 9, None),  # PPO rounds
        (b"{'eval_loss': '0', 'eval_runtime': '0.1'}\n" * 9, None),
        (b"{'train_runtime': '1.9', 'train_loss': '0'}\n" * 9, None),
    ],
)
def test_losses_that_say_that_nothing_is_learnt(output: bytes, trouble: str | None) -> None:
    for size in (1, 7, len(output)):
        watch = LossWatch()
        for start in range(0, len(output), size):
            watch.feed(output[start : start + size])
        assert watch.trouble is trouble


def test_the_last_loss_of_a_training_that_has_ended_is_enough() -> None:
    watch = LossWatch()
    watch.feed(SOUND + b" 38%|###8      | 3/8 [00:01<00:00]\r" + SPOILT)
    assert (watch.trouble, watch.at_the_end) == (None, NAN)
