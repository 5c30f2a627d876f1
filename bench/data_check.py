"""How fast data is checked, in how much memory, and against LLaMA-Factory's own loading and converting.

Makes its own JSONL files: single questions of about 500 and of about 150 bytes a row, and conversations. Each
measurement is a process of its own, the imports not counted: every check of rows and columns, the search for
repetitions, and the SHA-256 by which a check that passed is remembered; no tokenizer. Prints MB a second of
wall time and of processor time (which another load on the machine does not change much) and the peak memory;
exits with 1 where a goal is missed. `--size 2000` measures files of 2 GB too, and `--rows 5000000` the memory
of so many rows and nothing else; `make bench` leaves both out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LEAST_MB_A_SECOND = 150.0
LEAST_OVER_LIBRARY = 5.0
MOST_MEMORY_MB = 300.0
MOST_MEMORY_OF_ROWS_MB = 120.0
MEASURED, SMALL_MB = "alpaca", 100
TINY_MODEL = Path(__file__).resolve().parents[1] / "data" / "tiny-qwen2"

_WORDS = [
    f"{first}{second}"
    for first in ("be", "ka", "lo", "mi", "su")
    for second in ("n", "rt", "sta", "da", "ring")
]


def alpaca(words: Callable[[int], str]) -> dict[str, Any]:
    return {"instruction": words(24), "input": words(8), "output": words(60)}


def short(words: Callable[[int], str]) -> dict[str, Any]:
    return {"instruction": words(9), "input": "", "output": words(10)}


def sharegpt(words: Callable[[int], str]) -> dict[str, Any]:
    turns = [{"from": "human", "value": words(15)}, {"from": "gpt", "value": words(40)}]
    return {"conversations": turns * 4}


ROWS = {"alpaca": alpaca, "short": short, "sharegpt": sharegpt}


def rows(make: Callable[[Callable[[int], str]], dict[str, Any]]) -> Iterator[bytes]:
    """Endless lines, all different."""
    random_words = random.Random(1)
    number = 0

    def words(count: int) -> str:
        nonlocal number
        number += 1
        return " ".join((*random_words.choices(_WORDS, k=count - 1), str(number)))

    while True:
        yield json.dumps(make(words)).encode() + b"\n"


def write_project(root: Path, megabytes: int) -> None:
    """A project with a dataset of that size of each kind of row."""
    data = root / "data"
    data.mkdir()
    (root / "qtune.yaml").write_text(f"train: {{model_name_or_path: {TINY_MODEL}, dataset: {MEASURED}}}\n")
    entries = {name: {"file_name": f"{name}.jsonl"} for name in ROWS}
    (data / "datasets.yaml").write_text(
        json.dumps({**entries, "sharegpt": {**entries["sharegpt"], "formatting": "sharegpt"}})
    )
    for name, make in ROWS.items():
        written, lines = 0, rows(make)
        with (data / f"{name}.jsonl").open("wb") as stream:
            while written < megabytes * 1_000_000:
                written += stream.write(next(lines))


def check_rows(count: int) -> bool:
    """Whether that many short rows, each unlike all others, take no more memory than they may."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_project(root, 0)
        with (root / "data" / "short.jsonl").open("w") as stream:
            stream.writelines(
                f'{{"instruction": "what is {number}?", "output": "a number"}}\n' for number in range(count)
            )
            megabytes = stream.tell() // 1_000_000
        found = measure("check", root, "short")
    report(f"qtune's check of {count:,} rows", megabytes, found)
    print(f"goal: at most {MOST_MEMORY_OF_ROWS_MB:g} MB for 5,000,000 rows")
    return found["memory"] <= MOST_MEMORY_OF_ROWS_MB


def check(root: Path, name: str) -> dict[str, float]:
    """This process checks one dataset, as `qtune data check` does."""
    from qtune.config.project import find_project
    from qtune.data.registrations import read_registrations
    from qtune.data.scanning import check_cache
    from qtune.data.scanning.scan import scan
    from qtune.data.sources import DataSource
    from qtune.schema.chat_templates import chat_template

    project = find_project(root)
    template = chat_template("qwen")
    words = template.control_words
    sources = [DataSource(read_registrations(project)[name], "sft", template=template, control_words=words)]
    start, used = time.perf_counter(), time.process_time()
    key = check_cache.key_of(sources)
    reports = scan(sources, root)
    check_cache.remember(key, reports)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    if reports[0].groups:
        sys.exit(f"{name}: {reports[0].groups[0]}")
    return {"seconds": seconds, "processor": processor, "memory": peak_memory_mb()}


def load(root: Path, name: str) -> dict[str, float]:
    """This process loads and converts one dataset with LLaMA-Factory, into an empty cache."""
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import get_train_args

    (root / "data" / "dataset_info.json").write_text((root / "data" / "datasets.yaml").read_text())
    arguments = {
        "model_name_or_path": str(TINY_MODEL),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "template": "qwen",
        "dataset": name,
        "dataset_dir": str(root / "data"),
        "output_dir": str(root / "out"),
        "report_to": "none",
    }
    model_args, data_args, training_args, *_ = get_train_args(arguments)
    [attributes] = get_dataset_list([name], data_args.dataset_dir)
    start, used = time.perf_counter(), time.process_time()
    _load_single_dataset(attributes, model_args, data_args, training_args)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "processor": processor, "memory": peak_memory_mb()}


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(what: str, root: Path, name: str) -> dict[str, float]:
    """`check` or `load` in a process of its own, with caches of its own."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": cache,
            "HF_HOME": cache,
            "LLAMAFACTORY_VERBOSITY": "ERROR",
        }
        argv = [sys.executable, __file__, "--measure", what, str(root), name]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(label: str, megabytes: int, found: dict[str, float]) -> None:
    wall, processor = (megabytes / found[key] for key in ("seconds", "processor"))
    print(f"{label:<44} {wall:6.0f} MB/s {processor:6.0f} MB/s of processor {found['memory']:6.0f} MB memory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, metavar="MB", help="measure files of this size too")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="measure the memory of N rows, and nothing else"
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, root, name = options.measure
        print(json.dumps({"check": check, "load": load}[what](Path(root), name)))
        return 0
    if options.rows:
        return int(not check_rows(options.rows))
    missed = False
    for size in (SMALL_MB, *([options.size] if options.size else [])):
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            write_project(root, size)
            found = {name: measure("check", root, name) for name in ROWS}
            for name, measured in found.items():
                report(f"qtune's check of {size} MB of {name}", size, measured)
                missed |= measured["memory"] > MOST_MEMORY_MB
            missed |= size / found[MEASURED]["processor"] < LEAST_MB_A_SECOND
            if size == SMALL_MB:
                library = measure("load", root, MEASURED)
                report(f"LLaMA-Factory loads and converts {MEASURED}", size, library)
                ratio = library["processor"] / found[MEASURED]["processor"]
                wall = library["seconds"] / found[MEASURED]["seconds"]
                print(f"library / check: {ratio:.1f} of processor time, {wall:.1f} of wall time")
                missed |= ratio < LEAST_OVER_LIBRARY
    print(
        f"goals: at least {LEAST_MB_A_SECOND:g} MB/s of processor time for {MEASURED} and "
        f"{LEAST_OVER_LIBRARY:g} times the library's speed, at most {MOST_MEMORY_MB:g} MB at any size"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
