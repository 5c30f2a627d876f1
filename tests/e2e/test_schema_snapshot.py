"""The bundled snapshot against the installed LLaMA-Factory."""

import subprocess
import sys
from pathlib import Path

from qtune import schema

SCRIPT = Path(__file__).resolve().parents[2] / "adapter" / "tools" / "schema_snapshot.py"


def test_snapshot_is_that_of_the_installed_library():
    result = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def every_argument():
    yield from schema.arguments().values()
    yield from schema.zero_keys().values()
    for block in schema.zero_keys().values():
        yield from (block.keys or {}).values()
    for table in (schema.dataset_keys(), schema.column_keys(), schema.tag_keys()):
        yield from table.values()


def test_no_default_is_a_problem():
    given = [argument for argument in every_argument() if argument.default is not None]
    found = {
        (argument.group, argument.name): schema.problem(argument, argument.default) for argument in given
    }
    assert {name: words for name, words in found.items() if words} == {}
