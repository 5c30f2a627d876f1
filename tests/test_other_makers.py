"""Accelerators of other makers than NVIDIA: seen by their drivers' files, not taken for a CPU in silence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rule_cases import EVERYTHING, examine, lacking, rules_project
from trees import Result, write_tree

from qtune.doctor import accelerators, facts
from qtune.doctor.host import Demand
from qtune.doctor.needs import Needs
from qtune.machine import builds, makers
from qtune.machine.builds import Build, read_build
from qtune.machine.gpus import Gpus
from qtune.machine.hardware import Hardware
from qtune.machine.makers import Accelerators, other_accelerators
from qtune.runs import provenance

GIB = 1 << 30
NODES = "sys/class/kfd/kfd/topology/nodes"
CPU_NODE = {f"{NODES}/0/properties": "cpu_cores_count 64\nsimd_count 0\ndrm_render_minor 0\n"}
NPUS = {f"dev/davinci{number}": "" for number in range(8)} | {"dev/davinci_manager": ""}
EIGHT = Accelerators("Ascend NPU", 8, "/dev/davinci0")


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in makers._HIDING.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)


def amd(*sizes: int) -> dict[str, str]:
    """The files of AMD's compute driver with GPUs of so many GiB."""
    files = {"dev/kfd": "", **CPU_NODE}
    for number, size in enumerate(sizes, 1):
        files[f"{NODES}/{number}/properties"] = f"simd_count 304\ndrm_render_minor {127 + number}\n"
        banks = f"{NODES}/{number}/mem_banks/0/properties"
        files[banks] = f"heap_type 1\nsize_in_bytes {size * GIB}\nflags 0\n"
        files[f"dev/dri/renderD{127 + number}"] = ""
    return files


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (NPUS, EIGHT),
        (amd(192, 192), Accelerators("AMD GPU", 2, "/dev/kfd", 192)),
        ({"dev/kfd": ""}, Accelerators("AMD GPU", None, "/dev/kfd")),
        (amd(2), None),  # the graphics of a processor
        ({"dev/kfd": "", **CPU_NODE}, None),
        ({"dev/dri/renderD128": "", "sys/class/drm/renderD128/device/vendor": "0x8086\n"}, None),
        ({"dev/davinci_manager": ""}, None),  # a container without devices
        ({}, None),
    ],
)
def test_others_are_seen_by_the_files_of_their_drivers(
    tmp_path: Path, files: dict[str, str], found: Accelerators | None
) -> None:
    assert other_accelerators(write_tree(tmp_path, files)) == found


def test_an_intel_gpu_counts_where_torch_is_built_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"dev/dri/renderD128": "", "sys/class/drm/renderD128/device/vendor": "0x8086\n"}
    monkeypatch.setattr(builds, "read_build", lambda package: Build("2.11.0+xpu", None, "20250301"))
    found = other_accelerators(write_tree(tmp_path, files))
    assert found == Accelerators("Intel GPU", 1, "/dev/dri/renderD128")


def test_a_build_tells_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "__version__ = '2.11.0+xpu'\ncuda: Optional[str] = None\nxpu: Optional[str] = '20250301'\n"
    write_tree(tmp_path, {"for_intel/__init__.py": "", "for_intel/version.py": text})
    monkeypatch.syspath_prepend(tmp_path)
    assert read_build("for_intel") == Build("2.11.0+xpu", None, "20250301")


@pytest.mark.parametrize(
    ("variable", "value", "files", "count"),
    [
        ("ASCEND_RT_VISIBLE_DEVICES", "0,1", NPUS, 2),
        ("ASCEND_RT_VISIBLE_DEVICES", "", NPUS, 0),
        ("HIP_VISIBLE_DEVICES", "1", amd(64, 64), 1),
        ("CUDA_VISIBLE_DEVICES", "-1", amd(64), 0),
        ("ROCR_VISIBLE_DEVICES", "0,1,2", amd(64), 1),
    ],
)
def test_the_makers_variables_leave_some_in_sight(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    files: dict[str, str],
    count: int,
) -> None:
    monkeypatch.setenv(variable, value)
    found = other_accelerators(write_tree(tmp_path, files))
    assert (found.count if found else 0) == count


