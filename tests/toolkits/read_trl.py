"""TRL's own parser reads configs and commands: a line for each that it refuses, or a key that it has not."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import yaml

LAUNCHER = {
    "--accelerate_config",
    "--num_processes",
    "--num_machines",
}  # what `trl` hands to accelerate launch
ON_A_CPU = ["--use_cpu", "true", "--bf16", "false", "--fp16", "false", "--tf32", "false"]


def words(path: Path) -> tuple[str, list[str]]:
    """(the trainer, its arguments) of a command, or of a YAML whose first comment is the command."""
    text = path.read_text(encoding="utf-8")
    line = text.splitlines()[0].lstrip("# ") if path.suffix == ".yaml" else text
    given = shlex.split(line.replace("\\\n", " "), comments=True)
    start = next(
        i for i, word in enumerate(given) if re.fullmatch(r"(?:.*/)?(sft|dpo|kto|reward)(\.py)?", word)
    )
    arguments = given[start + 1 :]
    if "--config" in arguments:
        arguments[arguments.index("--config") + 1] = str(path)
    return Path(given[start]).stem, arguments


def flaws(path: Path) -> list[str]:
    method, arguments = words(path)
    parser = importlib.import_module(f"trl.scripts.{method}").make_parser(prog=f"trl {method}")
    try:
        *_, left = parser.parse_args_and_config([*arguments, *ON_A_CPU], return_remaining_strings=True)
    except (SystemExit, ValueError, TypeError, yaml.YAMLError) as error:
        return [str(error)]
    return [f"{word} is unknown" for word in left if word.startswith("--") and word not in LAUNCHER]


found = False
for name in sys.argv[1:]:
    for flaw in flaws(Path(name)):
        found = True
        print(f"{name}: {flaw}")
sys.exit(found)
