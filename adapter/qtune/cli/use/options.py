"""The options that the commands share which use what was trained."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli.complete import run_names

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run's name, or its directory; else the run that finished last.",
        autocompletion=run_names,
    ),
]
BaseOption = Annotated[
    bool, typer.Option("--base", help="The untouched model that the run started from, instead.")
]
CheckpointOption = Annotated[
    int | None,
    typer.Option("--checkpoint", min=1, metavar="N", help="What it was at step N, from that checkpoint."),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--set",
        metavar="KEY=VALUE",
        help="How it generates or loads: temperature, top_p, max_new_tokens, infer_dtype, …; repeatable.",
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--infer-backend",
        help="huggingface, or vllm or sglang where installed (the same as -s infer_backend).",
    ),
]