@pytest.fixture
def ascend(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has eight Ascend NPUs and no GPU of NVIDIA's."""
    monkeypatch.setattr(makers, "detect_hardware", Hardware)
    monkeypatch.setattr(makers, "other_accelerators", lambda root=None: EIGHT)


@pytest.mark.parametrize(
    "words",
    [
        ["show", "lora"],
        ["check", "lora"],
        ["render", "lora"],
        ["estimate", "lora"],
        ["recommend"],
        ["train", "lora"],
        ["data", "stats", "rows"],
        ["eval"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("ascend")
def test_what_judges_by_the_machine_stops_and_says_how_to_name_it(
    qtune: Callable[..., Result], project: Callable[..., Path], words: list[str]
) -> None:
    root = project()
    found = qtune(*words, directory=root)
    assert found.code == 2 and found.out == ""
    assert "this machine: has 8 Ascend NPUs (/dev/davinci0)" in found.err
    assert "--hardware 8x64GB" in found.err and "--hardware cpu" in found.err
    assert not (root / "rendered").exists()


@pytest.mark.usefixtures("ascend")
def test_named_they_are_rendered_for(qtune: Callable[..., Result], project: Callable[..., Path]) -> None:
    root = project()
    words = ("--hardware", "8x64GB", "-s", "ddp_backend=hccl")
    found = qtune("render", "lora", *words, directory=root)
    assert found.code == 0, found.err
    rendered = (root / "rendered/lora/train.yaml").read_text()
    assert "bf16: true" in rendered and "ddp_backend: hccl" in rendered and "use_cpu" not in rendered
    assert "NPROC_PER_NODE=8" in (root / "rendered/lora/launch.sh").read_text()


def test_hccl_is_for_those_that_have_its_package(tmp_path: Path) -> None:
    project = rules_project(tmp_path)
    for backend, stack, rules in (
        ("hccl", None, []),
        ("hccl", EVERYTHING, []),
        ("hccl", lacking("torch_npu"), ["gpu-processes-need-nccl"]),
        ("xccl", None, []),
        ("xccl", EVERYTHING, ["gpu-processes-need-nccl"]),
        ("cncl", None, ["gpu-processes-need-nccl"]),
    ):
        found = examine(project, {"ddp_backend": backend}, "8x64GB", stack).findings
        assert [finding.rule for finding in found] == rules, backend


def test_the_doctor_names_them_and_advises_what_check_takes() -> None:
    cpu = accelerators.others_line(EIGHT, Needs("lora"), rendered=False)
    assert cpu.level == "failure" and "8 Ascend NPUs" in cpu.says
    assert cpu.fix and "`qtune render lora --hardware 8x64GB`" in cpu.fix
    assert accelerators.others_line(EIGHT, Needs("lora"), rendered=True).level == "warning"
    named = accelerators.others_line(EIGHT, Needs("lora", gpu=True, processes=8), rendered=True)
    assert named.level == "ok"
    many = accelerators.others_line(EIGHT, Needs("lora", gpu=True, processes=9), rendered=True)
    assert many.level == "warning" and "9 processes" in many.says


def test_what_is_known_of_the_machine_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run's record, and the doctor's facts, for which CUDA's toolkit counts no more."""
    for module in (facts, provenance):
        monkeypatch.setattr(module, "other_accelerators", lambda: EIGHT)
    monkeypatch.setattr(provenance, "detect_hardware", Hardware)
    monkeypatch.setattr(facts, "read_gpus", Gpus)
    assert provenance.HERE["machine"](tmp_path)["hardware"] == "8 Ascend NPUs (/dev/davinci0)"
    needs = Needs("stage3", gpu=True, operations=True, cuda_home=True)
    found = facts.gather(needs, (), tmp_path, "runs", Path(sys.executable), Demand(), rendered=True)
    assert (found.others, found.needs.cuda_home) == (EIGHT, False)
