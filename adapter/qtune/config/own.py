"""Writing a preset of the project's own, where its `presets:` will find it."""

from __future__ import annotations

from pathlib import Path

from qtune.config.json_schema import schema_comment, write_schemas
from qtune.config.names import valid_name
from qtune.config.presets import BASE, BLOCKS
from qtune.config.project import FILE, Project
from qtune.config.resolve import merge
from qtune.errors import QtuneError
from qtune.files import dump_yaml, read_yaml, write_atomic
from qtune.secrets.text import redacted

DIRECTORY = "presets"


def own_preset_path(project: Project, name: str) -> Path:
    """Where a new preset called `name` goes: the first of the project's preset directories that lies in it.

    Without any it is `presets/`. Raises QtuneError outside a project, for a name that cannot be one, where
    the file is there, and where `presets:` lists only what belongs to others.
    """
    valid_name(name, "preset")
    if project.layer is None:
        raise QtuneError(f"there is no {FILE} here", fix="make a project first: `qtune init`")
    if name == BASE:
        raise QtuneError(f"`{BASE}` lies under every preset and is none itself", fix="choose another name")
    own = [source for source in project.presets if source.resolve().is_relative_to(project.root)]
    document = read_yaml(project.root / FILE, FILE)
    if not own and "presets" in document.data:
        raise QtuneError(
            "`presets` lists no directory in this project",
            where=document.where("presets"),
            fix=f"add `{DIRECTORY}`",
        )
    path = (own[0] if own else project.root / DIRECTORY) / f"{name}.yaml"
    if path.exists():
        raise QtuneError("is there already", where=str(path), fix="choose another name")
    return path


def write_own_preset(project: Project, name: str, text: str) -> Path:
    """Write a new preset of the project's own, below the line that names its schema; its path.

    Its directory is listed in qtune.yaml where it is not, which keeps its comments and order; the schemas are
    written anew. Raises QtuneError as `own_preset_path` does.
    """
    path = own_preset_path(project, name)
    project_file = project.root / FILE
    comment = schema_comment("preset", len(path.relative_to(project.root).parents) - 1)
    write_atomic(path, f"{comment}\n{text}")
    if "presets" not in read_yaml(project_file, FILE).data:
        write_atomic(project_file, with_preset_directory(project_file.read_text(encoding="utf-8")))
    write_schemas(project.root)
    return path


def copy_preset(project: Project, preset: str, name: str) -> Path:
    """Write a preset that extends `preset`, with that one's values as comments; its path.

    Raises QtuneError as `own_preset_path` does, and where there is no such preset.
    """
    chain = project.store.chain(preset)
    config = merge(preset, [item.layer for item in chain])
    # of the same name the copy would come first, and extend itself
    parent = f"{chain[-1].source.name}/{preset}" if name == preset else preset
    lines = [
        f"about: {dump_yaml(f'our {preset}')}",
        f"extends: {parent}",
        f"# What {preset} sets. Take the # away from a line to change its value here; the rest is inherited.",
    ]
    for block in BLOCKS:
        if config.block(block):
            lines.append(f"# {block}:" if block != "train" else "train:")
            lines += [
                f"  # {key}: {dump_yaml(value)}" for key, value in redacted(config.block(block)).items()
            ]
    return write_own_preset(project, name, "\n".join(lines) + "\n")


def with_preset_directory(text: str) -> str:
    """A qtune.yaml's text with `presets: [presets]` in it, which it must not have yet.

    It goes before the first key, so that comments at the end of the file stay with their block.
    """
    lines = text.splitlines(keepends=True)
    first = next(
        (number for number, line in enumerate(lines) if line[:1] not in ("#", "\n", " ", "")), len(lines)
    )
    lines.insert(first, f"{DIRECTORY}: [{DIRECTORY}]\n")
    return "".join(lines)
