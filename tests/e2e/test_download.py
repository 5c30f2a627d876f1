"""`qtune download` from a hub on this machine: resumed, checked, used offline; errors say what to do."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CHECKOUT
from hub_server import Hub, serve
from scratch import QTUNE, Project, environment

pytestmark = pytest.mark.slow

TINY = CHECKOUT / "data" / "tiny-qwen2"
TOKEN = "hf_" + "abc123" * 5
LARGE = random.Random(0).randbytes(32 << 20)
SHORT = ("num_train_epochs=1", "eval_dataset=null", "val_size=null")
ROWS = [{"instruction": f"say {number}", "input": "", "output": str(number)} for number in range(30)]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        hub.add("org/tiny", TINY)
        yield hub


@pytest.fixture
def caches(tmp_path: Path) -> dict[str, str]:
    """Where nothing of the user's is read or written."""
    names = ("HF_HOME", "MODELSCOPE_CACHE", "XDG_CACHE_HOME", "MODELSCOPE_HOME")
    return {name: str(tmp_path / name.lower()) for name in names}


class Downloads:
    """The command, with a hub on this machine."""

    def __init__(self, project: Project, hub: Hub, caches: dict[str, str]) -> None:
        self.project, self.hub, self.caches = project, hub, caches

    def __call__(self, *arguments: str, exit_code: int = 0, **more: str) -> tuple[str, str]:
        given = {"HF_HUB_OFFLINE": "0", **self.caches, **more}
        command = ("download", *arguments, "--mirror", self.hub.address)
        done = self.project.command(str(QTUNE), *command, exit_code=exit_code, **given)
        return done.stdout.strip(), done.stderr


@pytest.fixture
def download(project: Project, hub: Hub, caches: dict[str, str]) -> Downloads:
    return Downloads(project, hub, caches)


def test_a_training_uses_it_without_any_hub(
    download: Downloads, project: Project, caches: dict[str, str]
) -> None:
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    download.hub.repositories["org/data"] = {"train.jsonl": rows.encode()}
    (project.root / "data" / "datasets.yaml").write_text("mine: {hf_hub_url: org/data}\n")
    directory, said = download("org/tiny")
    assert "checksums right" in said
    assert {path.name for path in Path(directory).iterdir()} == {path.name for path in TINY.iterdir()}
    _, said = download("--dataset", "mine")
    assert "next: `qtune train -d mine`" in said

    # nothing answers at this address
    offline = {**caches, "HF_ENDPOINT": "http://127.0.0.1:9"}
    settings = [f"-s{value}" for value in ("template=qwen", *SHORT)]
    train = (str(QTUNE), "train", "lora", "-m", "org/tiny", "-d", "mine", *settings, "-n", "first")
    project.command(*train, **offline)  # environment() sets HF_HUB_OFFLINE=1
    assert project.run("first").record["status"] == "finished"


