"""`doctor`: facts of a machine, the verdicts on made-up ones, and what the command prints."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvml import DRIVER, Nvml
from trees import REPOSITORY, Result, write_tree

from qtune.doctor import accelerators, build_tools, config_line, host, model_access, probe, readiness, stack
from qtune.doctor.build_tools import Tools
from qtune.doctor.host import Demand
from qtune.doctor.line import Line
from qtune.doctor.needs import Needs, needs_of
from qtune.doctor.probe import Device, Part, Probe
from qtune.doctor.versions import in_range
from qtune.machine.builds import read_build
from qtune.machine.gpus import Gpu, Gpus, Occupant, read_gpus
from qtune.machine.hardware import Hardware, parse_hardware
from qtune.machine.host import Host, Volume, read_host, read_volume
from qtune.machine.hub import Cached, Hub, look_up, read_hub, why_unreachable
from qtune.prepare import pipeline
from qtune.processes import child
from qtune.processes.process import Outcome
from qtune.schema.library import packages
from qtune.training import attempts
from qtune.values import Config, Finding, Origin, Value

GIB = 1 << 30
NEEDS = Needs("lora")
PACKAGES = {name: package.tested for name, package in packages().items()}
A100 = Gpu("A100", 80 * GIB, 79 * GIB, (8, 0))


def trio(torch: str, torchvision: str, torchaudio: str) -> dict[str, Part]:
    return {"torch": Part(torch), "torchvision": Part(torchvision), "torchaudio": Part(torchaudio)}


# Packages and builds


def test_the_table_of_packages_is_that_of_the_project() -> None:
    pinned = dict(
        line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
    )
    project = (REPOSITORY / "pyproject.toml").read_text()
    required = dict(
        re.findall(r'"(llamafactory|torch|transformers|peft|deepspeed|bitsandbytes)([=<>!][^"]+)"', project)
    )
    assert {name: package.tested for name, package in packages().items()} == {
        name: pinned[name] for name in packages()
    }
    assert {name: package.range for name, package in packages().items() if name in required} == required


@pytest.mark.parametrize(
    ("version", "clauses", "inside"),
    [
        ("5.5.4", ">=4.55,!=4.57.0,<5.6", True),
        ("4.57", ">=4.55,!=4.57.0,<5.6", False),
        ("4.57.1", ">=4.55,!=4.57.0,<5.6", True),
        ("5.6.0", "<5.6", False),
        ("2.11.0+cu130", ">=2.6", True),
        ("0.18.10", "<=0.18.4", False),
        ("4.0.0", "<=4.0", True),
    ],
)
def test_versions_are_compared_by_number(version: str, clauses: str, inside: bool) -> None:
    assert in_range(version, clauses) is inside


def test_tested_packages_are_one_good_line() -> None:
    [line] = stack.package_lines(PACKAGES, gates_off=False)
    assert line.level == "ok" and "other than tested" not in line.says
    [line] = stack.package_lines({**PACKAGES, "torch": "2.8.0+cu128"}, gates_off=False)
    assert line.level == "ok" and "torch 2.8.0+cu128 (2.11.0)" in line.says


@pytest.mark.parametrize(
    ("changed", "level", "says"),
    [
        ({"trl": "0.25.0"}, "failure", "refuses to start"),
        ({"transformers": "5.6.0"}, "warning", "known not to fit"),
        ({"accelerate": "1.12.0"}, "warning", "known not to fit"),
        ({"llamafactory": None}, "failure", "not installed"),
    ],
)
def test_a_package_out_of_its_range_has_a_line_and_a_fix(
    changed: dict[str, str | None], level: str, says: str
) -> None:
    versions = {name: version for name, version in {**PACKAGES, **changed}.items() if version is not None}
    [line] = stack.package_lines(versions, gates_off=False)
    assert (line.subject, line.level) == (*changed, level)
    assert says in line.says and line.fix and "pip install" in line.fix


def test_switched_off_version_checks_are_told() -> None:
    [line] = stack.package_lines({**PACKAGES, "trl": "0.25.0"}, gates_off=True)
    assert line.level == "warning" and "DISABLE_VERSION_CHECK" in line.says


@pytest.mark.parametrize(
    ("parts", "imported", "level"),
    [
        (trio("2.11.0+cu130", "0.26.0+cu130", "2.11.0+cu130"), True, "ok"),
        (trio("2.6.0", "0.21.0", "2.6.0"), False, "ok"),
        (trio("2.11.0+cu130", "0.26.0", "2.11.0+cu126"), False, "failure"),  # 13 against 12
        (trio("2.11.0+cu128", "0.26.0+cu126", "2.11.0+cu128"), False, "ok"),  # minor versions go together
        (trio("2.11.0+cpu", "0.26.0+cu130", "2.11.0+cpu"), False, "failure"),
        (trio("2.11.0", "0.25.0", "2.11.0"), False, "failure"),
        (trio("2.11.0", "0.25.0", "2.11.0"), True, "warning"),
        (trio("2.11.0", "0.26.0", "2.10.0"), False, "warning"),
        (
            {**trio("2.11.0", "0.26.0", ""), "torchaudio": Part(error="OSError: libcudart.so")},
            True,
            "failure",
        ),
        ({"torch": Part("2.11.0")}, False, "warning"),
        ({"torch": Part(error="ModuleNotFoundError: No module named 'torch'")}, False, "failure"),
        ({"torch": Part(error="ends the Python process (SIGSEGV)")}, True, "failure"),
    ],
)
def test_builds_of_torch_have_to_match(parts: dict[str, Part], imported: bool, level: str) -> None:
    line = stack.builds_line(parts, imported=imported)
    assert line.level == level, line
    assert (line.fix is None) == (level == "ok")


def test_the_fix_names_the_builds_that_belong_to_the_installed_torch() -> None:
    fix = stack.builds_line(trio("2.8.0", "0.26.0", "2.8.0"), imported=False).fix
    assert fix and "torch==2.8.0 torchvision==0.23.* torchaudio==2.8.*" in fix


def test_builds_are_read_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(
        tmp_path,
        {
            "built/__init__.py": "raise RuntimeError",
            "built/version.py": "from typing import Optional\n__version__ = '2.11.0+cu130'\n"
            "cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
            "bare/__init__.py": "raise RuntimeError",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = read_build("built")
    assert found is not None and (found.version, found.cuda) == ("2.11.0+cu130", "13.0")
    bare = read_build("bare")
    assert bare is not None and bare.version is None
    assert read_build("not_there_at_all") is None


def test_an_old_python_fails() -> None:
    assert stack.python_line("3.10.12", "/usr/bin/python3").level == "failure"
    assert stack.python_line("3.11.7", "/usr/bin/python3").level == "ok"
    assert stack.python_line(None, None).level == "failure"


# GPUs


def test_gpus_are_as_the_driver_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    taker = SimpleNamespace(pid=4711, usedGpuMemory=3 * GIB)
    known = {
        **DRIVER,
        "nvmlDeviceGetName": "NVIDIA A100",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=81 * GIB, reserved=GIB, free=70 * GIB),
        "nvmlDeviceGetCudaComputeCapability": (8, 0),
        "nvmlDeviceGetComputeRunningProcesses": [taker],
        "nvmlDeviceGetGraphicsRunningProcesses": [taker],
        "nvmlSystemGetProcessName": "/usr/bin/python3",
    }
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(**known))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = read_gpus()
    assert (found.driver, found.cuda, found.installed) == ("570.124.06", (12, 8), 2)
    assert found.devices == (
        Gpu("NVIDIA A100", 80 * GIB, 70 * GIB, (8, 0), (Occupant(4711, 3 * GIB, "/usr/bin/python3"),)),
    )
    assert found.devices[0].bf16


def test_what_a_gpu_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(**DRIVER))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = read_gpus()
    assert found.devices == (Gpu(), Gpu()) and found.devices[0].bf16 is None
    assert [line.level for line in accelerators.gpu_lines(found, NEEDS, hidden=None)] == ["ok", "ok"]


def test_no_driver_means_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert read_gpus() == Gpus()


@pytest.mark.parametrize(
    ("gpus", "torch_cuda", "needed", "level"),
    [
        (Gpus("570.1", (12, 8), (A100,), 1), "12.8", True, "ok"),
        (Gpus("525.1", (12, 0), (A100,), 1), "12.8", True, "ok"),
        (Gpus("570.1", (12, 8), (A100,), 1), "13.0", True, "failure"),
        (Gpus("570.1", (12, 8), (A100,), 1), "13.0", False, "warning"),
        (Gpus("570.1", (12, 8), (A100,), 1), None, True, "failure"),
        (Gpus(), "13.0", False, "ok"),
    ],
)
def test_the_driver_has_to_run_torchs_cuda(
    gpus: Gpus, torch_cuda: str | None, needed: bool, level: str
) -> None:
    assert accelerators.driver_line(gpus, torch_cuda, "2.11.0", needed=needed).level == level


def test_a_gpu_line_tells_memory_precision_and_who_is_on_it() -> None:
    busy = Gpu("T4", 16 * GIB, 10 * GIB, (7, 5), (Occupant(7, 6 * GIB, "/usr/bin/python3"),))
    free, taken = accelerators.gpu_lines(Gpus("570.1", (12, 8), (A100, busy), 2), NEEDS, hidden=None)
    assert free.level == "ok" and free.says == "A100, 85.9 GB, 84.8 GB free, capability 8.0, bf16"
    assert taken.level == "warning" and "no bf16" in taken.says and "pid 7 python3 (6.4 GB)" in taken.says
    [hidden] = accelerators.gpu_lines(Gpus("570.1", (12, 8), (), 2), NEEDS, hidden="")
    assert hidden.level == "warning" and "hides all 2" in hidden.says


def test_a_config_for_another_machines_gpus_is_told() -> None:
    eight = Needs("deepspeed", gpu=True, processes=8)
    one, processes = accelerators.gpu_lines(Gpus("570.1", (12, 8), (A100,), 1), eight, hidden=None)
    assert (one.level, processes.level) == ("ok", "failure")
    [none] = accelerators.gpu_lines(Gpus(), eight, hidden=None)
    assert none.level == "warning" and "one for GPUs" in none.says


def test_a_gpu_that_does_not_compute_fails_and_others_are_told_of_by_torch_alone() -> None:
    gpus = Gpus("570.1", (12, 8), (A100,), 1)

    def levels(devices: tuple[Device, ...], seen: Gpus, hip: str | None = None) -> list[str]:
        lines = accelerators.torch_device_lines("cuda", hip, devices, seen, needed=bool(seen.devices))
        return [line.level for line in lines]

    assert levels((Device("A100", 80 * GIB, True),), gpus) == ["ok"]
    assert levels((Device(error="AcceleratorError: no kernel image"),), gpus) == ["failure"]
    assert levels((), gpus) == ["failure"]
    assert levels((), Gpus()) == []
    assert levels((Device("MI300X", 192 * GIB, True),), Gpus(), hip="6.4") == ["warning"]


def test_gpu_memory_is_held_against_the_estimate() -> None:
    gpus = Gpus("570.1", (12, 8), (A100, Gpu("A100", 80 * GIB, 20 * GIB, (8, 0))), 2)
    assert accelerators.gpu_memory_line(gpus, None) is None
    assert accelerators.gpu_memory_line(Gpus(devices=(Gpu(),)), GIB) is None
    fits, does_not = (accelerators.gpu_memory_line(gpus, size * GIB) for size in (19, 24))
    assert fits and fits.level == "ok"
    assert does_not and does_not.level == "warning" and "qtune recommend" in str(does_not.fix)


# Tools


def test_tools_fail_only_the_presets_that_need_them() -> None:
    offload = Needs(
        "stage3", gpu=True, zero=True, operations=True, compiles=("its CPU Adam",), cuda_home=True
    )
    assert build_tools.ninja_line(Tools(), NEEDS).level == "warning"
    assert build_tools.ninja_line(Tools(), offload).level == "failure"
    assert build_tools.cuda_home_line(Tools(), NEEDS, None, gpus=False).level == "ok"
    assert build_tools.cuda_home_line(Tools(), NEEDS, None, gpus=True).level == "warning"
    assert build_tools.cuda_home_line(Tools(), offload, None, gpus=True).level == "failure"
    newer = Probe(cuda="12.8", nvcc="13.0", cuda_home="/usr/local/cuda")
    assert (
        build_tools.cuda_home_line(Tools(cuda_home="/usr/local/cuda"), offload, newer, gpus=True).level
        == "warning"
    )
    assert build_tools.async_io_line(Tools(), {}, NEEDS).level == "ok"
    assert build_tools.async_io_line(Tools(), {}, Needs("zero3_nvme", nvme=True)).level == "failure"


def test_the_rule_about_the_compiler_decides_how_bad_a_missing_one_is() -> None:
    finding = Finding("error", "zero.stage", "no compiler", "install one", rule="offload-needs-compiler")
    assert build_tools.compiler_line(Tools("/usr/bin/c++"), {}).level == "ok"
    assert build_tools.compiler_line(Tools(), {}).level == "warning"
    failed = build_tools.compiler_line(Tools(), {"offload-needs-compiler": finding})
    assert (failed.level, failed.fix) == ("failure", "install one")


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (build_tools.bitsandbytes_line(Part(error="OSError: no kernel"), NEEDS), "warning"),
        (
            build_tools.bitsandbytes_line(Part(error="OSError: no kernel"), Needs("qlora", quantizes=True)),
            "failure",
        ),
        (build_tools.bitsandbytes_line(Part("0.50.2"), NEEDS), "ok"),
        (build_tools.deepspeed_line(Part(error="ImportError: x"), {}, NEEDS), "warning"),
        (build_tools.deepspeed_line(Part(error="ImportError: x"), {}, Needs("stage3", zero=True)), "failure"),
        (build_tools.deepspeed_line(Part("0.18.4"), {"cpu_adam": "x"}, NEEDS), "warning"),
        (build_tools.deepspeed_line(Part("0.18.4"), {}, Needs("stage3", compiles=("its CPU Adam",))), "ok"),
        (
            build_tools.flash_attention_line(
                Part(error="ModuleNotFoundError: No module named 'flash_attn'"), NEEDS
            ),
            "ok",
        ),
        (build_tools.flash_attention_line(Part(error="ImportError: undefined symbol"), NEEDS), "warning"),
        (
            build_tools.flash_attention_line(
                Part(error="ImportError: undefined symbol"), Needs("lora", flash_attention=True)
            ),
            "failure",
        ),
    ],
)
def test_packages_that_do_not_work_fail_only_who_uses_them(line: Line, level: str) -> None:
    assert line.level == level


# Host


def test_control_groups_bound_memory(tmp_path: Path) -> None:
    second = write_tree(
        tmp_path / "v2",
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/memory.max": "2147483648\n",
            "sys/fs/cgroup/outer/memory.current": "1073741824\n",
            "sys/fs/cgroup/outer/memory.stat": "anon 5\ninactive_file 536870912\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        },
    )
    found = read_host(second)
    assert (found.limit, found.memory_total, found.memory_available) == (2 * GIB, 2 * GIB, GIB + GIB // 2)
    first = write_tree(
        tmp_path / "v1",
        {
            # the group's own path is the host's, and not there in a container
            "proc/self/cgroup": "5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "2147483648\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
        },
    )
    assert (read_host(first).limit, read_host(first).memory_available) == (GIB, 0)
    unbound = write_tree(
        tmp_path / "none",
        {
            "proc/self/cgroup": "4:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert read_host(unbound).limit is None
    assert read_host(tmp_path / "no such system").limit is None


def test_a_directory_that_is_not_there_yet_is_on_its_parents_volume(tmp_path: Path) -> None:
    found = read_volume(tmp_path / "runs" / "of" / "ours")
    assert found.path == tmp_path and found.free is not None and found.free > 0 and found.writable


def test_memory_disk_and_limits() -> None:
    roomy = Host(64 * GIB, 60 * GIB, None, 32 * GIB, (65536, 65536))
    tight = Host(64 * GIB, 6 * GIB, 8 * GIB, 64 << 20, (256, 65536))
    demand = Demand(host=10 * GIB, checkpoint=2 * GIB, disk=6 * GIB)
    workers = Needs("lora", workers=4)
    assert host.memory_line(roomy, demand).level == "ok"
    assert host.memory_line(tight, demand).level == "warning"
    assert host.memory_line(tight, Demand()).level == "ok"
    assert host.shared_memory_line(roomy, workers).level == "ok"
    assert host.shared_memory_line(tight, workers).level == "warning"
    assert host.shared_memory_line(tight, NEEDS).level == "ok"
    assert host.open_files_line(roomy).level == "ok"
    assert host.open_files_line(tight).fix == "raise it: ulimit -n 65536"
    assert host.disk_line(Volume(Path("/"), 20 * GIB), demand, "runs").level == "ok"
    small = host.disk_line(Volume(Path("/"), 5 * GIB), demand, "runs")
    assert small.level == "failure" and "its checkpoints take 6.4 GB" in small.says
    smaller = host.disk_line(Volume(Path("/"), GIB), demand, "runs")
    assert smaller.level == "failure" and "one checkpoint takes 2.1 GB" in smaller.says
    assert host.disk_line(Volume(Path("/"), GIB, writable=False), demand, "runs").level == "failure"
    assert host.disk_line(Volume(Path("/"), GIB), Demand(), "runs").level == "ok"


# Hub


def snapshot(cache: Path, model: str = "a/b", *, shards: int = 2, present: int = 2) -> None:
    """A model in Hugging Face's cache, of whose shards some are there."""
    directory = f"models--{model.replace('/', '--')}"
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    files: dict[str, Any] = {
        f"{directory}/refs/main": "c0ffee",
        f"{directory}/snapshots/c0ffee/config.json": {"model_type": "qwen2"},
        f"{directory}/snapshots/c0ffee/tokenizer.json": {},
        f"{directory}/snapshots/c0ffee/model.safetensors.index.json": index,
    }
    write_tree(cache, files)
    for name in names[:present]:
        (cache / directory / "snapshots" / "c0ffee" / name).touch()
    for name in names[present:]:  # a link to what was never finished
        (cache / directory / "snapshots" / "c0ffee" / name).symlink_to(f"../../blobs/{name}.incomplete")


