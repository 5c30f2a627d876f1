"""Launchers and several nodes: plans, what is rendered for all of them, and who has the record."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, files_below

from qtune.config.project import find_project
from qtune.doctor.needs import needs_of
from qtune.doctor.nodes import launcher_line
from qtune.errors import QtuneError
from qtune.launch.plan import plan_launch, with_argument
from qtune.launch.rendezvous import why_not
from qtune.machine.hardware import parse_hardware
from qtune.machine.network import look_at
from qtune.prepare import pipeline
from qtune.processes.signals import collected
from qtune.runs import record
from qtune.runs.joint_stop import JointStop
from qtune.training import joining, stepping
from qtune.values import Config, LaunchPlan, Layer, Origin, Value

Qtune = Callable[..., Result]
TWO: dict[str, Any] = {"nnodes": 2, "master_addr": "10.0.0.1", "master_port": 29500}
ON_TWO = tuple(word for key, value in TWO.items() for word in ("-s", f"launch.{key}={value}"))


def config_of(preset: str, hardware: str, **launch: Any) -> Config:
    values = {("launch", key): Value(value, Origin("test")) for key, value in launch.items()}
    machine = parse_hardware(hardware)
    return pipeline.resolve(preset, find_project(Path("/")), machine, [Layer("test", values)])


def plan_of(preset: str, hardware: str, **launch: Any) -> LaunchPlan:
    config = config_of(preset, hardware, **launch)
    return plan_launch(config, parse_hardware(hardware), f"rendered/{preset}/train.yaml")


@pytest.mark.parametrize(
    ("launch", "torchrun"),
    [
        ({}, False),
        ({"launcher": "local"}, False),
        ({"launcher": "torchrun"}, True),
        ({"nproc_per_node": 2}, True),
        (TWO, True),
    ],
)
def test_the_simplest_launcher_that_is_needed_starts_it(launch: dict[str, Any], torchrun: bool) -> None:
    plan = plan_of("lora", "cpu", **launch)
    assert plan.argv == ("llamafactory-cli", "train", "rendered/lora/train.yaml")
    assert ("FORCE_TORCHRUN" in plan.environment) == torchrun
    # which nobody but torchrun's processes could use
    assert (config_of("lora", "cpu", **launch).get("train", "ddp_backend") == "gloo") == torchrun


def test_torchruns_options_reach_it_by_their_variables() -> None:
    elastic = {
        "rdzv_id": "job",
        "max_restarts": 3,
        "min_nnodes": 1,
        "max_nnodes": 4,
        "rdzv_conf": "timeout=9",
    }
    environment = plan_of("lora", "8x80GB", **TWO, node_rank=1, **elastic).environment
    wanted = {"NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "8"}
    wanted |= {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "PET_RDZV_CONF": "timeout=9"}
    wanted |= {"RDZV_ID": "job", "MAX_RESTARTS": "3", "MIN_NNODES": "1", "MAX_NNODES": "4"}
    assert wanted.items() <= environment.items()
    # one node is one, whatever cluster its environment tells of
    assert plan_of("stage3", "1x24GB").environment.items() >= {
        ("NNODES", "1"),
        ("NODE_RANK", "0"),
        ("MASTER_ADDR", "127.0.0.1"),
    }


def test_accelerate_gets_the_rank_on_its_command_line() -> None:
    argv = plan_of("fsdp_qlora", "8x80GB", **TWO, node_rank=1, rdzv_conf="timeout=9").argv
    assert argv[argv.index("--machine_rank") + 1] == "1"
    assert argv[argv.index("--rdzv_conf") + 1] == "timeout=9"
    assert "--machine_rank" not in plan_of("fsdp_qlora", "8x80GB").argv


@pytest.mark.parametrize("path", ["my runs/a", "runs/#1: \"x\" 'y'", "runs/é\t/\\n", "runs/1e5", "~/a{b}"])
def test_a_path_on_the_command_line_is_one_word_to_yaml_and_to_the_launcher(path: str) -> None:
    *_, word = with_argument(plan_of("lora", "cpu"), "output_dir", path).argv
    assert word.split() == [word]
    assert yaml.safe_load(word.removeprefix("output_dir=")) == path


@pytest.mark.parametrize("preset", ["stage3", "fsdp_qlora"])
def test_all_nodes_render_the_same_files(qtune: Qtune, project: Callable[..., Path], preset: str) -> None:
    root = project()
    options = (preset, "--hardware", "8x80GB", *ON_TWO)
    rendered = []
    for rank in ("0", "1"):
        assert qtune("render", *options, "-s", f"launch.node_rank={rank}", directory=root).code == 0
        rendered.append(
            {name: (root / "rendered" / name).read_bytes() for name in files_below(root / "rendered")}
        )
    assert rendered[0] == rendered[1]
    script = (root / "rendered" / preset / "launch.sh").read_text()
    assert "10.0.0.1:29500" in script and f"NODE_RANK=1 bash rendered/{preset}/launch.sh" in script
    assert "${NODE_RANK:?" in script
    if preset == "fsdp_qlora":
        settings = yaml.safe_load((root / "rendered" / preset / "accelerate.yaml").read_text())
        assert (settings["num_processes"], settings["num_machines"]) == (16, 2)
        assert (settings["main_process_ip"], settings["main_process_port"]) == ("10.0.0.1", 29500)
        assert '--machine_rank "$NODE_RANK"' in script


def test_the_launcher_option_is_the_launch_key(qtune: Qtune, project: Callable[..., Path]) -> None:
    root = project()
    shown = qtune("show", "lora", "launch.launcher", "--launcher", "torchrun", directory=root)
    assert shown.code == 0 and "torchrun" in shown.out and "--launcher" in shown.out
    refused = qtune("check", "stage3", "--launcher", "local", directory=root)
    assert refused.code == 2 and "launch.launcher" in refused.err
    unknown = qtune("render", "lora", "--launcher", "mpirun", directory=root)
    assert unknown.code == 2 and "accepted: auto, local, torchrun, accelerate" in unknown.err


def test_processes_are_those_of_all_nodes_and_workers_those_of_one() -> None:
    one = config_of("stage2_offload", "8x80GB", nproc_per_node=8)
    two = config_of("stage2_offload", "4x80GB", **TWO, nproc_per_node=4)
    assert one.processes == two.processes == 8
    assert one.get("train", "dataloader_num_workers") == two.get("train", "dataloader_num_workers")


def test_node_0_takes_the_name_that_all_nodes_know_or_none(tmp_path: Path) -> None:
    early = tmp_path / "x" / "train-node1.log"
    early.parent.mkdir()
    early.touch()
    (tmp_path / "x" / "qtune.stop").touch()  # and stopped while it waited
    assert record.claim_for_nodes(tmp_path, "x") == tmp_path / "x"
    (tmp_path / "x" / "qtune.json").write_text("{}")
    with pytest.raises(QtuneError, match="already") as raised:
        record.claim_for_nodes(tmp_path, "x")
    assert "--name" in str(raised.value)


def test_a_node_that_is_stopped_is_heard_by_the_others_and_by_none_of_a_later_attempt(tmp_path: Path) -> None:
    with collected() as received:
        first, second = JointStop(tmp_path), JointStop(tmp_path)
        first.listen()
        second.listen()
        assert received == []
        first.say()
        first.say()
        first.listen()  # its own word
        assert received == []
        for _ in range(2):
            second.listen()
        assert received == [signal.SIGTERM]
        JointStop(tmp_path).listen()  # what was said before is not for it
        assert received == [signal.SIGTERM]
        second.say()  # it stops because of the first
        later = JointStop(tmp_path)
        JointStop(tmp_path).say()
        later.listen()
        assert received == [signal.SIGTERM] * 2


@pytest.mark.parametrize(
    ("launch", "by_hand"), [({}, False), (TWO, True), ({**TWO, "launcher": "ray"}, False)]
)
def test_nodes_started_by_hand_take_no_step_that_the_others_would_not_follow(
    project: Callable[..., Path], launch: dict[str, Any], by_hand: bool
) -> None:
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
    values = {("launch", key): Value(value, Origin("test")) for key, value in launch.items()}
    values |= {("train", key): Value(value, Origin("test")) for key, value in settings.items()}
    prepared = pipeline.prepare(
        "lora", find_project(project()), parse_hardware("cpu"), [Layer("test", values)]
    )
    assert prepared.config.nodes_by_hand is by_hand
    run = record.Run(Path("/nowhere"), "x", {"attempts": []})
    if by_hand:
        assert stepping.after(run, prepared, "training") is None


def test_what_is_over_is_not_joined(project: Callable[..., Path]) -> None:
    root = project({"runs/x/qtune.json": {"status": "failed"}})
    layer = Layer("test", {("launch", key): Value(value, Origin("test")) for key, value in TWO.items()})
    prepared = pipeline.prepare("lora", find_project(root), parse_hardware("cpu"), [layer])
    with pytest.raises(QtuneError, match="x is failed") as raised:
        joining.join(prepared, name="x", begin=lambda part: None, show=lambda output: None)
    assert "new --name, or go on with it: `qtune resume x`" in str(raised.value)
    assert [path.name for path in (root / "runs" / "x").iterdir()] == ["qtune.json"]


def test_a_node_has_no_record_and_needs_no_render_of_its_own(
    qtune: Qtune, project: Callable[..., Path]
) -> None:
    root = project()
    assert qtune("render", "lora", "--hardware", "cpu", *ON_TWO, directory=root).code == 0
    refused = qtune("train", "--node-rank", "2", directory=root)
    assert refused.code == 2 and "launch.node_rank" in refused.err and "counted from 0" in refused.err
    alone = qtune("train", "lora", "--node-rank", "1", directory=root)
    assert alone.code == 2 and "launch.node_rank" in alone.err
    assert not (root / "runs").exists()


def test_a_library_whose_path_has_a_space_cannot_be_launched_by_torchrun() -> None:
    assert launcher_line(Path("/home/a b/site-packages/llamafactory")).level == "failure"
    assert launcher_line(Path("/home/ab/site-packages/llamafactory")).level == "ok"
    for preset, torchrun in (("lora", False), ("stage3", True), ("fsdp_qlora", False)):
        config = config_of(preset, "1x24GB")
        assert needs_of(config, parse_hardware("1x24GB"), {}, Path("/")).torchrun is torchrun, preset


def test_an_address_that_is_unknown_and_a_port_that_is_taken_are_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert look_at("127.0.0.1", port, owner=True).taken
        assert not look_at("127.0.0.1", port, owner=False).taken  # it is to be, on the other nodes
    assert look_at("127.0.0.1", port, owner=True) == look_at("127.0.0.1", port, owner=False)
    assert look_at("no-such-host.invalid", port, owner=False).unknown


@pytest.mark.parametrize(
    ("nnodes", "words", "says"),
    [
        (
            2,
            "torch.distributed.DistStoreError: Timed out after 9 seconds waiting for clients. "
            "1/2 clients joined.",
            "node 1 did not come to 10.0.0.1:29500 within 9 s",
        ),
        (
            4,
            "torch.distributed.DistStoreError: Timed out after 9 seconds waiting for clients. "
            "2/4 clients joined.",
            "2 of nodes 1 to 3 did not come to 10.0.0.1:29500",
        ),
        (
            2,
            "torch.distributed.DistNetworkError: The client socket has timed out after 8000ms while trying "
            "to connect to (10.0.0.1, 29500).",
            "node 0 did not answer at 10.0.0.1:29500 within 8 s",
        ),
        (
            1,
            "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network "
            "address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in "
            "use",
            "port 29500 is in use",
        ),
        (2, "ValueError: bad", None),
        (1, "torch.distributed.DistStoreError: Timed out", None),
    ],
)
def test_who_is_missing_is_read_off_torchs_words(nnodes: int, words: str, says: str | None) -> None:
    found = why_not(config_of("lora", "cpu", **{**TWO, "nnodes": nnodes}), words)
    assert found is None if says is None else found is not None and says in found
