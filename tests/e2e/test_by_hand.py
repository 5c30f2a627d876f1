"""What was rendered trains by hand just as qtune trains it, and no run touches another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from scratch import BIN, Project, RunDirectory

FEW = ("-s", "max_samples=24", "-s", "num_train_epochs=1", "-s", "logging_steps=1")


def hashes(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_launch_script_does_what_qtune_train_does(project: Project) -> None:
    project.qtune("render", "stage3", *FEW)
    project.qtune("train")
    project.command("bash", "rendered/stage3/launch.sh", PATH=with_the_library_on_it())

    trained, by_hand = project.run("stage3"), project.run("stage3-by-hand")
    assert len(trained.losses) == 3
    assert by_hand.losses == trained.losses
    assert by_hand.evaluations == trained.evaluations


def test_library_alone_trains_the_rendered_yaml_and_a_second_run_leaves_the_first_alone(
    project: Project,
) -> None:
    project.qtune("render", "stage3", *FEW)
    project.qtune("train")
    before = hashes(project.run("stage3").path)

    second = project.qtune("train")
    assert second.stdout == f"{project.run('stage3-2').path}\n"
    assert project.run("stage3-2").record["status"] == "finished"
    assert hashes(project.run("stage3").path) == before

    argv = (str(BIN / "llamafactory-cli"), "train", "rendered/stage3/train.yaml", "output_dir=elsewhere")
    project.command(*argv, FORCE_TORCHRUN="1", NPROC_PER_NODE="1", PATH=with_the_library_on_it())
    alone = RunDirectory(project.root / "elsewhere")
    assert alone.losses == project.run("stage3-2").losses == project.run("stage3").losses


def with_the_library_on_it() -> str:
    """A PATH as an activated environment has it: the launcher finds torchrun by name, DeepSpeed ninja."""
    return f"{BIN}{os.pathsep}{os.environ['PATH']}"
