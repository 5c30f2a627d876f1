"""The wheel alone, with nothing but what it declares, renders and checks; training says what it lacks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from qtune import __version__

CHECKOUT = Path(__file__).resolve().parents[2]
PRESETS = ("deepspeed", "full", "lora", "minimal", "qlora", "stage2_offload", "stage3")


class Installed:
    """An environment of its own, in which `qtune` is a wheel and torch is not."""

    def __init__(self, directory: Path) -> None:
        self.python = directory / "bin" / "python"
        venv.create(directory, with_pip=False)
        [self.packages] = directory.glob("lib/python*/site-packages")

    def run(self, *argv: str, directory: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [str(self.python), *argv],
            cwd=directory,
            env={"PATH": str(self.python.parent), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert result.returncode == exit_code, f"{argv}\n{result.stdout}\n{result.stderr}"
        return result

    def qtune(self, *arguments: str, directory: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "qtune", *arguments, directory=directory, exit_code=exit_code)


@pytest.fixture(scope="module")
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of `--wheel`, else one built of the source distribution, as `make release` does."""
    given: Path | None = request.config.getoption("--wheel")
    if given is not None:
        return given
    directory = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", directory],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    [built] = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = Installed(tmp_path_factory.mktemp("installed"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.packages)
    for distribution in closure(metadata_of(wheel).requires_dist or []):
        for file in distribution.files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue  # scripts and the like
            target = environment.packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(distribution.locate_file(file), target)
    return environment


def metadata_of(wheel: Path) -> Metadata:
    """Raises ExceptionGroup where an index would refuse it."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name))


def closure(requirements: list[Requirement]) -> Iterator[metadata.Distribution]:
    """The distributions, as they are here, that an installer would take for `requirements` without extras."""
    seen: set[str] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        distribution = metadata.distribution(requirement.name)
        for extra in ("", *requirement.extras):
            key = f"{requirement.name.lower()}[{extra}]"
            if key not in seen:
                seen.add(key)
                waiting += [(Requirement(text), extra) for text in distribution.requires or ()]
                yield distribution


def test_wheel_carries_what_it_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    carried = {"presets/base.yaml", "templates/train.yaml.j2", "templates/zero.json.j2", "data/datasets.yaml"}
    carried |= {f"presets/{preset}.yaml" for preset in PRESETS} | {"data/demo.jsonl", "data/demo_eval.jsonl"}
    shipped = [*(CHECKOUT / "presets").rglob("*.yaml"), *(CHECKOUT / "templates").rglob("*.j2")]
    carried |= {path.relative_to(CHECKOUT).as_posix() for path in shipped}
    assert {f"qtune/share/{name}" for name in carried} <= names
    package = CHECKOUT / "adapter"
    sources = (path for path in (package / "qtune").rglob("*") if path.suffix in {".py", ".json", ".yaml"})
    assert {path.relative_to(package).as_posix() for path in sources} | {"qtune/py.typed"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".safetensors")) or "tests/" in name]
    assert {name.split("/")[0].rpartition(".")[2] for name in names} <= {"qtune", "dist-info"}
    assert wheel.stat().st_size < 1_200_000


def test_its_metadata_is_what_an_index_takes(wheel: Path) -> None:
    said = metadata_of(wheel)
    assert (said.name, str(said.version)) == ("qtune", __version__) and wheel.name.startswith(
        f"qtune-{__version__}-"
    )
    assert said.description == (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert (said.description_content_type, said.license_expression) == ("text/markdown", "MIT")
    assert said.license_files == ["LICENSE"] and said.summary and str(said.requires_python) == ">=3.11"


def test_a_project_from_nothing_renders_without_torch(installed: Installed, tmp_path: Path) -> None:
    installed.run("-c", "import torch", directory=tmp_path, exit_code=1)
    installed.qtune("init", "x", directory=tmp_path)
    project = tmp_path / "x"

    listed = installed.qtune("presets", "--markdown", directory=project).stdout
    assert all(f"| `{preset}` |" in listed for preset in PRESETS)
    assert "demo" in installed.qtune("data", "list", directory=project).stdout
    checked = installed.qtune("check", directory=project)
    assert checked.stdout.startswith("ok: ")
    assert all(preset in checked.stdout for preset in PRESETS)

    installed.qtune("render", "lora", "--hardware", "1x24GB", directory=project)
    assert {path.name for path in (project / "rendered" / "lora").iterdir()} >= {
        "train.yaml",
        "dataset_info.json",
        "launch.sh",
    }
    assert "\nbf16: true" in (project / "rendered" / "lora" / "train.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [(), ("lora",)])
def test_train_says_how_to_install_the_stack(
    installed: Installed, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    installed.qtune("init", directory=tmp_path)
    refused = installed.qtune("train", *arguments, directory=tmp_path, exit_code=2)
    assert "`llamafactory-cli` is not installed here" in refused.stderr
    assert "pip install 'qtune[train]'" in refused.stderr
    assert refused.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_doctor_says_what_is_missing_where_there_is_no_torch(installed: Installed, tmp_path: Path) -> None:
    installed.qtune("init", directory=tmp_path)
    told = installed.qtune("doctor", "lora", "--json", directory=tmp_path, exit_code=1).stdout
    lines = {line["subject"]: line for line in json.loads(told)["lines"]}
    assert lines["Python"]["level"] == "ok"
    for subject in ("llamafactory", "torch", "torch's builds"):
        assert lines[subject]["level"] == "failure" and "pip install 'qtune[train]'" in lines[subject]["fix"]