def test_a_model_is_whole_only_with_every_shard(tmp_path: Path) -> None:
    there = Hub("huggingface", "https://huggingface.co", None, tmp_path)
    assert look_up(there, "a/b") == Cached()
    snapshot(tmp_path, present=1)
    partly = look_up(there, "a/b")
    assert (partly.missing, partly.whole) == (("model-00002-of-00002.safetensors",), False)
    snapshot(tmp_path, "a/whole")
    assert look_up(there, "a/whole").whole
    assert not look_up(there, "a/whole", "other-branch").whole
    assert look_up(there, "a/whole", "c0ffee").whole
    broken = write_tree(tmp_path, {"models--a--c/refs/main": "1", "models--a--c/snapshots/1/x": "y"})
    assert look_up(there, "a/c").missing == ("config.json", "its tokenizer", "its weights")
    (broken / "models--a--c/snapshots/1/model.safetensors.index.json").write_text("{")
    assert "model.safetensors.index.json (broken)" in look_up(there, "a/c").missing


@pytest.mark.parametrize(
    "directory",
    ["models/Qwen--Qwen2.5-0.5B/snapshots/master", "hub/models/Qwen/Qwen2___5-0___5B", "Qwen/Qwen2.5-0.5B"],
)
def test_modelscopes_caches_old_and_new_are_known(tmp_path: Path, directory: str) -> None:
    files = {"config.json": {}, "tokenizer.json": {}, "model.safetensors": ""}
    write_tree(tmp_path / directory, files)
    there = Hub("modelscope", "https://www.modelscope.cn", None, tmp_path)
    assert look_up(there, "Qwen/Qwen2.5-0.5B").whole
    assert not look_up(there, "Qwen/Qwen2.5-1.5B").whole


