"""Modules import only from lower floors, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from trees import REPOSITORY

PACKAGE = REPOSITORY / "adapter" / "qtune"
# From the ground up; rooms on one floor do not know each other, except as named below.
FLOORS = [
    {"", "errors", "values"},
    {"resources", "files"},
    {"schema", "machine"},
    {"config"},
    {"data", "templates"},
    {"checks", "predict", "render", "manifest", "launch"},
    {"runs", "sharing", "importing", "preview", "download", "doctor"},
    {"trained"},
    {"pipeline", "evaluation", "exporting"},
    {"compare", "candidates"},
    {"cli"},
    {"__main__"},
]
# The rooms inside `data`, likewise; its modules that stand in none are below them, but for `split`.
DATA_FLOORS = ["reading", "rows", "scanning lengths adding", "split"]
LIBRARY = {"llamafactory", "torch", "transformers", "datasets", "peft", "trl", "deepspeed", "bitsandbytes"}
HEAVY = {"torch", "transformers", "datasets", "pydantic", "psutil", "rich", "numpy", "importlib.metadata"}
HEAVY |= {"qtune.predict.catalogue"}  # and with it every model family: only what estimates needs them


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, importing room, imported room) of every import of the package's own, local ones included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "" if parts == ("__init__",) else parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "qtune":
                names = (
                    [node.module]
                    if node.module != "qtune"
                    else [f"qtune.{alias.name}" for alias in node.names]
                )
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.split(".")[0] == "qtune"]
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


def test_imports_inside_data_go_down_only() -> None:
    floor = {room: number for number, rooms in enumerate(DATA_FLOORS, 1) for room in rooms.split()}
    upward = []
    for path in sorted((PACKAGE / "data").rglob("*.py")):
        room = path.relative_to(PACKAGE / "data").with_suffix("").parts[0]
        for imported in re.findall(r"qtune\.data\.(\w+)[\w.]* import", path.read_text(encoding="utf-8")):
            if imported != room and floor.get(imported, 0) >= max(floor.get(room, 0), 1):
                upward.append(f"{path.name}: {room} imports {imported}")
    assert upward == []


def test_only_one_module_starts_processes() -> None:
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "subprocess" in path.read_text(encoding="utf-8")
    ]
    assert users == ["launch/process.py"]


def test_only_scripts_of_child_processes_import_the_library() -> None:
    """They stand in a room of their own, which nobody imports and which imports nobody."""
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name.split(".")[0] in LIBRARY
    }
    assert users == {"library"}
    assert [item for item in imports() if "library" in item[1:]] == []


@pytest.mark.parametrize("command", [["--help"], ["render", "stage3", "--hardware", "cpu"], ["check"]])
def test_a_command_imports_nothing_heavy(command: list[str], tmp_path: object) -> None:
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['qtune', '-C', {str(tmp_path)!r}, *{command!r}]\n"
        "from qtune.cli import main\nmain()\n"
    )
    qtune = [sys.executable, "-m", "qtune"]
    subprocess.run([*qtune, "init", str(tmp_path)], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    allowed = {"rich"} if command == ["--help"] else set()  # typer draws its help with it
    assert loaded & (HEAVY - allowed) == set()
