"""How sizes and counts read, and that every command reads them alike."""

from __future__ import annotations

import re

from trees import REPOSITORY

from qtune.machine.hardware import Hardware, parse_hardware
from qtune.units import count_text, counted, size_text


def test_sizes_read_well() -> None:
    assert [size_text(size) for size in (0, 999, 1500, 2_500_000, 16_100_000_000)] == [
        "0 bytes",
        "999 bytes",
        "2 kB",
        "2 MB",
        "16.1 GB",
    ]


def test_what_rounds_up_to_a_thousand_takes_the_next_unit() -> None:
    assert [size_text(size) for size in (999_499, 999_500, 999_600_000)] == ["999 kB", "1 MB", "1.0 GB"]


def test_parameters_read_as_models_are_named() -> None:
    assert [count_text(count) for count in (40_370_176, 494_032_768, 7_615_616_512)] == [
        "40.37M",
        "494.03M",
        "7.62B",
    ]


def test_one_row_and_two_rows() -> None:
    assert [counted(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(number, "process") for number in (1, 2)] == ["1 process", "2 processes"]
    assert [counted(number, "epoch") for number in (1.0, 1.5)] == ["1 epoch", "1.5 epochs"]
    assert [counted(number, "row is", "rows are") for number in (1, 3)] == ["1 row is", "3 rows are"]


def test_nothing_else_makes_plurals() -> None:
    own = re.compile(r"""["']e?s["'] if |\} (steps|epochs|datasets)\b""")
    package = REPOSITORY / "adapter" / "qtune"
    told = [
        f"{path.relative_to(package)}: {found[0]}"
        for path in package.rglob("*.py")
        if path.name != "units.py"
        for found in own.finditer(path.read_text(encoding="utf-8"))
    ]
    assert told == []


def test_a_gpus_size_is_what_torch_finds_on_the_smallest_card_of_it() -> None:
    machine = parse_hardware("2x24GB")
    assert machine.gpu_memory == int(21.985 * 2**30)
    assert machine.described == "2x24GB (21.98 GiB, 23.6 GB each)" and Hardware().described == "cpu"


def test_nothing_else_turns_bytes_into_words() -> None:
    own = re.compile(r"(/ ?(2 ?\*\* ?[23]0|1e9|1e6)|>> ?[23]0)[^\n]*[GMgm]i?[Bb]\b")
    package = REPOSITORY / "adapter" / "qtune"
    told = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] != "children" and own.search(path.read_text(encoding="utf-8"))
    ]
    assert told == []
