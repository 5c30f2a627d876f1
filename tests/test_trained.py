"""What a run's name means: which runs are refused and why, and the arguments that load the others."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import TINY_MODEL, Result

from qtune.config.project import Project, find_project
from qtune.errors import QtuneError
from qtune.schema import arguments
from qtune.use.infer import GROUPS, infer_config, infer_file, infer_yaml, loading
from qtune.use.models import find
from qtune.use.serving import is_local, reachable, require_free_port

Make = Callable[..., Path]
Command = Callable[..., Result]


class Runs:
    """A project whose runs have a real record, and files as small as their kinds allow."""

    def __init__(self, root: Path, qtune: Command) -> None:
        self.root = root
        self._qtune = qtune

    @property
    def project(self) -> Project:
        return find_project(self.root)

    def make(self, name: str, *settings: str, preset: str = "lora", **record: Any) -> Path:
        """A finished run; settings as --set has them; record: what its record says instead."""
        words = [word for setting in settings for word in ("-s", setting)]
        rendered = self._qtune("render", preset, *words, "--hardware", "cpu", directory=self.root)
        assert rendered.code == 0, rendered.err
        manifest = json.loads((self.root / "rendered" / preset / "qtune.json").read_text())
        directory = self.root / "runs" / name
        kind = next(
            item["value"] for item in manifest["config"] if item["key"] == ["train", "finetuning_type"]
        )
        self.fill(directory, kind)
        ended = {"status": "finished", "started": "2026-01-01T00:00:00", "ended": "2026-01-02T00:00:00"}
        plain = {**manifest, "name": name, **ended, "exit_code": 0, "reason": None, "pid": None, **record}
        (directory / "qtune.json").write_text(json.dumps(plain))
        return directory

    def fill(self, directory: Path, kind: str) -> None:
        directory.mkdir(parents=True)
        if kind in ("lora", "oft"):
            (directory / "adapter_config.json").write_text("{}")
            (directory / "adapter_model.safetensors").write_bytes(weights())
        else:
            for file in ("config.json", "tokenizer_config.json"):
                shutil.copy(TINY_MODEL / file, directory)
            (directory / "model.safetensors").write_bytes(weights())


def weights() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


@pytest.fixture
def runs(project: Make, qtune: Command) -> Runs:
    return Runs(project(), qtune)


def refusal(runs: Runs, name: str | None = None, **how: Any) -> str:
    with pytest.raises(QtuneError) as refused:
        find(runs.project, name, **how)
    assert refused.value.fix
    return str(refused.value)


def test_without_a_name_it_is_the_run_that_finished_last(runs: Runs) -> None:
    runs.make("a", ended="2026-03-03T00:00:00")
    runs.make("b", ended="2026-02-02T00:00:00")
    runs.make("c", status="failed", ended="2026-04-04T00:00:00")
    assert find(runs.project).name == "a"


def test_a_run_is_named_by_its_directory_too(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = runs.make("a")
    monkeypatch.chdir(runs.root / "runs")
    assert find(runs.project, "./a").weights == "runs/a"
    elsewhere = shutil.move(directory, tmp_path / "moved")
    assert find(runs.project, str(elsewhere)).weights == str(elsewhere)


def test_no_run_at_all_says_how_to_make_one(runs: Runs) -> None:
    assert "there is no run yet\n  fix: train one" in refusal(runs)


def test_no_finished_run_names_the_newest_other(runs: Runs) -> None:
    runs.make("old", status="failed")
    runs.make("new", status="stopped", started="2026-01-05T00:00:00")
    assert "no run has finished yet; `new` is stopped" in refusal(runs)


def test_an_unknown_name_suggests_the_nearest(runs: Runs) -> None:
    runs.make("my-lora")
    assert "did you mean `my-lora`?" in refusal(runs, "my-lira")
    assert "the runs here: my-lora" in refusal(runs, "qqq")


def test_a_directory_without_a_record_is_no_run(runs: Runs) -> None:
    (runs.root / "runs" / "lora-by-hand").mkdir(parents=True)
    assert "has no qtune.json" in refusal(runs, "lora-by-hand")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"status": "failed", "reason": "ValueError: no"}, "is failed: ValueError: no"),
        (
            {"status": "stopped", "reason": "stopped by SIGINT at step 3 of 9"},
            "is stopped: stopped by SIGINT",
        ),
        (
            {"status": "running", "pid": os.getpid(), "started": datetime.now(UTC).isoformat()},
            f"is still training (process {os.getpid()} on ",
        ),
        ({"status": "running", "pid": 2**22 + 1}, "its process 4194305 is gone: it was killed"),
        ({"status": "running", "pid": 1, "host": "another"}, "is still training (process 1 on another"),
        ({"schema_version": 99}, "was written by a newer qtune"),
    ],
    ids=["failed", "stopped", "running", "killed", "elsewhere", "of a newer qtune"],
)
def test_an_unfinished_run_is_refused_with_its_state(runs: Runs, record: dict[str, Any], says: str) -> None:
    runs.make("x", **{"host": platform.node(), **record})
    assert says in refusal(runs, "x")


def test_an_unfinished_run_offers_its_newest_whole_checkpoint(runs: Runs) -> None:
    directory = runs.make("x", status="failed")
    for step in (5, 10, 15):
        runs.fill(directory / f"checkpoint-{step}", "lora")
    (directory / "checkpoint-15" / "checkpoint-is-incomplete.txt").touch()
    assert "`--checkpoint 10` takes what it was at that step" in refusal(runs, "x")
    assert find(runs.project, "x", checkpoint=10).weights == "runs/x/checkpoint-10"
    assert "is half-written\n  fix: its checkpoints: 5, 10" in refusal(runs, "x", checkpoint=15)
    assert "has no checkpoint 7\n  fix: its checkpoints: 5, 10" in refusal(runs, "x", checkpoint=7)
    for step in range(100, 130):
        runs.fill(directory / f"checkpoint-{step}", "lora")
    told = refusal(runs, "x", checkpoint=99)
    assert "its checkpoints: 100, 101, 102" in told and "109 and 22 more" in told


@pytest.mark.parametrize("record", ["", "{", "[]", '{"schema_version": 1}'])
def test_an_unreadable_record_is_refused(runs: Runs, record: str) -> None:
    directory = runs.make("x")
    (directory / "qtune.json").write_text(record)
    assert "is not what qtune wrote" in refusal(runs, "x")
    assert "`x` has a record that cannot be read" in refusal(runs)


@pytest.mark.parametrize(
    ("preset", "missing"),
    [
        ("lora", "adapter_model.safetensors"),
        ("lora", "adapter_config.json"),
        ("full", "model.safetensors"),
        ("full", "config.json"),
        ("full", "tokenizer_config.json"),
    ],
)
def test_a_run_without_its_files_says_which_is_missing(runs: Runs, preset: str, missing: str) -> None:
    directory = runs.make("x", preset=preset)
    (directory / missing).unlink()
    assert f"{missing} is missing" in refusal(runs, "x")


@pytest.mark.parametrize(
    ("preset", "file"), [("lora", "adapter_model.safetensors"), ("full", "model.safetensors")]
)
@pytest.mark.parametrize("bytes_left", [0, 7, 30, len(weights()) - 1])
def test_cut_off_weights_are_refused(runs: Runs, preset: str, file: str, bytes_left: int) -> None:
    directory = runs.make("x", preset=preset)
    (directory / file).write_bytes(weights()[:bytes_left])
    says = refusal(runs, "x")
    assert file in says and "is broken: it is cut off" in says and "train it again" in says


def test_a_missing_shard_is_refused(runs: Runs) -> None:
    directory = runs.make("x", preset="full")
    (directory / "model.safetensors").rename(directory / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-2.safetensors is missing" in refusal(runs, "x")


def test_an_adapter_whose_local_base_model_is_gone_is_refused(runs: Runs) -> None:
    model = shutil.copytree(TINY_MODEL, runs.root / "models" / "tiny")
    runs.make("adapter", "model_name_or_path=models/tiny")
    runs.make("whole", "model_name_or_path=models/tiny", preset="full")
    shutil.rmtree(model)
    assert "its base model models/tiny is no longer there" in refusal(runs, "adapter")
    assert find(runs.project, "whole").weights == "runs/whole"
    assert "its base model models/tiny is no longer there" in refusal(runs, "whole", base=True)


def test_a_pissa_adapter_is_taken_where_it_was_converted(runs: Runs) -> None:
    """Loaded as it is it answered another text than it had learnt."""
    directory = runs.make("x")
    (directory / "adapter_config.json").write_text('{"init_lora_weights": "pissa_niter_16"}')
    assert "fix: train it with `-s pissa_convert=true`" in refusal(runs, "x")
    runs.fill(directory / "pissa_converted", "lora")
    assert find(runs.project, "x").weights == "runs/x/pissa_converted"


def test_an_adapter_on_random_weights_that_nobody_saved_is_refused(runs: Runs) -> None:
    runs.make("adapter", "train_from_scratch=true")
    runs.make("whole", "train_from_scratch=true", preset="full")
    assert "its base model was made at random, and never saved" in refusal(runs, "adapter")
    assert find(runs.project, "whole").weights == "runs/whole"


def test_the_untouched_model_needs_the_record_alone(runs: Runs) -> None:
    directory = runs.make("x", status="failed")
    (directory / "adapter_model.safetensors").unlink()
    found = find(runs.project, "x", base=True)
    assert (found.weights, found.base, found.is_adapter) == (None, str(TINY_MODEL), False)
    assert "does not go with --base" in refusal(runs, "x", base=True, checkpoint=1)


def plain(runs: Runs, name: str = "x", *assignments: str, **how: Any) -> dict[str, Any]:
    return infer_config(find(runs.project, name, **how), assignments).block("train")


def test_an_adapter_is_laid_over_the_model_as_it_was_trained_on(runs: Runs) -> None:
    runs.make(
        "x", "trust_remote_code=true", "default_system=Be brief.", "rope_scaling=linear", "temperature=0.5"
    )
    assert plain(runs) == {
        "model_name_or_path": str(TINY_MODEL),
        "adapter_name_or_path": "runs/x",
        "finetuning_type": "lora",
        "trust_remote_code": True,
        "template": "qwen",
        "default_system": "Be brief.",
        "rope_scaling": "linear",
        "temperature": 0.5,
    }


def test_a_whole_model_is_loaded_from_the_run_without_what_it_has_in_itself(runs: Runs) -> None:
    runs.make("x", "rope_scaling=linear", "model_revision=v1", "cache_dir=c", preset="full")
    assert plain(runs) == {"model_name_or_path": "runs/x", "finetuning_type": "full", "template": "qwen"}


def test_the_untouched_model_has_no_adapter_and_no_new_tokens(runs: Runs) -> None:
    runs.make("x", "add_tokens=<a>", "resize_vocab=true", "model_revision=v1")
    assert plain(runs)["add_tokens"] == "<a>"
    assert plain(runs, base=True) == {
        "model_name_or_path": str(TINY_MODEL),
        "finetuning_type": "lora",
        "model_revision": "v1",
        "template": "qwen",
    }


def test_a_quantised_base_stays_so_but_not_for_an_export(runs: Runs) -> None:
    runs.make("x", preset="qlora")
    assert plain(runs)["quantization_bit"] == 4
    assert "quantization_bit" not in plain(runs, "x", "quantization_bit=null")
    assert not [key for key in loading(find(runs.project, "x"), quantised=False) if "quantization" in key]


def test_an_adapter_on_an_adapter_loads_both_and_a_continued_one_alone(runs: Runs) -> None:
    runs.make("first")
    runs.make("both", "adapter_name_or_path=runs/first", "create_new_adapter=true")
    runs.make("on", "adapter_name_or_path=runs/first")
    assert plain(runs, "both")["adapter_name_or_path"] == "runs/first,runs/both"
    assert plain(runs, "on")["adapter_name_or_path"] == "runs/on"


def test_oft_is_loaded_as_lora_which_alone_may_have_an_adapter(runs: Runs) -> None:
    runs.make("x", "finetuning_type=oft", "lora_rank=null", "lora_target=null")
    assert plain(runs)["finetuning_type"] == "lora"


def test_the_table_of_arguments_names_those_of_the_library() -> None:
    for group, names in GROUPS.items():
        begins = group.endswith("_prefixes")
        for name in names:
            assert any(known.startswith(name) if begins else known == name for known in arguments()), name


def test_infer_yaml_gives_each_value_with_its_origin(runs: Runs) -> None:
    runs.make("x")
    config = infer_config(find(runs.project, "x"), ["temperature=0.2"])
    text = infer_yaml(config, runs.project, "x")
    assert yaml.safe_load(text) == config.block("train")
    for line, origin in (
        ("temperature: 0.2", "--set"),
        ("adapter_name_or_path: runs/x", "run x"),
        ("finetuning_type: lora", "lora ("),
        ("template: qwen", "auto from model"),
    ):
        assert any(found.startswith(line) and f"# {origin}" in found for found in text.splitlines()), text
    with infer_file(config, runs.project, "x") as path:
        assert path.read_text(encoding="utf-8") == text
    assert not path.exists()


def test_max_length_is_the_generations_here(runs: Runs) -> None:
    """To a training it is another name of cutoff_len."""
    runs.make("x")
    assert plain(runs, "x", "max_length=7", "system=Brief.")["max_length"] == 7
    assert plain(runs, "x", "system=Brief.")["default_system"] == "Brief."


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("temprature=1", "did you mean `temperature`"),
        ("learning_rate=1", "has no effect on what is trained already"),
        ("zero.stage=3", "zero.stage: has no effect"),
        ("do_sample=perhaps", "true or false is expected"),
        ("hf_hub_token=abc", "is a secret"),
        ("infer_backend=mlx", "infer_backend"),
        ("model_name_or_path=other", "has no effect"),
        ("temperature", "is not KEY=VALUE"),
    ],
)
@pytest.mark.parametrize("command", ["ask", "chat", "api"])
def test_a_setting_that_cannot_hold_is_refused_before_anything_loads(
    runs: Runs, qtune: Command, command: str, setting: str, says: str
) -> None:
    runs.make("x")
    words = ("x", "hello") if command == "ask" else ("x",)
    done = qtune(command, *words, "-s", setting, directory=runs.root)
    assert done.code == 2 and done.out == ""
    assert says in done.err and "fix: " in done.err


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_is_not_installed_is_refused_with_how_to(
    runs: Runs, qtune: Command, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    runs.make("x")
    monkeypatch.setattr("qtune.use.infer.version", lambda name: None)
    for words in (("--infer-backend", engine), ("-s", f"infer_backend={engine}")):
        done = qtune("chat", "x", *words, directory=runs.root)
        assert done.code == 2
        assert f"`{engine}` is not installed here\n  fix: pip install '{engine}" in done.err


def test_an_engine_that_is_installed_gets_what_it_can_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtune.use.infer.version", lambda name: "0.11.0")
    runs.make("x")  # rank 64, above vLLM's default bound
    assert plain(runs, "x", "infer_backend=vllm")["vllm_max_lora_rank"] == 64
    assert plain(runs, "x", "infer_backend=vllm", "vllm_max_lora_rank=128")["vllm_max_lora_rank"] == 128
    assert "vllm_max_lora_rank" not in plain(runs, "x", "infer_backend=sglang")
    runs.make("q", preset="qlora")
    with pytest.raises(QtuneError, match="quantization_bit"):
        plain(runs, "q", "infer_backend=vllm")
    assert "quantization_bit" not in plain(runs, "q", "infer_backend=vllm", "quantization_bit=null")


def test_a_reward_model_gives_no_answers(runs: Runs, qtune: Command) -> None:
    runs.make("judge")
    record = runs.root / "runs" / "judge" / "qtune.json"
    text = record.read_text().replace('"value": "sft"', '"value": "rm"')
    record.write_text(text)
    assert plain(runs, "judge")["stage"] == "rm"
    for words in (("ask", "judge", "hello"), ("chat", "judge")):
        done = qtune(*words, directory=runs.root)
        assert done.code == 2 and "is a reward model" in done.err and "`qtune api judge`" in done.err


@pytest.mark.parametrize("command", ["chat", "webchat"])
def test_beam_search_is_not_for_what_shows_words_as_they_come(
    runs: Runs, qtune: Command, command: str
) -> None:
    runs.make("x")
    done = qtune(command, "x", "-s", "num_beams=2", directory=runs.root)
    assert done.code == 2 and "--set num_beams: a beam search has no words" in done.err


@pytest.mark.parametrize("command", ["chat", "webchat", "api"])
def test_every_command_refuses_an_unfinished_run(runs: Runs, qtune: Command, command: str) -> None:
    runs.make("x", status="failed", reason="no space")
    done = qtune(command, "x", directory=runs.root)
    assert (done.code, done.out) == (2, "") and "is failed: no space" in done.err


def test_an_empty_question_is_refused(runs: Runs, qtune: Command) -> None:
    runs.make("x")
    assert "there is no question" in qtune("ask", "x", " ", directory=runs.root).err


def test_beyond_this_machine_a_key_is_required(
    runs: Runs, qtune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.make("x")
    monkeypatch.delenv("API_KEY", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "a-name"):
        done = qtune("api", "x", "--host", host, "--port", "1", directory=runs.root)
        assert done.code == 2 and "nothing would ask for a key" in done.err
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    assert "nothing would ask for a key" in qtune("api", "x", directory=runs.root).err


def test_a_key_that_no_header_could_hold_is_refused_and_not_repeated(
    runs: Runs, qtune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.make("x")
    monkeypatch.setenv("API_KEY", "geheim\n")
    done = qtune("api", "x", directory=runs.root)
    assert done.code == 2 and "is no key" in done.err and "geheim" not in done.err


@pytest.mark.parametrize(
    ("host", "local", "url"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("localhost", True, "localhost"),
        ("::1", True, "[::1]"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::", False, "[::1]"),
        ("192.0.2.1", False, "192.0.2.1"),
        ("example.org", False, "example.org"),
    ],
)
def test_which_hosts_stay_on_this_machine(host: str, local: bool, url: str) -> None:
    assert is_local(host) is local
    assert reachable(host) == url


def test_a_taken_port_is_refused_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(QtuneError, match=rf"is in use, by \S+ \(process {os.getpid()}\)"):
            require_free_port("127.0.0.1", port)
        with pytest.raises(QtuneError, match="is in use"):
            require_free_port("0.0.0.0", port)
    require_free_port("127.0.0.1", port)
