"""ms-swift's own argument classes read commands and configs: a line for each option that they refuse."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from swift.arguments import PretrainArguments, RLHFArguments, SftArguments
from swift.cli.main import parse_yaml_args
from swift.dataset.dataset_syntax import DatasetSyntax
from swift.utils.utils import _patch_get_type_hints
from transformers import HfArgumentParser

CLASSES = {"sft": SftArguments, "pt": PretrainArguments, "rlhf": RLHFArguments}


def words(path: Path) -> list[str]:
    """What `swift` is given: by a script, of which a stub on PATH tells; or by `swift sft` and the config."""
    if path.suffix != ".sh":
        given = [str(path)]
        parse_yaml_args(given)
        return ["sft", *given]
    with tempfile.TemporaryDirectory() as directory:
        stub = Path(directory) / "swift"
        stub.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n", encoding="utf-8")
        stub.chmod(0o755)
        environment = {"PATH": f"{directory}{os.pathsep}{os.defpath}"}
        run = subprocess.run(["bash", path], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.split("\0")[:-1]


def flaws(path: Path) -> list[str]:
    method, *given = words(path)
    with _patch_get_type_hints():
        parser = HfArgumentParser([CLASSES[method]])
    said = io.StringIO()
    try:
        # without the classes' __post_init__, which loads the model
        with contextlib.redirect_stderr(said):
            known, unknown = parser.parse_known_args(given)
    except SystemExit:
        return [said.getvalue().splitlines()[-1]]
    for name in [*known.dataset, *known.val_dataset]:
        DatasetSyntax.parse(name)
    return [f"{word} is unknown" for word in unknown]


found = False
for name in sys.argv[1:]:
    for flaw in flaws(Path(name)):
        found = True
        print(f"{name}: {flaw}")
sys.exit(found)
