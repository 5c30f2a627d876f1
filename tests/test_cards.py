"""GPUs by the names of their cards: what is there of each, told and found."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from nvml import DRIVER, Nvml
from trees import Result

from qtune.errors import QtuneError
from qtune.machine import hardware
from qtune.machine.cards import Card, cards, find_card, sizes
from qtune.machine.hardware import Hardware, detect_hardware, parse_gpu, parse_hardware
from qtune.units import GIB

MIB = 2**20
NAMES = list(cards())


@pytest.mark.parametrize("name", NAMES)
def test_every_card_can_be_named_as_people_do(name: str) -> None:
    card = cards()[name]
    sized = name if name.endswith("GB") else f"{name} {card.sold:g}GB"
    for said in (name, name.lower(), name.replace("-", " "), name.replace("-", ""), f"NVIDIA {name}", sized):
        assert parse_hardware(f"4x{said}") == Hardware(4, card.memory, card.bf16, 32, name)
    assert str(parse_hardware(f"2x{name}")) == f"2x{name}"


def share(card: Card) -> float:
    return card.memory / card.sold


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_its_source(name: str) -> None:
    """The log that a card's memory is read from holds the figure; a card without a log names its model."""
    card = cards()[name]
    assert card.sheet and 0.9 < share(card) <= 1
    if card.log.startswith("as "):
        like = cards()[card.log.removeprefix("as ")]
        assert not like.log.startswith("as ") and card.capability == like.capability
        assert share(card) == pytest.approx(share(like), abs=1e-4)
        return
    figure, unit = re.findall(r"([\d.]+) ?(M|G)i?B", card.log)[-1]
    assert card.memory == pytest.approx(float(figure) / (1024 if unit == "M" else 1), abs=1e-3)
    assert (re.search("AMD|Ascend", card.log) is not None) == (card.capability is None)
    assert card.bandwidth > 0 and card.pcie > 0 and card.tflops > 0


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("RTX 4090", "RTX4090"),
        ("4090", "RTX4090"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTXPRO6000"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("AMD Instinct MI250X/MI250", "MI250"),
        ("ascend 910b", "Ascend910B"),
        ("A100", "A100-40GB"),  # of several sizes the smallest
        ("RTX_4060_Ti", "RTX4060Ti-8GB"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),  # which has 16 GB
        ("H20-141GB", None),
        ("", None),
    ],
)
def test_a_driver_and_people_write_names_differently(said: str, name: str | None) -> None:
    found = find_card(said)
    assert (found and found.name) == name


def test_a_size_is_the_smallest_card_that_is_sold_as_it() -> None:
    for sold in {card.sold for card in cards().values()}:
        least = min(card.memory for card in cards().values() if card.sold == sold)
        assert parse_hardware(f"1x{sold:g}GB") == Hardware(1, least, bf16=True, cores=8, card=f"{sold:g}GB")
    assert parse_hardware("1x24GB").gpu_memory == parse_hardware("1xA10G").gpu_memory
    assert parse_hardware("1x24GB").gpu_memory < parse_hardware("1xRTX3090").gpu_memory
    assert parse_hardware("1x22.04GB").gpu_memory == int(22.04 * GIB)  # no card is sold so


def test_larger_cards_are_named_in_order() -> None:
    larger = [card.sold for card in sizes(parse_hardware("1x24GB").gpu_memory_gb)]
    assert (
        larger == sorted(larger) and larger[:3] == [32, 40, 48] and 64 not in larger
    )  # which NVIDIA has not


def test_rates_of_a_size_are_those_of_its_slowest_card() -> None:
    assert (
        parse_hardware("1x24GB").rates.name == "A10G" and parse_hardware("8x80GB").rates.name == "A100-80GB"
    )
    assert parse_hardware("1x22.04GB").rates.name == "A10G"
    h200 = parse_hardware("8xh200").rates
    assert (h200.flops, h200.memory_rate, h200.host_rate, h200.peer_rate) == (989.5e12, 4.8e12, 64e9, 450e9)
    assert parse_hardware("2xRTX4090").rates.peer_rate is None


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("2xRTX4095", "did you mean 2xRTX4090"),
        ("1xA11G", "did you mean 1xA10G? a size does as well: 1x24GB"),
        ("A10G", "did you mean 1xA10G"),
        ("1xquantum", "write cpu, 1xA10G, 1x24GB or 8x80GB"),
        ("24GB", "write cpu"),
    ],
)
def test_an_unknown_card_names_its_neighbours(said: str, fix: str) -> None:
    with pytest.raises(QtuneError, match=f"`{said}` is no hardware") as caught:
        parse_hardware(said)
    assert caught.value.fix is not None and caught.value.fix.startswith(fix)


