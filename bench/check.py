"""How fast checking is: `qtune check`'s machinery over 1,000 presets, against LLaMA-Factory's own parser.

Both run in this one process with everything imported, so that what is compared is the work itself: the
presets read, merged and checked, against the same configs, rendered, read by the library's parser. Prints
the ratio and the memory after 200 and after all of them; exits with 1 where a goal is missed. Rerun it with
`make bench`.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline

PRESETS, EARLY = 1000, 200
LEAST_UNDER_LIBRARY = 10.0
MOST_GROWTH_MB = 5.0
PARENTS = ("full", "lora", "qlora")
REGISTRATION = "rows: {file_name: rows.jsonl}\n"
ROW = '{"instruction": "say", "input": "", "output": "it"}\n'


def write_project(root: Path) -> None:
    """A thousand presets that differ in what people change."""
    model = Path(__file__).resolve().parents[1] / "data" / "tiny-qwen2"
    (root / "data").mkdir()
    (root / "presets").mkdir()
    train = f"  model_name_or_path: {model}\n  dataset: rows\n  val_size: 0.1\n"
    (root / "qtune.yaml").write_text(f"presets: [presets]\ntrain:\n{train}", encoding="utf-8")
    (root / "data" / "datasets.yaml").write_text(REGISTRATION, encoding="utf-8")
    (root / "data" / "rows.jsonl").write_text(ROW * 50, encoding="utf-8")
    numbers = itertools.product(PARENTS, (1, 2, 4, 8), (512, 1024, 2048, 4096), range(1, 22))
    for index, (parent, batch, cutoff_len, epochs) in enumerate(itertools.islice(numbers, PRESETS)):
        text = (
            f"about: preset {index}\nextends: {parent}\ntrain:\n  per_device_train_batch_size: {batch}\n"
            f"  cutoff_len: {cutoff_len}\n  num_train_epochs: {epochs}\n"
            f"  learning_rate: {1 + index % 9}.0e-5\n"
        )
        (root / "presets" / f"p{index}.yaml").write_text(text, encoding="utf-8")


def check(root: Path) -> tuple[float, float]:
    """Seconds for all presets, and how many MB the process grew between the early ones and the last."""
    project, early = find_project(root), 0.0
    start = time.perf_counter()
    for index in range(PRESETS):
        prepared = pipeline.examine(f"p{index}", project, Hardware())
        if prepared.findings:
            sys.exit(f"p{index}: {prepared.findings[0]}")
        if index == EARLY:
            early = memory_mb()
    seconds = time.perf_counter() - start
    return seconds, memory_mb() - early


def parse(root: Path) -> float:
    """Seconds that LLaMA-Factory's parser takes for the same configs, which are rendered first."""
    project = find_project(root)
    for index in range(PRESETS):
        pipeline.write(pipeline.prepare(f"p{index}", project, Hardware()))
    os.environ["LLAMAFACTORY_VERBOSITY"] = "ERROR"
    os.chdir(root)
    from llamafactory.hparams.parser import get_train_args

    def once(index: int) -> None:
        sys.argv = ["llamafactory-cli", f"rendered/p{index}/train.yaml"]
        get_train_args()

    once(0)
    start = time.perf_counter()
    for index in range(PRESETS):
        once(index)
    return time.perf_counter() - start


def memory_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_project(root)
        checking, growth = check(root)
        parsing = parse(root)
        os.chdir("/")
    per_preset = checking / PRESETS * 1000
    print(f"qtune's check of {PRESETS} presets      {checking:7.2f} s ({per_preset:.2f} ms each)")
    print(f"LLaMA-Factory's parser on them     {parsing:7.2f} s")
    print(f"parser / check: {parsing / checking:.1f} (goal: at least {LEAST_UNDER_LIBRARY:g})")
    print(f"memory from preset {EARLY} to {PRESETS}: {growth:+.1f} MB (goal: at most {MOST_GROWTH_MB:g})")
    return int(parsing / checking < LEAST_UNDER_LIBRARY or growth > MOST_GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
