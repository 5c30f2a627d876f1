"""`qtune import`: whatever a config names by a path is found from where it ran, or said to be missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, files_below, write_tree

from qtune.config.project import find_project
from qtune.data.registrations import read_registrations
from qtune.importing.read import Imported, read_import
from qtune.importing.stock import stock_file

Qtune = Callable[..., Result]

TRAIN = """\
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
stage: sft
do_train: true
finetuning_type: lora
dataset: notes
template: qwen
output_dir: saves/notes
"""
REGISTRY = {"notes": {"file_name": "notes.jsonl"}}
NOTES = [{"instruction": "q", "input": "", "output": "a"}]
LYING = {"data/dataset_info.json": REGISTRY, "data/notes.jsonl": NOTES}
ADAPTER = {"adapter_config.json": {}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {"qtune.yaml": "runs: runs\n", "data/.keep": ""})


def below(folder: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{folder}/{name}": content for name, content in tree.items()}


def imported(root: Path, path: str, tree: Mapping[str, Any]) -> Imported:
    """The file at `path` of the tree, both from the project's directory, imported into the project."""
    write_tree(root, tree)
    return read_import(root / path, root, find_project(root))


def train(found: Imported) -> dict[str, Any]:
    assert found.errors == (), [str(error) for error in found.errors]
    block: dict[str, Any] = yaml.safe_load(found.text)["train"]
    return block


def said(found: Imported, key: str) -> list[str]:
    """What notes and findings say of a key."""
    return [item.message for item in (*found.notes, *found.findings) if item.key == key]


# ── where a config ran ─────────────────────────────────────────────────────────────────────────────────


def test_a_config_elsewhere_ran_where_it_lies_though_the_project_has_such_a_path_too(root: Path) -> None:
    tree = {**LYING, **below("saves/a", ADAPTER), "pics/1.png": ""}
    text = f"{TRAIN}adapter_name_or_path: saves/a\nmedia_dir: data\ntokenized_path: tokens\n"
    write_tree(root, {"saves/a/adapter_config.json": {}, "tokens/state.json": {}})
    there = root.parent / "theirs"
    found = imported(root, "../theirs/exp/a.yaml", {**below("../theirs", tree), "../theirs/exp/a.yaml": text})
    block = train(found)
    assert (block["adapter_name_or_path"], block["media_dir"]) == (f"{there}/saves/a", f"{there}/data")
    assert block["tokenized_path"] == "tokens"
    assert found.datasets == {"notes": {"file_name": f"{there}/data/notes.jsonl"}}
    assert found.findings == ()


def test_where_the_registry_lies_is_where_a_config_ran(root: Path) -> None:
    tree = {
        **below("old", LYING),
        "old/pics/1.png": "",
        "pics/2.png": "",
        "data/dataset_info.json": {"x": {}},
    }
    tree |= {"saves/a/adapter_config.json": {}, "old/saves/a/adapter_config.json": {}}
    text = f"{TRAIN}adapter_name_or_path: saves/a\nmedia_dir: pics\n"
    found = imported(root, "old/configs/a.yaml", {**tree, "old/configs/a.yaml": text})
    assert train(found)["adapter_name_or_path"] == "old/saves/a"
    assert train(found)["media_dir"] == "old/pics"
    assert said(found, "dataset") == ["registers `notes`, from old/data/dataset_info.json"]


def test_a_script_says_its_directory(root: Path) -> None:
    script = "cd tuning\nllamafactory-cli train conf/a.yaml --adapter_name_or_path saves/a --media_dir pics\n"
    tree = {**LYING, **below("saves/a", ADAPTER), "conf/a.yaml": TRAIN, "pics/1.png": ""}
    found = imported(root, "run.sh", {"run.sh": script, **below("tuning", tree), "pics/2.png": ""})
    block = train(found)
    assert (block["adapter_name_or_path"], block["media_dir"]) == ("tuning/saves/a", "tuning/pics")
    assert found.datasets == {"notes": {"file_name": "../tuning/data/notes.jsonl"}}


