"""`qtune download`: which files, whether they fit, and what is refused before any hub is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trees import TINY_MODEL, Result, write_tree

from qtune.config.project import find_project
from qtune.download.choose import File, for_training, has_weights
from qtune.download.fetch import DownloadPlan, _look_at_disk
from qtune.download.request import Request
from qtune.download.subject import request_for
from qtune.errors import QtuneError
from qtune.machine.hub import Name

ALWAYS = ("config.json", "generation_config.json", "tokenizer.json", "modeling_own.py", "README.md")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing answers there, and nothing of the user's is read."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "USE_MODELSCOPE_HUB", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def kept(*names: str) -> set[str]:
    """Which of these stay, beside what always does."""
    files = [File(name, 1) for name in (*ALWAYS, *names)]
    chosen = {file.name for file in for_training(files)}
    assert chosen >= {*ALWAYS}
    return chosen - {*ALWAYS}


@pytest.mark.parametrize(
    ("there", "stay"),
    [
        (
            ("model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"),
            {"model.safetensors"},
        ),
        (
            (
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "pytorch_model-00001-of-00001.bin",
                "pytorch_model.bin.index.json",
                "original/consolidated.00.pth",
                "original/params.json",
            ),
            {
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            },
        ),
        (("pytorch_model.bin", "training_args.bin", "optimizer.pt"), {"pytorch_model.bin"}),
        (
            ("model.safetensors", "consolidated.safetensors", "model.fp16.safetensors", "tokenizer.model.v3"),
            {"model.safetensors", "tokenizer.model.v3"},
        ),
        (("consolidated.safetensors", "params.json"), {"consolidated.safetensors", "params.json"}),
        (("model.safetensors", "onnx/model.onnx", "model-q4.gguf"), {"model.safetensors"}),
        (
            ("model.safetensors", "spk_dict.pt", "vocab.json"),
            {"model.safetensors", "spk_dict.pt", "vocab.json"},
        ),
        (("adapter_model.safetensors", "adapter_model.bin"), {"adapter_model.safetensors"}),
        (("model.safetensors", "checkpoint-500/model.safetensors", "runs/a/events"), {"model.safetensors"}),
    ],
)
def test_only_what_a_training_loads_is_chosen(there: tuple[str, ...], stay: set[str]) -> None:
    assert kept(*there) == stay


def test_a_repository_of_gguf_has_no_weights_for_a_training() -> None:
    assert not has_weights(for_training([File("config.json", 1), File("model-q4.gguf", 1 << 30)]))


def request(tmp_path: Path) -> Request:
    return Request("org/model", "model", "huggingface", "https://huggingface.co", tmp_path / "not" / "yet")


def test_what_does_not_fit_on_the_disk_is_refused(tmp_path: Path) -> None:
    files = [File("model.safetensors", 1 << 60, here=1 << 20)]
    with pytest.raises(QtuneError, match=r"needs 115292150\d\.\d GB more, and the disk of .* has"):
        _look_at_disk(DownloadPlan(request(tmp_path), "main", files, []))


def test_what_is_here_already_needs_no_room(tmp_path: Path) -> None:
    _look_at_disk(
        DownloadPlan(request(tmp_path), "main", [File("model.safetensors", 1 << 60, here=1 << 60)], [])
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a/b", "--dataset", "rows"), "a model or a data set"),
        ((), "is a directory of this machine already"),  # the project's own model
        (("a/b", "--mirror", "https://me:hf_abcdef@x.example"), "holds a password or a token"),
        (("a/b", "--mirror", "x.example"), "is no URL of a hub"),
    ],
)
def test_a_wrong_request_starts_nothing(
    project: Callable[..., Path], qtune: Callable[..., Result], arguments: tuple[str, ...], says: str
) -> None:
    printed = qtune("download", *arguments, directory=project())
    assert printed.code == 2
    assert says in printed.err
    assert "hf_abcdef" not in printed.err


@pytest.mark.parametrize(
    ("model", "dataset", "hub", "says"),
    [
        (str(TINY_MODEL), None, None, "is a directory of this machine already"),
        (None, "rows", None, "is a file of this machine"),
        (None, "nothing", None, "is neither registered nor the id of a data set"),
        (None, "a/b", "modelscope", "data sets of ModelScope cannot be fetched ahead"),
    ],
)
def test_what_no_hub_gives_is_refused(
    project: Callable[..., Path], model: str | None, dataset: str | None, hub: Name | None, says: str
) -> None:
    with pytest.raises(QtuneError, match=says):
        request_for(find_project(project()), model, dataset, hub, None, None)


def test_a_project_that_is_offline_downloads_nothing(
    project: Callable[..., Path], qtune: Callable[..., Result]
) -> None:
    printed = qtune("download", "a/b", directory=project({"qtune.yaml": "hub: {offline: true}\n"}))
    assert printed.code == 2
    assert "HF_HUB_OFFLINE forbids to ask the hub" in printed.err
    assert "take `offline` out of `hub:` in qtune.yaml" in printed.err


@pytest.mark.parametrize(
    ("hub", "package"), [("huggingface", "huggingface_hub"), ("modelscope", "modelscope")]
)
def test_a_hubs_library_that_is_not_installed_is_named(
    project: Callable[..., Path],
    qtune: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hub: str,
    package: str,
) -> None:
    missing = tmp_path / "path" / f"{package}.py"
    missing.parent.mkdir()
    missing.write_text(f"raise ImportError(name={package!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(missing.parent))
    printed = qtune("download", "a/b", "--hub", hub, directory=project())
    assert printed.code == 2
    assert f"the hub's library, `{package}`, is not installed here" in printed.err
    assert f"pip install {package}" in printed.err


OLD_LIBRARY = """
from pathlib import Path
from types import SimpleNamespace

class HfApi:
    def repo_info(self, *given, **how):
        file = SimpleNamespace(rfilename="model.safetensors", size=4)
        return SimpleNamespace(sha="1" * 40, siblings=[file])

def try_to_load_from_cache(*given, **how):
    return None

def snapshot_download(id, *, cache_dir, tqdm_class, **how):
    path = Path(cache_dir, "1" * 40)
    path.mkdir(parents=True)
    with tqdm_class(total=4, unit="B") as bar:
        bar.update(2)
    return str(path)
"""


def test_a_library_that_knows_no_checksums_is_not_said_to_have_compared_them(
    project: Callable[..., Path],
    qtune: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(write_tree(tmp_path / "path", {"huggingface_hub.py": OLD_LIBRARY})))
    printed = qtune("download", "a/b", directory=project())
    assert printed.code == 0, printed.err
    assert "50 % of 4 bytes" in printed.err and "100 % of 4 bytes" in printed.err
    assert "a/b: 1 file, 4 bytes\n" in printed.err
