"""`schema`: JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json
from qtune.config.json_schema import SCHEMAS
from qtune.errors import QtuneError
from qtune.files import write_atomic

DIRECTORY = ".qtune"


@command("schema", "qtune schema preset", "qtune schema project")
def schema_command(
    of: Annotated[
        str, typer.Argument(metavar="[preset|project|datasets]", help="Of which kind of file.")
    ] = "preset",
    write: Annotated[
        bool, typer.Option("--write", help=f"Write all three to {DIRECTORY}/ in the project instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of presets, qtune.yaml or data/datasets.yaml, for completion in editors.

    `qtune init` writes them to the project, and each file's first line names its schema in the way that
    YAML language servers read.
    """
    if write:
        for path in write_schemas(here().root):
            typer.echo(str(path))
        note(f"a file's first line names its schema: {schema_comment('preset', 1)}")
    elif of in SCHEMAS:
        print_json(SCHEMAS[of]())
    else:
        raise QtuneError(f"there is no schema of `{of}`", fix=f"name one of {', '.join(SCHEMAS)}")


def write_schemas(root: Path) -> list[Path]:
    """Write the three schemas below `root`; their paths from there."""
    paths = []
    for name, schema in SCHEMAS.items():
        path = Path(DIRECTORY) / f"{name}.schema.json"
        write_atomic(root / path, _text(schema()))
        paths.append(path)
    return paths


def schema_comment(name: str, depth: int) -> str:
    """The first line of a file that lies `depth` directories below the project's root."""
    return f"# yaml-language-server: $schema={'../' * depth}{DIRECTORY}/{name}.schema.json"


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