def test_each_path_that_was_found_is_said_once(root: Path) -> None:
    tree = {**below("saves/a", ADAPTER), **below("old/saves/b", ADAPTER), "old/cache/x": "", "rl/x": ""}
    text = (
        f"{TRAIN}adapter_name_or_path: saves/a\nref_model_adapters: saves/b\ncache_dir: cache\n"
        "resume_from_checkpoint: ./rl\ntokenized_path: tokens\n"
    )
    found = imported(root, "old/a.yaml", {**LYING, **tree, "old/a.yaml": text})
    assert said(found, "adapter_name_or_path") == ["saves/a is there"]
    assert said(found, "ref_model_adapters") == ["saves/b is old/saves/b from the project's directory"]
    assert said(found, "cache_dir") == ["cache is old/cache from the project's directory"]
    assert said(found, "resume_from_checkpoint") == ["./rl is there"]
    assert said(found, "tokenized_path") == [
        "there is no tokens yet: the training makes it in the project's directory"
    ]
    assert found.findings == ()


def test_a_path_with_backslashes_is_the_one_that_is_here(root: Path) -> None:
    text = f"{TRAIN}adapter_name_or_path: saves\\a\nmedia_dir: D:\\pics\n"
    found = imported(root, "a.yaml", {**LYING, **below("saves/a", ADAPTER), "a.yaml": text})
    assert train(found)["adapter_name_or_path"] == "saves/a"
    assert [finding.key for finding in found.findings] == ["media_dir"]


# ── what is nowhere ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "path", "beside"),
    [
        ("adapter_name_or_path", "saves/a", {}),  # as the original writes
        ("adapter_name_or_path", "outputs/a", {}),
        ("adapter_name_or_path", "checkpoint-200/adapter", {}),
        ("adapter_name_or_path", "my_adapter", {}),
        ("adapter_name_or_path", "house/a", {"house/b/x": ""}),
        ("ref_model_adapters", "runs/a", {}),
        ("model_name_or_path", "models/Qwen3-4B", {}),
        ("ref_model", "house/merged", {"house/b/x": ""}),
        ("reward_model", "saves/reward", {}),
    ],
)
def test_what_reads_like_a_directory_is_no_id_in_silence(
    root: Path, key: str, path: str, beside: dict[str, Any]
) -> None:
    others = [line for line in TRAIN.splitlines() if not line.startswith(key)]
    text = "\n".join([*others, f"{key}: {path}\n"])
    found = imported(root, "old/a.yaml", {**LYING, **below("old", beside), "old/a.yaml": text})
    [finding] = found.findings
    assert (finding.key, finding.severity) == (key, "warning")
    assert f"there is no {path} from here" in finding.message and "on a hub" in finding.message
    assert "leave it, if it is a hub's id" in finding.fix
    assert train(found)[key] == path


@pytest.mark.parametrize(
    ("key", "value", "notes"),
    [
        (
            "adapter_name_or_path",
            "us/adapter",
            ["us/adapter is not here, so that it is taken for a hub's id"],
        ),
        ("ref_model", "us/model", []),
        ("ref_model", "gpt2", []),
        ("reward_model", "http://localhost:8000/v1/score", []),
    ],
)
def test_what_is_no_path_is_no_warning(root: Path, key: str, value: str, notes: list[str]) -> None:
    found = imported(root, "a.yaml", {**LYING, "a.yaml": f"{TRAIN}{key}: {value}\n"})
    assert (said(found, key), found.findings) == (notes, ())


@pytest.mark.parametrize("path", ["weights/a", "weights/a/checkpoint-10", "/mnt/old/a"])
@pytest.mark.parametrize("writer", ["sft.yaml", "sft.json", "sft.sh"])
def test_a_path_that_another_config_writes_is_named_with_it(root: Path, path: str, writer: str) -> None:
    output = "/mnt/old/a" if path.startswith("/") else "weights/a"
    first = {
        "sft.yaml": f"{TRAIN.replace('saves/notes', output)}",
        "sft.json": json.dumps({"stage": "sft", "output_dir": output}),
        "sft.sh": f"llamafactory-cli train --stage sft --output_dir {output}\n",
    }[writer]
    tree = {**LYING, writer: first, "dpo.yaml": f"{TRAIN}adapter_name_or_path: {path}\n"}
    [finding] = imported(root, "dpo.yaml", tree).findings
    assert f"there is no {path}" in finding.message
    assert f"{writer}, beside the original, writes it" in finding.message
    assert finding.fix.startswith(
        f"run {writer} first, or import and train it, and set {finding.key}: runs/NAME"
    )
    assert ("on a hub" in finding.message) == (path == "weights/a")


