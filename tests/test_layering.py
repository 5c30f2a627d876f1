"""Modules import only from lower floors, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from trees import REPOSITORY, loaded

PACKAGE = REPOSITORY / "adapter" / "qtune"
# From the ground up; rooms on one floor do not know each other, except as named below.
FLOORS = [
    {"", "errors", "units"},
    {"schema"},
    {"values"},
    {"resources", "files"},
    {"machine", "sandbox", "secrets"},
    {"config"},
    {"data"},
    {"checks", "predict", "render", "failures"},
    {"processes"},
    {"launch"},
    {"runs", "sharing", "importing", "download", "architectures"},
    {"prepare"},
    {"pages"},
    {"doctor", "advice", "use"},
    {"training"},
    {"cli"},
    {"__main__"},
]
# Rooms within a room, likewise; modules that stand in none are below them, but for those named here.
FLOORS_INSIDE = {
    "secrets": ["text", "logs"],
    "data": ["reading", "rows", "scanning lengths adding", "split"],
    "predict": ["models", "parameters", "memory"],
    "doctor": ["readiness"],
    "importing": ["deepspeed toolkits", "accelerate", "scripts", "embedded", "recognise", "read"],
    "prepare": ["pipeline", "records", "renderings", "compare inspection"],
    "use": ["models", "infer speech", "serving", "api ask webchat preview", "evaluation exporting"],
    "training": ["stepping", "attempts", "resuming joining submitting", "dry_run"],
}
LIBRARY = {
    "llamafactory",
    "torch",
    "transformers",
    "datasets",
    "peft",
    "trl",
    "deepspeed",
    "bitsandbytes",
    "ray",
}
HEAVY = {"torch", "transformers", "datasets", "pydantic", "psutil", "rich", "numpy", "importlib.metadata"}
HEAVY |= {"qtune.predict.models.catalogue"}  # and with it every model family: only what estimates needs them


@cache
def import_statements() -> list[tuple[Path, ast.Import | ast.ImportFrom]]:
    """Every one of the package's, local ones included, with its file."""
    return [
        (path, node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, importing room, imported room) of every import of the package's own, local ones included."""
    for path, node in import_statements():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "" if parts == ("__init__",) else parts[0]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "qtune"]
        elif node.module and node.module.split(".")[0] == "qtune":
            names = (
                [node.module] if node.module != "qtune" else [f"qtune.{alias.name}" for alias in node.names]
            )
        else:
            continue
        for name in names:
            imported = name.split(".")[1] if "." in name else ""
            yield str(path.relative_to(PACKAGE)), room, "" if imported == "__version__" else imported


def test_imports_go_down_only() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    upward = [
        f"{file}: {room} imports {imported}"
        for file, room, imported in imports()
        if imported != room and floor[imported] >= floor[room]
    ]
    assert upward == []


def test_no_module_imports_itself_by_a_detour() -> None:
    """Local imports count: a circle that they hide is still one. CycleError names it."""
    modules = {
        path: ".".join(("qtune", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    }
    graph: dict[str, set[str]] = {module: set() for module in modules.values()}
    for path, node in import_statements():
        named = {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{name}" for name in named}
            named = {name if name in graph else str(node.module) for name in whole}
        graph[modules[path]] |= (named & graph.keys()) - {modules[path]}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(modules)


def test_a_class_has_a_name_of_its_own() -> None:
    """But for the scripts of children, each of which stands alone."""
    names = [
        node.name
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "children"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_few_modules_stand_beside_the_rooms() -> None:
    loose = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    assert len(loose) <= 6, sorted(loose)


@pytest.mark.parametrize("outer", FLOORS_INSIDE)
def test_imports_inside_a_room_go_down_only(outer: str) -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS_INSIDE[outer], 1) for room in rooms.split()}
    upward = []
    for path in sorted((PACKAGE / outer).rglob("*.py")):
        room = path.relative_to(PACKAGE / outer).with_suffix("").parts[0]
        for imported in re.findall(rf"qtune\.{outer}\.(\w+)", path.read_text(encoding="utf-8")):
            if imported != room and floor.get(imported, 0) >= max(floor.get(room, 0), 1):
                upward.append(f"{path.name}: {room} imports {imported}")
    assert upward == []


def test_only_two_modules_start_processes() -> None:
    """The one that qtune starts everything with, and the supervisor that runs as a process of its own."""
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(?:import|from) subprocess\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    # the last one on a node of a Ray cluster, where it stands alone
    assert sorted(users) == ["children/ray_nodes.py", "processes/node.py", "processes/process.py"]


def test_only_scripts_of_child_processes_import_the_library() -> None:
    """They stand in a room of their own, which nobody imports and which imports nobody."""
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path, node in import_statements()
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name.split(".")[0] in LIBRARY
    }
    assert users == {"children"}
    assert [item for item in imports() if "children" in item[1:]] == []


COMMANDS = ["--help"], ["render", "stage3", "--hardware", "cpu"], ["check"]


@pytest.fixture(scope="module")
def loaded_after(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What one process has loaded after each of the commands, by its first word."""
    commands = ["init", "."], *COMMANDS
    found = loaded(*commands, directory=tmp_path_factory.mktemp("commands"))
    return {command[0]: modules for command, modules in zip(commands, found, strict=True)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_nothing_heavy(command: list[str], loaded_after: dict[str, set[str]]) -> None:
    assert loaded_after[command[0]] & HEAVY == set()