def test_the_environment_chooses_hub_mirror_and_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert read_hub() == Hub(
        "huggingface", "https://huggingface.co", None, tmp_path / "cache" / "huggingface" / "hub"
    )
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = read_hub()
    assert found.is_mirror and found.endpoint == "https://mirror.example"
    assert (found.offline, found.cache) == ("TRANSFORMERS_OFFLINE", tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which goes before the other
    assert read_hub(str(tmp_path / "own")).offline is None
    assert read_hub(str(tmp_path / "own")).cache == tmp_path / "own"
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    assert (read_hub().name, read_hub().cache) == ("modelscope", tmp_path / "ms")


@pytest.mark.parametrize(
    ("offline", "unreachable", "cached", "levels"),
    [
        (None, None, Cached(), ("ok", "ok")),
        (None, "no route", Cached(), ("failure", "ok")),
        (None, "no route", Cached(Path("x")), ("warning", "ok")),
        (None, "no route", None, ("ok", "ok")),
        ("HF_HUB_OFFLINE", None, Cached(), ("ok", "failure")),
        ("HF_HUB_OFFLINE", None, Cached(Path("x"), ("its weights",)), ("ok", "failure")),
        ("HF_HUB_OFFLINE", None, Cached(Path("x")), ("ok", "ok")),
    ],
)
def test_a_hub_matters_to_who_needs_it(
    offline: str | None, unreachable: str | None, cached: Cached | None, levels: tuple[str, str]
) -> None:
    there = Hub("huggingface", "https://huggingface.co", offline, Path("/cache"))
    needs = Needs("lora", model="a/b" if cached is not None else None)
    assert (
        model_access.hub_line(there, unreachable, needs, cached).level,
        model_access.model_line(there, needs, cached).level,
    ) == levels


def test_an_address_where_nobody_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "refused" in str(why_unreachable("http://127.0.0.1:1", 3.0))
    assert why_unreachable("no address", 3.0) is not None


# The child, and what a config asks for


def test_a_child_that_dies_or_hangs_names_the_part_that_it_was_at() -> None:
    told = {"python": {"version": "3.11.7"}, "begins": "torch"}
    died = probe.read(dict(told), Outcome(-11))
    assert died.python == "3.11.7"
    assert died.part("torch").error == "ends the Python process (SIGSEGV)"
    assert "was not asked" in str(died.part("torchvision").error)
    hung = probe.read(dict(told), Outcome(-15, reason="not done after 60 seconds"))
    assert hung.part("torch").error == "not done after 60 seconds"


def test_a_childs_answers_are_kept_when_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
import json, time
print(json.dumps({"part": {"begins": "python"}}))
print(json.dumps({"part": {"python": {"version": "3"}}}))
print('{"part": {"begins": "torch"}}\\n{"part": {"tor', end="", flush=True)
time.sleep(60)
"""
    monkeypatch.setattr(child, "_SCRIPTS", write_tree(tmp_path, {"probe.py": script}))
    found = probe.ask(Path(sys.executable), seconds=1.5)
    assert found.python == "3"
    assert found.part("torch").error == "not done after 1.5 seconds"


def config(**values: Any) -> Config:
    origin = Origin("test")
    paths = {tuple(key.split("__")): value for key, value in values.items()}
    return Config("test", {path: Value(value, origin) for path, value in paths.items()})


def test_needs_follow_from_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    gpu = parse_hardware("2x24GB")
    offload = config(
        zero__stage=3,
        zero__offload_optimizer__device="cpu",
        launch__nproc_per_node=2,
        train__optim="adamw_torch",
    )
    found = needs_of(offload, gpu, {}, tmp_path)
    assert (found.gpu, found.zero, found.cuda_home, found.processes) == (True, True, True, 2)
    assert not needs_of(offload, Hardware(), {}, tmp_path).cuda_home
    quantized = config(
        train__quantization_bit=4, train__model_name_or_path="a/b", train__dataloader_num_workers=4
    )
    found = needs_of(quantized, gpu, {}, tmp_path)
    assert (found.quantizes, found.model, found.workers, found.zero) == (True, "a/b", 4, False)
    assert needs_of(config(train__optim="paged_adamw_8bit"), gpu, {}, tmp_path).quantizes
    wrong = config(train__model_name_or_path=7, train__dataloader_num_workers="many", train__optim=None)
    assert needs_of(wrong, gpu, {}, tmp_path).model is None


def test_what_deepspeed_was_installed_with_needs_no_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = parse_hardware("1x24GB")
    offload = config(zero__stage=2, zero__offload_optimizer__device="cpu")
    write_tree(tmp_path, {"deepspeed/__init__.py": ""})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deepspeed", raising=False)
    assert needs_of(offload, gpu, {}, tmp_path).cuda_home
    write_tree(tmp_path, {"deepspeed/ops/adam/cpu_adam_op.cpython-311-x86_64-linux-gnu.so": ""})
    found = needs_of(offload, gpu, {}, tmp_path)
    assert (found.operations, found.cuda_home, found.compiles) == (False, False, ())


def test_errors_in_the_config_are_a_failure_that_says_where_to_look() -> None:
    shown = Finding("error", "zero.stage", "no compiler", "install", rule="offload-needs-compiler")
    other = Finding("error", "lora_rank", "is text", "write a number")
    assert config_line("lora", [shown], "qtune check lora").level == "ok"
    line = config_line("lora", [shown, other], "qtune check lora")
    assert (
        line.level == "failure" and "lora_rank: is text" in line.says and "qtune check lora" in str(line.fix)
    )


# The commands


ANSWER = Probe(
    "3.11.7",
    "/venv/bin/python",
    PACKAGES,
    {
        **trio("2.11.0+cu130", "0.26.0+cu130", "2.11.0+cu130"),
        "bitsandbytes": Part("0.50.2"),
        "deepspeed": Part("0.18.4"),
        "flash_attn": Part(error="ModuleNotFoundError: No module named 'flash_attn'"),
    },
    cuda="13.0",
)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Probe], None]:
    """Puts answers in the place of the child, on a machine that is offline."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def put(answers: Probe) -> None:
        monkeypatch.setattr(probe, "ask", lambda python: answers)

    return put


def test_doctor_numbers_its_lines_and_names_the_next_step(
    qtune: Callable[..., Result], project: Callable[..., Path], answered: Callable[[Probe], None]
) -> None:
    answered(ANSWER)
    result = qtune("doctor", "lora", directory=project())
    assert result.code == 0, result.out
    numbers = [int(line[:2]) for line in result.out.splitlines() if line[:2].strip().isdigit()]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 18
    assert "qtune train lora" in result.err and "\x1b" not in result.out + result.err


def test_doctor_ends_with_1_on_a_failure_and_prints_json(
    qtune: Callable[..., Result], project: Callable[..., Path], answered: Callable[[Probe], None]
) -> None:
    answered(Probe(**{**vars(ANSWER), "versions": {**PACKAGES, "trl": "0.25.0"}}))
    root = project()
    result = qtune("doctor", "lora", "--json", directory=root)
    assert result.code == 1
    told = json.loads(result.out)
    assert (told["preset"], told["ready"]) == ("lora", False)
    assert all(set(line) == {"number", "subject", "level", "says", "fix"} for line in told["lines"])
    [failure] = [line for line in told["lines"] if line["level"] == "failure"]
    assert failure["subject"] == "trl" and "pip install trl==0.24.0" in failure["fix"]
    plain = qtune("doctor", "lora", directory=root)
    assert plain.code == 1 and "1 failure ends a training by lora" in plain.err
    assert "fix: install the tested one" in plain.out


def test_doctor_says_what_check_would(
    qtune: Callable[..., Result], project: Callable[..., Path], answered: Callable[[Probe], None]
) -> None:
    answered(ANSWER)
    result = qtune("doctor", "lora", "-s", "lora_rank=eight", directory=project())
    assert result.code == 1 and "lora_rank" in result.out.splitlines()[-2]


def test_train_stops_on_what_is_certain_to_fail_before_it_writes_anything(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "require_launcher", lambda name: None)
    monkeypatch.setattr(
        readiness, "preflight", lambda prepared, held=0: [Line("disk", "failure", "is full", "make room")]
    )
    started: list[str] = []

    def claim(prepared: pipeline.Prepared, **options: Any) -> None:
        started.append(prepared.config.name)
        raise OSError("stand-in")

    monkeypatch.setattr(attempts, "claim", claim)
    root = project()
    result = qtune("train", "lora", directory=root)
    assert result.code == 2 and "failure  disk  is full" in result.err and "fix: make room" in result.err
    assert "--force" in result.err and not (root / "rendered").exists() and not started
    forced = qtune("train", "lora", "--force", directory=root)
    assert started == ["lora"] and "going on all the same" in forced.err


def test_force_goes_on_without_a_compiler_too(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "require_launcher", lambda name: None)
    monkeypatch.setattr(readiness, "preflight", lambda prepared, held=0: [])
    monkeypatch.setattr("qtune.machine.stack.compiler", lambda: None)
    monkeypatch.setattr("qtune.machine.stack._has_module", lambda name: True)
    started: list[str] = []

    def claim(prepared: pipeline.Prepared, **options: Any) -> None:
        started.append(prepared.config.name)
        raise OSError("stand-in")

    monkeypatch.setattr(attempts, "claim", claim)
    root = project()
    options = ("--hardware", "cpu")
    result = qtune("train", "stage3", *options, directory=root)
    assert result.code == 2 and "no C++ compiler" in result.err and not started
    forced = qtune("train", "stage3", *options, "--force", directory=root)
    assert started == ["stage3"] and "no C++ compiler" in forced.err


def test_another_machine_is_judged_as_far_as_it_can_be_told(
    qtune: Callable[..., Result], project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of this machine counts, and none of its libraries is imported."""
    monkeypatch.setattr(readiness.process, "likely_python", lambda: pytest.fail("asked this machine"))
    root = project({"qtune.yaml": "train: {model_name_or_path: Qwen/Qwen2.5-7B, dataset: rows}\n"})

    def lines(*arguments: str) -> dict[str, dict[str, Any]]:
        result = qtune("doctor", *arguments, "--json", directory=root)
        found = json.loads(result.out)
        assert result.code == (not found["ready"])
        return {line["subject"]: line for line in found["lines"]}

    large, small = lines("stage3", "--hardware", "2x80GB"), lines("full", "--hardware", "1x24GB")
    assert (large["GPU memory"]["level"], small["GPU memory"]["level"]) == ("ok", "warning")
    assert "qtune recommend --hardware 1x24GB" in small["GPU memory"]["fix"]
    assert "not known here" in large["host memory"]["says"] and "DeepSpeed" in large["packages"]["says"]
    assert "Qwen/Qwen2.5-7B" in large["model"]["says"]
    assert "GPU memory" not in lines("lora", "--hardware", "cpu")
    wrong = lines("dpo", "--hardware", "1x24GB")
    assert wrong["preset"]["level"] == "failure" and wrong["memory"]["level"] == "warning"
    shown = qtune("doctor", "full", "--hardware", "1x24GB", directory=root)
    assert "0 failures, 1 warning as far as can be told from here" in shown.err