@pytest.mark.parametrize("key", ["media_dir", "resume_from_checkpoint", "new_special_tokens_config"])
def test_what_no_hub_has_is_a_missing_path(root: Path, key: str) -> None:
    [finding] = imported(root, "a.yaml", {**LYING, "a.yaml": f"{TRAIN}{key}: us/gone\n"}).findings
    assert finding.key == key and "hub" not in str(finding)


# ── the registry that a config means ───────────────────────────────────────────────────────────────────

SHOTS = {
    "file_name": "shots.json",
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}
ROW = {
    "messages": [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "a cup"}],
    "images": ["pics/cup.png"],
}


def test_pictures_start_from_a_registry_beside_the_config(qtune: Qtune, root: Path) -> None:
    text = (
        TRAIN.replace("notes", "shots").replace("Qwen2.5-0.5B", "Qwen2.5-VL-7B") + "image_max_pixels: 9999\n"
    )
    tree = {"dataset_info.json": {"shots": SHOTS}, "shots.json": json.dumps([ROW]), "a.yaml": text}
    write_tree(root, below("theirs", tree))
    result = qtune("import", "theirs/a.yaml", "-n", "look", directory=root)
    assert result.code == 0 and "warning" not in result.err
    assert "registers `shots`, from theirs/dataset_info.json" in result.err
    assert "theirs/a.yaml media_dir: theirs, where theirs/dataset_info.json lies" in result.err
    assert yaml.safe_load((root / "presets/look.yaml").read_text())["train"]["media_dir"] == "theirs"
    checked = qtune("data", "check", "-p", "look", directory=root)
    assert checked.code == 2 and "theirs/shots.json:1: a file in `images` does not exist" in checked.out
    write_tree(root, {"theirs/pics/cup.png": ""})
    assert "does not exist" not in qtune("data", "check", "-p", "look", directory=root).out


def test_the_names_tell_which_registry_is_meant(root: Path) -> None:
    others = {"dataset_info.json": {"others": SHOTS}, "data/dataset_info.json": {"others": SHOTS}}
    found = imported(root, "old/a.yaml", {**others, **below("old", LYING), "old/a.yaml": TRAIN})
    assert found.datasets == {"notes": {"file_name": "../old/data/notes.jsonl"}}
    none = imported(
        root, "new/a.yaml", {"new/a.yaml": TRAIN, "new/data/dataset_info.json": {"others": SHOTS}}
    )
    assert none.datasets == {} and "media_dir" not in train(none)
    assert "`notes` is not registered here, and no data/dataset_info.json has it" in said(none, "dataset")[0]


def test_a_directory_that_is_gone_is_said_with_the_registry_that_is_taken(root: Path) -> None:
    tree = {
        "dataset_info.json": REGISTRY,
        "notes.jsonl": NOTES,
        "a.yaml": f"{TRAIN}dataset_dir: /mnt/lf/data\n",
    }
    found = imported(root, "old/a.yaml", below("old", tree))
    [finding] = found.findings
    assert finding.key == "dataset_dir" and "there is no /mnt/lf/data" in finding.message
    assert "old/dataset_info.json has `notes` too, and is taken" in finding.message
    assert found.datasets == {"notes": {"file_name": "../old/notes.jsonl"}}


def test_rows_that_are_not_there_are_one_finding(root: Path) -> None:
    registry = {"notes": {"file_name": "n.jsonl"}, "more": {"file_name": "m.jsonl", "file_sha1": "0"}}
    text = TRAIN.replace("dataset: notes", "dataset: notes\neval_dataset: more")
    found = imported(root, "a.yaml", {"data/dataset_info.json": registry, "a.yaml": text})
    [finding] = found.findings
    assert finding.key == "dataset"
    assert f"`notes`, `more`: there is no {root}/data/n.jsonl, {root}/data/m.jsonl" in finding.message
    assert found.datasets["more"] == {"file_name": "m.jsonl"}
    assert "left out, as LLaMA-Factory has no such keys: more.file_sha1" in said(found, "dataset")


def test_names_that_nothing_registers_are_one_finding(root: Path) -> None:
    text = TRAIN.replace("dataset: notes", "dataset: notes,more\neval_dataset: rest")
    [finding] = imported(root, "a.yaml", {"a.yaml": text}).findings
    assert "`notes`, `more`, `rest` are not registered here" in finding.message
    assert finding.fix == "register them: `qtune data add FILE -n notes`"


