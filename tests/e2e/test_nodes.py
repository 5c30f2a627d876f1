"""Several nodes, here as several `qtune train` on one machine: they train as one, or say why they do not."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scratch import BIN, Project, RunDirectory

pytestmark = pytest.mark.slow

# 32 rows fill every step of two processes.
FEW = tuple(
    word
    for setting in ("max_samples=32", "num_train_epochs=1", "logging_steps=1", "eval_dataset=null")
    for word in ("-s", setting)
)
BY_HAND = f"{BIN}{os.pathsep}{os.environ['PATH']}"


def free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def nodes(port: int, seconds: int = 300) -> tuple[str, ...]:
    settings = ("nnodes=2", "master_addr=127.0.0.1", f"master_port={port}", f"rdzv_conf=timeout={seconds}")
    return tuple(word for setting in settings for word in ("-s", f"launch.{setting}"))


def on_both(first: Project, second: Project, *arguments: str) -> None:
    """Run the command as node 0 in the first project and as node 1 in the second, to the good end of both."""
    with ThreadPoolExecutor(2) as pool:
        parts = [
            pool.submit(project.qtune, *arguments, "--node-rank", rank)
            for rank, project in (("1", second), ("0", first))
        ]
        for part in parts:
            part.result()


@pytest.fixture
def spaced(project: Project) -> Project:
    """A project in which everything that has a path has a space in it."""
    root = project.root.rename(project.root.with_name("my project"))
    (root / "data" / "tiny-qwen2").rename(root / "data" / "tiny qwen2")
    (root / "data" / "demo rows.jsonl").symlink_to(root / "data" / demo_file(root))
    registrations = root / "data" / "datasets.yaml"
    registrations.write_text(registrations.read_text() + "\nspaced:\n  file_name: demo rows.jsonl\n")
    (root / "qtune.yaml").write_text(
        "train:\n  model_name_or_path: data/tiny qwen2\n  template: qwen\n  dataset: spaced\nruns: my runs\n"
    )
    return Project(root)


def demo_file(root: Path) -> str:
    text = (root / "data" / "datasets.yaml").read_text(encoding="utf-8")
    _, _, entry = text.partition("\ndemo:\n")
    return entry.partition("file_name:")[2].split()[0]


def test_two_nodes_train_as_two_processes_also_by_hand_and_where_every_path_has_a_space(
    spaced: Project,
) -> None:
    def run(name: str) -> RunDirectory:
        return RunDirectory(spaced.root / "my runs" / name)

    spaced.qtune("train", "lora", *FEW, "-s", "launch.nproc_per_node=2", "-n", "one")
    assert len(run("one").losses) == 2

    two = nodes(free_port())
    on_both(spaced, spaced, "train", "lora", *FEW, *two, "-n", "two")
    assert run("two").losses == run("one").losses
    record = run("two").record
    assert record["status"] == "finished" and record["predicted_steps"] == 2
    assert "num nodes: 2, node rank: 0" in run("two").log
    joined = (run("two").path / "train-node1.log").read_text(encoding="utf-8")
    assert "num nodes: 2, node rank: 1" in joined
    # whoever joins what is over is told so, and node 0 does not take a name of its own
    late = spaced.qtune("train", "lora", *FEW, *two, "-n", "two", "--node-rank", "1", exit_code=2)
    assert "two is finished" in late.stderr and "new --name" in late.stderr
    again = spaced.qtune("train", "lora", *FEW, *two, "-n", "two", exit_code=2)
    assert "there is a two already" in again.stderr

    script = spaced.root / "rendered" / "lora" / "launch.sh"
    assert "NODE_RANK=1 bash rendered/lora/launch.sh" in script.read_text(encoding="utf-8")
    with ThreadPoolExecutor(2) as pool:
        parts = [
            pool.submit(spaced.command, "bash", str(script), NODE_RANK=rank, PATH=BY_HAND)
            for rank in ("1", "0")
        ]
        for part in parts:
            part.result()
    assert run("lora-by-hand").losses == run("one").losses


def test_two_nodes_shard_by_fsdp_as_two_processes(project: Project) -> None:
    project.qtune("train", "fsdp_qlora", *FEW, "-s", "launch.nproc_per_node=2", "-n", "one")
    own = Project(project.root.with_name("on a disk of its own"))
    shutil.copytree(project.root, own.root, ignore=shutil.ignore_patterns("runs", "rendered"))
    on_both(project, own, "train", "fsdp_qlora", *FEW, *nodes(free_port()), "-n", "two")
    assert "You are using fsdp2" in project.run("two").log and "world size: 2" in project.run("two").log
    assert len(project.run("two").losses) == 2
    assert project.run("two").losses == project.run("one").losses
    # of its checkpoints node 1 has its own random state alone
    there = own.run("two").path
    kept = {path.name for path in there.rglob("*") if path.is_file() and path.parent.name != "rendered-node1"}
    assert kept == {"train-node1.log", "rng_state_1.pth"}
    assert (there / "rendered-node1" / "train.yaml").is_file()


def test_a_stop_of_one_node_stops_all_and_all_go_on(project: Project) -> None:
    # ZeRO-2: all processes write a checkpoint together, each its own part of the optimizer
    long = ("-s", "max_samples=64", "-s", "num_train_epochs=50", "-s", "logging_steps=1")
    saving = ("-s", "save_steps=10", "-s", "eval_dataset=null")
    command = ("train", "deepspeed", *long, *saving, *nodes(free_port()), "-n", "two", "--node-rank")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(project.qtune, *command, "0", exit_code=130)
        with project.start(*command, "1") as second:
            deadline = time.monotonic() + 300
            while len(project.run("two").progress) < 12 and time.monotonic() < deadline:
                time.sleep(0.1)
            second.send_signal(signal.SIGINT)
            assert second.wait() == 130
        first.result()
    assert "node 1 of 2: stopped" in project.output.read_text()
    record = project.run("two").record
    assert record["status"] == "stopped" and "of 100" in record["reason"]

    with ThreadPoolExecutor(2) as pool:
        resume = ("resume", "two", "--node-rank")
        for part in [pool.submit(project.qtune, *resume, rank) for rank in ("1", "0")]:
            part.result()
    record = project.run("two").record
    assert (record["status"], record["global_step"]) == ("finished", 100)
    assert record["attempts"][-1]["from_step"] >= 10


def test_a_node_that_never_comes_and_a_port_in_use_are_named(project: Project) -> None:
    waits, calls, shut = free_port(), free_port(), free_port()
    with ThreadPoolExecutor(3) as pool, socket.create_server(("127.0.0.1", shut)):
        alone = pool.submit(
            project.qtune, "train", "lora", *FEW, *nodes(waits, 5), "-n", "alone", exit_code=1
        )
        lost = pool.submit(
            project.qtune,
            "train",
            "lora",
            *FEW,
            *nodes(calls, 5),
            "--node-rank",
            "1",
            "-n",
            "lost",
            exit_code=1,
        )
        taken = project.qtune("train", "lora", *FEW, *nodes(shut, 5), "-n", "taken", exit_code=2)
        assert f"port {shut}" in taken.stderr and "is in use" in taken.stderr
        assert "launch.master_port" in taken.stderr
        assert not project.run("taken").path.exists()
        # as when another program takes it between the look and the start
        forced = ("train", "lora", *FEW, *nodes(shut, 5), "-n", "taken", "--force")
        assert f"port {shut}" in project.qtune(*forced, exit_code=1).stderr.partition("error:")[2]
        assert f"127.0.0.1:{waits}" in (said := alone.result().stderr.partition("error:")[2])
        assert "node 1" in said
        assert f"127.0.0.1:{calls}" in (said := lost.result().stderr.partition("error:")[2])
        assert "node 0" in said
    assert project.run("alone").record["status"] == "failed"
    assert not (project.run("lost").path / "qtune.json").exists()