def found(monkeypatch: pytest.MonkeyPatch, **known: object) -> Hardware:
    """What is detected where the driver tells this of each of two GPUs."""
    monkeypatch.setattr(hardware, "_DRIVERS", ("/",))
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(**DRIVER, **known))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return detect_hardware()


def test_found_gpus_have_what_the_driver_leaves_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of an L4 on driver 580."""
    machine = found(
        monkeypatch,
        nvmlDeviceGetName="NVIDIA L4",
        nvmlDeviceGetMemoryInfo=SimpleNamespace(total=23034 * MIB, reserved=471 * MIB),
        nvmlDeviceGetCudaComputeCapability=(8, 9),
    )
    assert (machine.gpu_memory, machine.card, machine.bf16) == (22563 * MIB, "L4", True)
    assert str(machine) == "2xL4" and machine.described == "2xL4 (22.03 GiB, 23.7 GB each)"
    assert machine.rates == cards()["L4"]


def test_of_different_gpus_the_smallest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, names = [16384, 8188], ["NVIDIA GeForce RTX 4060 Ti", "NVIDIA GeForce RTX 4060 Ti"]
    machine = found(
        monkeypatch,
        nvmlDeviceGetName=lambda index: names[index],
        nvmlDeviceGetMemoryInfo=lambda index, *_: SimpleNamespace(
            total=sizes[index] * MIB, reserved=382 * MIB
        ),
        nvmlDeviceGetCudaComputeCapability=(8, 9),
    )
    assert (machine.gpu_memory, str(machine)) == (7806 * MIB, "2xRTX4060Ti-8GB")


def test_an_unknown_card_is_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of an A100, by an old driver that does not say what it reserves."""

    def memory(device: int, *version: object) -> SimpleNamespace:
        if version:
            raise Nvml.NVMLError("Function Not Found")
        return SimpleNamespace(total=20096 * MIB)

    machine = found(
        monkeypatch,
        nvmlDeviceGetName="NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetCudaComputeCapability=(7, 5),
    )
    assert (str(machine), machine.gpu_memory, machine.bf16) == ("2x19.12GB", 19584 * MIB, False)
    again = parse_hardware(str(machine))
    assert str(again) == str(machine) and again.gpu_memory == pytest.approx(machine.gpu_memory, rel=1e-3)


def test_cards_without_bf16_train_in_fp16(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    shown = {
        name: qtune("show", "lora", "--hardware", f"1x{name}", directory=root).out
        for name in ("T4", "v100", "L4")
    }
    assert "fp16: true" in shown["T4"] and "bf16" not in shown["T4"] and "fp16: true" in shown["v100"]
    assert "bf16: true" in shown["L4"] and "fp16" not in shown["L4"]


def test_presets_that_fit_a_card(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    """By their own words those of its size, by an estimate those within what it has."""
    root = project({"presets/ours.yaml": "about: ours\nextends: lora\nfits: RTX 3090\n"})

    def names(*options: str) -> set[str]:
        found = qtune("presets", "--json", "--fits", *options, directory=root)
        assert found.code == 0, found.err
        return {row["name"] for row in json.loads(found.out)}

    assert names("A10G") == names("24GB") and "ours" in names("a10g") and "ours" not in names("T4")
    model = ("-m", "Qwen/Qwen2.5-7B")
    assert names("rtx-3090", *model) >= names("24GB", *model) == names("A10G", *model)
    unknown = qtune("presets", "--fits", "RTX 3095", directory=root)
    assert unknown.code == 2 and "--fits 24GB or RTX3090" in unknown.err


def test_a_rendering_remembers_its_card(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    assert qtune("render", "lora", "--hardware", "1xl4", directory=root).code == 0
    assert "# Rendered by qtune for 1xL4." in (root / "rendered/lora/train.yaml").read_text()
    kept = json.loads((root / "rendered/lora/qtune.json").read_text())["hardware"]
    assert Hardware(**kept) == parse_hardware("1xL4") and parse_gpu("l4") == parse_hardware("1xL4")