@pytest.mark.parametrize("directory", ["ONLINE", "REMOTE:us/registry"])
def test_a_hub_is_no_directory_of_pictures(root: Path, directory: str) -> None:
    found = imported(root, "a.yaml", {"a.yaml": f"{TRAIN}dataset_dir: {directory}\n"})
    assert train(found)["media_dir"] is None
    assert [finding.key for finding in found.findings] == ["dataset"] * (directory != "ONLINE")


# ── files of LLaMA-Factory's own repository ────────────────────────────────────────────────────────────

ZERO = {
    "ds_z0_config.json": {"stage": 0},
    "ds_z2_config.json": {"stage": 2, "round_robin_gradients": True},
    "ds_z2_autotp_config.json": {"stage": 2, "overlap_comm": False},
    "ds_z2_offload_config.json": {"stage": 2, "offload_optimizer": {"device": "cpu", "pin_memory": True}},
    "ds_z3_config.json": {"stage": 3, "reduce_bucket_size": "auto"},
    "ds_z3_offload_config.json": {"stage": 3, "offload_param": {"device": "cpu", "pin_memory": True}},
    "ds_z3_fp8_config.json": {"stage": 3, "reduce_bucket_size": 12845056},
}


def zero(found: Imported) -> dict[str, Any]:
    assert found.errors == (), [str(error) for error in found.errors]
    block: dict[str, Any] = yaml.safe_load(found.text)["zero"]
    return block


@pytest.mark.parametrize("name", ZERO)
@pytest.mark.parametrize("prefix", ["", "/opt/LLaMA-Factory/", "../", "C:\\LLaMA-Factory\\"])
def test_a_zero_file_of_the_repository_is_known_by_its_name(root: Path, name: str, prefix: str) -> None:
    path = f"{prefix}examples/deepspeed/{name}"
    path = path.replace("/", "\\") if "\\" in prefix else path
    found = imported(root, "a.yaml", {**LYING, "a.yaml": f"{TRAIN}bf16: true\ndeepspeed: {path}\n"})
    assert zero(found).items() >= ZERO[name].items()
    assert f"{path} is not here: LLaMA-Factory 0.9.5's own {name} is taken" in said(found, "deepspeed")
    assert found.findings == ()


@pytest.mark.parametrize("name", ZERO)
def test_a_zero_file_of_the_repository_is_taken_as_a_file(root: Path, name: str) -> None:
    stock = stock_file("deepspeed", name)
    assert stock is not None
    unread = {"_comment": "ours", "comms_config": {"verbose": False}, "monitor_config": {"enabled": True}}
    write_tree(root, {"ds.json": {**stock.content, **unread}})
    found = imported(root, "ds.json", {})
    assert zero(found) == stock.content["zero_optimization"]
    parallel = yaml.safe_load(found.text).get("deepspeed", {}).get("tensor_parallel")
    assert parallel == stock.content.get("tensor_parallel")
    assert [key for key in unread if said(found, key) == ["left out: DeepSpeed reads no such key"]] == [
        *unread
    ]


def test_a_file_that_lies_there_wins_over_the_repositorys(root: Path) -> None:
    path = "examples/deepspeed/ds_z3_config.json"
    own = {"zero_optimization": {"stage": 1}, "gradient_clipping": "auto"}
    found = imported(root, "a.yaml", {**LYING, path: own, "a.yaml": f"{TRAIN}deepspeed: {path}\n"})
    assert zero(found) == {"stage": 1}


@pytest.mark.parametrize("path", ["ds_z3_config.json", "llamaboard_cache/ds_z3_config.json"])
def test_a_copy_elsewhere_may_differ(root: Path, path: str) -> None:
    found = imported(root, "a.yaml", {**LYING, "a.yaml": f"{TRAIN}deepspeed: {path}\n"})
    assert zero(found)["stage"] == 3
    [finding] = found.findings
    assert f"there is no {path}: LLaMA-Factory 0.9.5's own ds_z3_config.json is taken" in finding.message


