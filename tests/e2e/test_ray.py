"""A real Ray cluster of two nodes on this machine gives a training its nodes."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from scratch import Project, RunDirectory, environment
from test_stopping import started, wait_until

pytestmark = pytest.mark.slow

SHORT = (
    *("-s", "max_samples=16", "-s", "num_train_epochs=1", "-s", "logging_steps=1"),
    *("-s", "per_device_train_batch_size=1", "-s", "gradient_accumulation_steps=2"),
    *("-s", "eval_strategy='no'"),
)
LONG = (*SHORT, "-s", "num_train_epochs=1000", "-s", "save_steps=5")
TWO_NODES = ("-s", "launch.nnodes=2")
TRAINS_SECONDS = 240
END_SECONDS = 90


class Cluster:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()

    @property
    def launcher(self) -> tuple[str, ...]:
        return ("--launcher", "ray", "-s", f"launch.ray_init_kwargs.address='{self.address}'")

    def lose_a_node(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "gone"


@contextlib.contextmanager
def running(**more: str) -> Iterator[Cluster]:
    """The cluster, with more in its environment."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_cluster.py"))],
        env=environment(RAY_USAGE_STATS_ENABLED="0", **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield Cluster(process)
        process.communicate()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with running() as started:
        yield started


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def training_processes(run: RunDirectory) -> list[int]:
    """The processes, of any parent, that train into this run's directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"output_dir=runs/{run.path.name}" in process.cmdline():
                found.append(process.pid)
    return found


def test_two_nodes_train_as_two_nodes_by_hand_and_stop_cleanly(cluster: Cluster, project: Project) -> None:
    """Losses digit for digit; then a run that is stopped can be gone on from.

    Nodes can see the flag a step apart: an earlier checkpoint counts then.
    """
    project.qtune("train", "lora", *SHORT, *TWO_NODES, *cluster.launcher, "-n", "placed")
    meeting = ("-s", "launch.master_addr=127.0.0.1", "-s", f"launch.master_port={free_port()}")
    by_hand = ("train", "lora", *SHORT, *TWO_NODES, *meeting, "-n", "by-hand", "--node-rank")
    with started(project, *by_hand, "1"):
        project.qtune(*by_hand, "0")

    placed, alone = project.run("placed"), project.run("by-hand")
    assert placed.record["status"] == "finished"
    assert len(placed.losses) == 4
    assert placed.losses == alone.losses
    assert {"[node 0]", "[node 1]"} <= {line[:8] for line in placed.log.splitlines()}
    assert "world size: 2" in placed.log

    with started(project, "train", "lora", *LONG, *TWO_NODES, *cluster.launcher, "-n", "long") as process:
        run = project.run("long")
        wait_until(lambda: len(run.losses) >= 6 or process.poll() is not None, TRAINS_SECONDS)
        assert process.poll() is None, project.output.read_text(errors="replace")[-8000:]
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS + 60) == 130
    assert run.record["status"] == "stopped", run.record["reason"]
    said = project.output.read_text(errors="replace")
    found = re.search(r"`qtune resume long` goes on from (checkpoint-\d+)", said)
    assert found, said[-4000:]
    assert {"optimizer.pt", "rng_state_1.pth"} <= {file.name for file in (run.path / found[1]).iterdir()}
    wait_until(lambda: training_processes(run) == [], END_SECONDS)


def test_a_killed_qtune_and_a_lost_node_leave_no_process_on_the_nodes(
    cluster: Cluster, project: Project
) -> None:
    """What the cluster that is left can never place is refused with what it has."""
    with started(project, "train", "lora", *LONG, *TWO_NODES, *cluster.launcher, "-n", "killed") as process:
        run = project.run("killed")
        wait_until(lambda: bool(run.losses) or process.poll() is not None, TRAINS_SECONDS)
        process.kill()
    wait_until(lambda: training_processes(run) == [], END_SECONDS)

    with started(project, "train", "lora", *LONG, *TWO_NODES, *cluster.launcher) as process:
        run = project.run("lora")
        wait_until(lambda: bool(run.losses) or process.poll() is not None, TRAINS_SECONDS)
        assert process.poll() is None, project.output.read_text(errors="replace")[-8000:]
        cluster.lose_a_node()
        assert process.wait(END_SECONDS) == 1
    assert run.record["status"] == "failed"
    assert "node 1" in run.record["reason"] or "node 0" in run.record["reason"]
    wait_until(lambda: training_processes(run) == [], END_SECONDS)

    done = project.command(
        *("qtune", "train", "lora", *SHORT, *TWO_NODES, *cluster.launcher, "-n", "too-large"),
        exit_code=1,
        RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="1",
    )
    assert "cannot place 2 nodes with 1 CPU each: its 1 node has 1 CPU" in done.stderr


def test_a_cluster_that_asks_for_a_token_is_told_how_to_give_it(project: Project) -> None:
    """Ray sends the one that is there to an address that is given only where RAY_AUTH_MODE says so."""
    given, home = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}, {"HOME": str(project.root)}
    with running(**given, **home) as cluster:
        train = ("qtune", "train", "lora", *SHORT, *cluster.launcher)
        token = {"RAY_AUTH_TOKEN": given["RAY_AUTH_TOKEN"]}
        turned_away = project.command(*train, exit_code=1, **token, **home).stderr
        assert "asks for a token" in turned_away and "set RAY_AUTH_MODE=token" in turned_away
        assert "there is no Ray cluster" not in turned_away
        project.command(*train, "-n", "let-in", **given, **home)
    assert project.run("let-in").record["status"] == "finished"