def test_what_was_interrupted_goes_on_with_the_files_that_are_missing(
    download: Downloads, project: Project, hub: Hub, caches: dict[str, str]
) -> None:
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    hub.repositories["org/large"] = {"config.json": b"{}", first: LARGE[::-1], second: LARGE}
    hub.stall = (second, 21 << 20)
    arguments = ("download", "org/large", "--mirror", hub.address)
    with project.output.open("wb") as output:
        started = subprocess.Popen(
            [str(QTUNE), *arguments],
            cwd=project.root,
            env=environment(HF_HUB_OFFLINE="0", **caches),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    assert hub.stalled.wait(60)
    repository = Path(caches["HF_HOME"]) / "hub" / "models--org--large"
    deadline = time.monotonic() + 30
    while not list(repository.glob(f"snapshots/*/{first}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    assert started.wait(30) == 130
    said = project.output.read_text()
    assert "interrupted (SIGINT)" in said and "the same command goes on from there" in said
    # the library begins a file anew in another process, so that what is half there would only take room
    assert not list(repository.glob("blobs/*.incomplete"))
    hub.stall = None
    hub.go.set()
    hub.sent.clear()

    directory, said = download("org/large")
    assert "of it here already" in said
    assert hub.sent == {second: len(LARGE)}
    assert (Path(directory) / second).read_bytes() == LARGE
    assert (Path(directory) / first).read_bytes() == LARGE[::-1]


def test_a_connection_that_breaks_goes_on_where_it_stopped(download: Downloads, hub: Hub) -> None:
    hub.repositories["org/large"] = {"config.json": b"{}", "model.safetensors": LARGE}
    hub.stall = ("model.safetensors", 21 << 20)
    hub.go.set()  # it breaks off there
    directory, said = download("org/large")
    assert "60 % of 34 MB" in said and "100 % of 34 MB" in said
    [(name, asked)] = hub.ranges
    kept = int(asked.removeprefix("bytes=").removesuffix("-"))
    assert name == "model.safetensors" and 0 < kept <= 21 << 20
    assert (Path(directory) / "model.safetensors").read_bytes() == LARGE


def test_a_file_with_a_wrong_checksum_is_removed(
    download: Downloads, hub: Hub, caches: dict[str, str]
) -> None:
    hub.damaged = {"model.safetensors"}
    _, said = download("org/tiny", exit_code=1)
    assert "model.safetensors is not what the hub says it is (wrong checksum), and was removed" in said
    repository = Path(caches["HF_HOME"]) / "hub" / "models--org--tiny"
    sizes = {path.stat().st_size for path in (repository / "blobs").iterdir()}
    assert (TINY / "model.safetensors").stat().st_size not in sizes
    assert not list(repository.glob("snapshots/*/model.safetensors"))

    hub.damaged = set()
    download("org/tiny")
    hub.requests.clear()
    download("org/tiny")  # remembered: nothing is fetched again
    assert not [line for line in hub.requests if "/resolve/" in line]


def test_a_file_that_was_damaged_on_the_disk_is_found(
    download: Downloads, hub: Hub, caches: dict[str, str]
) -> None:
    directory, _ = download("org/tiny")
    weights = (Path(directory) / "model.safetensors").resolve()
    weights.write_bytes(bytes(weights.stat().st_size))
    _, said = download("org/tiny", exit_code=1)
    assert "wrong checksum" in said
    download("org/tiny")
    assert (Path(directory) / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()


def test_what_the_hub_refuses_has_a_line_and_a_fix(download: Downloads, hub: Hub) -> None:
    hub.gated.add("org/gated")
    cases = {
        ("org/none",): ("has no such model", "correct the id"),
        ("org/gated",): ("gives it only to those who asked", f"ask at {hub.address}/org/gated"),
        ("org/tiny", "--revision", "v9"): ("has no revision `v9`", "--revision"),
        ("--dataset", "org/none"): ("has no such data set", "correct the id"),
        ("no spaces allowed",): ("is no id of a hub", "Qwen/"),
    }
    for arguments, (says, fix) in cases.items():
        _, said = download(*arguments, exit_code=2)
        assert says in said, said
        assert fix in said.partition("fix: ")[2], said
        assert "Traceback" not in said
    hub.repositories["org/gguf"] = {"model-q4.gguf": bytes(2 << 20)}
    _, said = download("org/gguf", exit_code=2)
    assert "holds only .gguf, which no training loads" in said


def test_a_hub_that_does_not_answer_is_said_so(project: Project, caches: dict[str, str]) -> None:
    command = (str(QTUNE), "download", "org/tiny", "--mirror")
    given = {"HF_HUB_OFFLINE": "0", **caches}
    said = project.command(*command, "http://127.0.0.1:9", exit_code=1, **given).stderr
    assert "http://127.0.0.1:9 cannot be reached" in said
    said = project.command(*command, "http://nowhere.invalid", exit_code=1, **given).stderr
    assert "http://nowhere.invalid cannot be reached" in said
    said = project.command(*command, "http://127.0.0.1:9", exit_code=2, **caches).stderr
    assert "HF_HUB_OFFLINE forbids to ask the hub" in said


def test_a_private_model_takes_the_hubs_own_token_and_shows_it_nowhere(
    download: Downloads, project: Project, hub: Hub, caches: dict[str, str]
) -> None:
    hub.add("org/private", TINY)
    hub.private["org/private"] = TOKEN
    download("org/private", exit_code=2)
    store = Path(caches["HF_HOME"]) / "token"  # what `hf auth login` writes
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(TOKEN)
    _, said = download("org/private")
    assert TOKEN not in said
    written = [path for path in project.root.parent.rglob("*") if path.is_file() and path != store]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_modelscope_by_its_own_library(download: Downloads, hub: Hub, caches: dict[str, str]) -> None:
    directory, said = download("org/tiny", "--hub", "modelscope")
    assert Path(directory).is_relative_to(caches["MODELSCOPE_CACHE"])
    assert (Path(directory) / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert f"-m {directory}" in said
    _, said = download("org/none", "--hub", "modelscope", exit_code=2)
    assert "has no such model" in said


def test_both_hubs_variables_reach_a_real_training(
    project: Project, hub: Hub, caches: dict[str, str]
) -> None:
    """By `hub:` alone: a training that finds its model only at the mirror which that names."""
    text = (project.root / "qtune.yaml").read_text()
    settings = [f"-s{value}" for value in ("template=qwen", "max_samples=8", *SHORT)]
    for name in ("huggingface", "modelscope"):
        block = f"hub: {{name: {name}, mirror: '{hub.address}'}}\n"
        (project.root / "qtune.yaml").write_text(text + block)
        hub.requests.clear()
        train = (str(QTUNE), "train", "lora", "-m", "org/tiny", *settings, "-n", name)
        project.command(*train, HF_HUB_OFFLINE="0", **caches)
        assert project.run(name).record["status"] == "finished"
        asked = "/org/tiny/resolve/" if name == "huggingface" else "/api/v1/models/org/tiny/"
        assert [line for line in hub.requests if asked in line]
