"""`init`: make a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qtune import resources
from qtune.cli import options
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.config.json_schema import schema_comment, write_schemas
from qtune.config.project import FILE
from qtune.errors import QtuneError
from qtune.files import dump_yaml, write_atomic

_DEMOS = ("demo", "demo_eval", "demo_dpo", "demo_kto", "demo_text")
_DATA = ("datasets.yaml", *(f"{name}.jsonl" for name in _DEMOS))
_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
_GITIGNORE = "/rendered/\n/runs/\n/exports/\n"


@command("init", "qtune init my-project", "qtune init", "qtune init my-project -m Qwen/Qwen3-8B")
def init_command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The project's directory, made where missing.")
    ] = Path(),
    model: options.Model = None,
) -> None:
    """Make a project: qtune.yaml, data/ with a demo dataset and its registration, schemas for editors.

    An existing project is left as it is; so is every file that is already there.
    """
    if (directory / FILE).exists():
        raise QtuneError("is a project already", where=str(directory / FILE), fix="name another directory")
    texts = {f"data/{name}": (resources.root() / "data" / name).read_text(encoding="utf-8") for name in _DATA}
    texts["data/datasets.yaml"] = f"{schema_comment('datasets', 1)}\n{texts['data/datasets.yaml']}"
    project = Path(__file__).with_name("new_project.yaml").read_text(encoding="utf-8")
    if model is not None:
        project = project.replace(_MODEL, dump_yaml(_from_project(model, directory)).ljust(len(_MODEL)))
    # qtune.yaml last: it makes the directory a project
    texts |= {".gitignore": _GITIGNORE, FILE: f"{schema_comment('project', 0)}\n{project}"}
    for name, text in texts.items():
        if not (directory / name).exists():
            write_atomic(directory / name, text)
            typer.echo(str(directory / name))
    write_schemas(directory)
    enter = "" if directory.resolve() == Path.cwd() else f"cd {directory} && "
    wanted = "model and dataset" if model is None else "dataset"
    note(f"next: set your {wanted} in {FILE}, then `{enter}qtune render lora && qtune train`")


def _from_project(model: str, directory: Path) -> str:
    """A model as qtune.yaml names it: a directory from there where it lies in the project, else in full."""
    if not model.strip():
        raise QtuneError("names no model", where="-m", fix=f"-m {_MODEL}")
    path = Path(model).expanduser().resolve()
    if not path.is_dir():
        return model
    root = directory.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