def test_the_repositorys_accelerate_files_are_known_by_their_names() -> None:
    names = [f"fsdp_config{end}.yaml" for end in ("", "_offload", "_multiple_nodes")]
    for name in [*names, "fsdp2_config.yaml", "fsdp2_config_qwen35.yaml"]:
        stock = stock_file("accelerate", f"/opt/LLaMA-Factory/examples/accelerate/{name}")
        assert stock is not None and stock.by_path and stock.content["distributed_type"] == "FSDP"
        assert ("fsdp_version" in stock.content["fsdp_config"]) == name.startswith("fsdp2")
    assert stock_file("accelerate", "ds_z3_config.json") is None


# ── registries and data ────────────────────────────────────────────────────────────────────────────────

MIXED = {
    "_comment": "ours",
    "notes": {"file_name": "notes.jsonl"},
    "shots": SHOTS,
    "draft": {"columns": {"prompt": "q"}},
    "odd": {"hf_hub_url": "us/odd", "formatting": "chatml"},
    "closed": {"hf_hub_url": "https://us:secret-password@hub.example/closed"},
}


@pytest.mark.parametrize("command", [("import",), ("import", "-n", "mine"), ("data", "add")])
@pytest.mark.parametrize("name", ["dataset_info.json", "ours.json"])
def test_what_is_no_dataset_keeps_none_out(
    qtune: Qtune, root: Path, command: tuple[str, ...], name: str
) -> None:
    write_tree(root, {f"lf/{name}": json.dumps(MIXED, indent=1), "lf/notes.jsonl": NOTES})
    result = qtune(*command, f"lf/{name}", directory=root)
    assert result.code == 0, result.err
    registered = read_registrations(find_project(root))
    assert list(registered) == ["notes", "shots", "odd"]
    assert registered["notes"].entry == {"file_name": "../lf/notes.jsonl"}
    for line, key in ((2, "_comment"), (20, "draft"), (29, "closed")):
        assert result.err.count(f"warning: lf/{name}:{line} {key}: is left out") == 1, result.err
    assert f"lf/{name}:27 odd.formatting: " in result.err and "secret" not in result.err
    assert "shots: train with media_dir: lf, from which pictures and the like start" in result.err
    assert "1 of them have no file here: shots" in result.err
    assert not (root / "presets").exists()


def test_an_import_names_the_command_that_replaces_registrations(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"lf/dataset_info.json": REGISTRY, "data/datasets.yaml": "notes: {file_name: x.json}\n"})
    result = qtune("import", "lf/dataset_info.json", directory=root)
    assert result.code == 2 and "`qtune data add lf/dataset_info.json --force`" in result.err


def test_findings_of_a_registry_are_for_programs_too(qtune: Qtune, root: Path) -> None:
    write_tree(root, {"lf/dataset_info.json": {**REGISTRY, "_comment": "ours"}})
    result = qtune("data", "add", "lf/dataset_info.json", "--dry-run", "--json", directory=root)
    assert [finding["key"] for finding in json.loads(result.out)["findings"]] == ["_comment"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", b'{"text": "a"}\n{"text": "b"}\n'),
        ("rows.json", b'\n[\n {"text": "a"}\n]'),
        ("rows.json", b'{"text": "a"}\n{"text": "b"}\n'),
        ("rows.json", b"[" + b'{"text": "a"},' * 80_000 + b"{}]"),
        ("rows.csv", b"a,b\n1,2\n"),
        ("rows.parquet", b"PAR1\0"),
        ("my rows.arrow", b"ARROW1\0"),
        ("shards/1.parquet", b"PAR1\0"),
    ],
)
def test_data_is_called_data(qtune: Qtune, root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    given = "shards" if "/" in name else name
    before = files_below(root)
    result = qtune("import", given, "-n", "mine", directory=root)
    assert result.code == 2 and result.err.count("error: ") == 1
    quotes = "'" if " " in given else ""
    assert "not a training config" in result.err and f"`qtune data add {quotes}{given}{quotes}`" in result.err
    assert files_below(root) == before


@pytest.mark.parametrize(
    "text", ["{}", json.dumps(yaml.safe_load(TRAIN)), json.dumps(yaml.safe_load(TRAIN)) + "\n"]
)
def test_a_json_object_is_no_data(qtune: Qtune, root: Path, text: str) -> None:
    write_tree(root, {**LYING, "a.json": text})
    assert "data file" not in qtune("import", "a.json", directory=root).err
