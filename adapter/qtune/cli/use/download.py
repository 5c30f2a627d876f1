"""`download`: a model or a data set ahead of the training, from a hub or a mirror of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.complete import dataset_names
from qtune.cli.output import note, print_json
from qtune.config.hub_settings import check_address
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.units import counted, size_text

if TYPE_CHECKING:
    from qtune.download.fetch import DownloadPlan
    from qtune.download.request import Request

_STEPS = 10


@command("download", "qtune download Qwen/Qwen2.5-0.5B-Instruct", "qtune download --dataset answers")
def download_command(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A model's id, owner/name; else the project's model."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--dataset",
            metavar="NAME",
            help="Instead of a model, a data set: a registered one, or its id.",
            autocompletion=dataset_names,
        ),
    ] = None,
    hub: Annotated[
        Literal["huggingface", "modelscope"] | None,
        typer.Option(help="Which hub; else what `hub:` of qtune.yaml or USE_MODELSCOPE_HUB says."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="A mirror of that hub, instead of its own address.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="A branch, tag or commit; else main (model_revision).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every file, also those that no training reads (GGUF, ONNX, …).")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Fetch a model or a data set into the hub's own cache, so that trainings need no network.

    What was interrupted goes on with the files that are not whole yet. Every file is compared with the hub's
    checksum; of a repository that has weights several times over, only the safetensors come. A private or
    gated one needs the hub's own log-in, `hf auth login` or `modelscope login`: qtune sees no token.

    Exit code 1 where the hub cannot be reached or a file is damaged, 2 where it can only fail, 130 where
    Ctrl-C ended it, which keeps what was fetched.
    """
    from qtune.download.fetch import fetch, plan
    from qtune.download.subject import request_for

    project = here()
    if mirror is not None:
        check_address(mirror, "--mirror")
    if model is not None and dataset is not None:
        raise QtuneError(
            "a model or a data set, one at a time", where="--dataset", fix="leave one of them out"
        )
    request = request_for(project, model, dataset, hub, mirror, revision)
    try:
        planned = plan(request, everything=everything)
        _announce(planned)
        with _bar(planned) as progress:
            directory, checked = fetch(planned, progress)
    except KeyboardInterrupt as ended:
        by = str(ended) or "SIGINT"
        note(f"interrupted ({by}); what was fetched is kept: the same command goes on from there")
        raise typer.Exit(130) from None
    if as_json:
        print_json(
            {
                "id": request.id,
                "kind": request.kind,
                "hub": request.hub,
                "commit": planned.commit,
                "directory": str(directory),
                "files": len(planned.files),
                "bytes": planned.size,
            }
        )
    else:
        typer.echo(str(directory))
    right = ", checksums right" if checked else ""
    note(f"{request.id}: {counted(len(planned.files), 'file')}, {size_text(planned.size)}{right}")
    _next(request, directory, project, dataset)


def _announce(planned: DownloadPlan) -> None:
    request = planned.request
    begun = f", {size_text(planned.here)} of it here already" if planned.here else ""
    note(
        f"{request.id} from {request.endpoint}: {counted(len(planned.files), 'file')}, "
        f"{size_text(planned.size)}{begun}, into {request.cache}"
    )
    if planned.left_out:
        size = size_text(sum(file.size for file in planned.left_out))
        files = counted(len(planned.left_out), "file")
        note(f"left out: {files} that no training reads ({size}; --all fetches them)")


@contextmanager
def _bar(planned: DownloadPlan) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, elsewhere a line for every tenth.

    Yields the function to call with the bytes that have been fetched so far.
    """
    if not sys.stderr.isatty():
        told = planned.here * _STEPS // max(planned.size, 1)

        def tell(here: int) -> None:
            nonlocal told
            step = here * _STEPS // max(planned.size, 1)
            if step > told:
                told = step
                note(f"{step * 100 // _STEPS} % of {size_text(planned.size)}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=planned.size, completed=planned.here)
        yield lambda here: bar.update(task, completed=here)


def _next(request: Request, directory: Path, project: Project, dataset: str | None) -> None:
    if dataset is not None:
        follows = f"qtune train -d {dataset}" if dataset != request.id else f"qtune data add {dataset}"
        note(f"next: `{follows}`; with HF_HUB_OFFLINE=1 it asks no hub")
    elif request.hub == "modelscope":
        # its library asks the hub on every start, and knows no offline variable
        note(f"next: `qtune train lora -m {request.id}`, or without a network `-m {directory}`")
    else:
        note(f"next: `qtune train lora -m {request.id}`; with HF_HUB_OFFLINE=1 it asks no hub")
