"""`export`: what was trained, as a model of its own."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note, pass_on, print_json

if TYPE_CHECKING:
    from qtune.use.exporting.perform import Exported
    from qtune.use.models import Trained


@command("export", "qtune export lora", "qtune export lora -o my-model")
def export_command(
    run: options.TrainedRun = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where to; else exports/RUN.")
    ] = None,
    checkpoint: options.Checkpoint = None,
    assignments: Annotated[
        list[str] | None,
        options.set_option(
            "export_size (GB of a file), export_device, infer_dtype, export_quantization_bit, …; repeatable."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the export with what was trained.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is there.")] = False,
    gguf: Annotated[
        bool,
        typer.Option("--gguf", help="Convert it with llama.cpp too, for which $LLAMA_CPP names a checkout."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write a trained model as a directory of its own, with an adapter merged into its unquantised base.

    LLaMA-Factory merges; then base with adapter and the merged model choose next tokens over the same texts,
    and have to choose alike. A model card tells how it was trained and who reads it; the Modelfile is for
    `ollama create NAME`. The weights have the base model's dtype; `-s infer_dtype=float32` makes it another.

    `-s export_quantization_bit=4 -s export_quantization_dataset=FILE` quantises with GPTQ after that, where
    its packages are installed. AWQ: LLaMA-Factory makes none.

    Exit code 1 where LLaMA-Factory failed or the export answers otherwise, 2 where it could only fail, 130
    where Ctrl-C ended it.
    """
    from qtune.use.exporting.perform import DIRECTORY, export, require_target
    from qtune.use.exporting.plan import plan
    from qtune.use.models import find

    project = here()
    trained = find(project, run, checkpoint=checkpoint, left_out=left_out)
    planned = plan(trained, assignments or (), project.root, gguf=gguf)
    target = output.expanduser() if output is not None else project.root / DIRECTORY / _name(trained)
    target = target.resolve()
    require_target(target, planned, force=force)
    if planned.size is None:
        note("how large it will be is not known, so there may be too little room")
    made = export(planned, target, project, check=check, say=note, show=pass_on)
    _tell(made, trained, as_json=as_json)


def _name(trained: Trained) -> str:
    return trained.name if trained.checkpoint is None else f"{trained.name}-checkpoint-{trained.checkpoint}"


def _tell(made: Exported, trained: Trained, *, as_json: bool) -> None:
    compared = made.comparison
    if as_json:
        check = None if compared is None else asdict(compared)
        print_json(
            {"directory": str(made.directory), "run": trained.name, "bytes": made.size, "check": check}
        )
        return
    typer.echo(os.path.relpath(made.directory))
    note(f"checked: {compared.summary}" if compared is not None else "not checked")
