"""`train`: run LLaMA-Factory on what was rendered."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.errors import QtuneError


@command("train", "qtune train", "qtune train lora -d answers --detach")
def train_command(
    preset: Annotated[
        str | None,
        options.preset_argument("Render this preset first; else train the current rendered directory."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False,
    replay: Annotated[bool, typer.Option("--replay", hidden=True)] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take the place of the run of that name; it is removed.")
    ] = False,
    on_oom: options.OnOom = None,
    detach: options.Detach = False,
    name: options.RunName = None,
    model: options.Model = None,
    dataset: options.Dataset = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    node_rank: options.NodeRank = None,
    hardware: options.Hardware = None,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Train: run llamafactory-cli on the rendered files, keep its log, and record the run.

    Without PRESET it trains what `qtune render` wrote last, edits by hand included. Everything goes to
    runs/NAME: the model or adapter, checkpoints, train.log, and the record qtune.json.

    What `qtune doctor` can tell within a second is looked at first, then the data's rows.

    Several nodes (launch.nnodes) run the same command each, with its --node-rank. Node 0 keeps the record,
    the model and the log; each of the others its own part of the log, train-nodeRANK.log.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    from qtune.cli.training import nodes, start
    from qtune.cli.training import replay as replaying
    from qtune.cli.training import resume as resuming
    from qtune.config.presets import DEFAULT
    from qtune.prepare import pipeline, renderings

    how = options.How(force, detach, on_oom, dry_run, as_json)
    start.require_launcher(how, name)
    layers = options.override_layers(model, dataset, assignments, launcher)
    if resume or replay:
        _require_fitting(resume=resume, replay=replay, name=name, overwrite=overwrite, hardware=hardware)
        if resume:
            resuming.resume(preset, layers, node_rank, how)
        elif preset is None:
            raise QtuneError("needs the name of a run", where="--replay", fix="qtune replay RUN")
        else:
            replaying.replay(preset, layers, name, how)
        return
    project, node = here(), options.node_layers(node_rank)
    rendered = renderings.current(project) if preset is None else None
    if rendered is not None:
        if layers or hardware:
            named = renderings.preset_word(project, rendered)
            fix = f"name the preset too, e.g. `qtune train {named} …`, or give them to `qtune render`"
            raise QtuneError(
                "options change what is rendered, and nothing is rendered without a preset", fix=fix
            )
        prepared = start.suited(lambda stack: renderings.read(project, rendered, stack, node), how)
        if changed := renderings.stale_layers(prepared):
            note(f"note: {', '.join(changed)} changed since this was rendered; `qtune render` takes that in")
    else:
        if preset is None:
            note(f"nothing is rendered yet, and no preset named: taking `{DEFAULT}`")
        machine, given = options.hardware_from(hardware), [*layers, *node]
        prepared = start.suited(
            lambda stack: pipeline.prepare(preset or DEFAULT, project, machine, given, stack=stack), how
        )
    if dry_run:
        renders = rendered is None
        start.tell_only(prepared, how, hardware=hardware, name=name, overwrite=overwrite, renders=renders)
        return
    rows = start.look(prepared, how)
    if rendered is None:
        pipeline.write(prepared)
    if prepared.config.get("launch", "node_rank", default=0) > 0:
        nodes.join(prepared, name=name, again=overwrite, detach=detach)
    else:
        start.begin(prepared, how, rows, name=name, overwrite=overwrite)


def _require_fitting(
    *, resume: bool, replay: bool, name: str | None, overwrite: bool, hardware: str | None
) -> None:
    """Raises QtuneError for options that contradict each other."""
    given = {
        "--replay": resume and replay,
        "--name": resume and name is not None,
        "--overwrite": resume and overwrite,
        "--hardware": hardware is not None,  # what was recorded was decided for the hardware then
    }
    other = "--resume" if resume else "--replay"
    for option, wrong in given.items():
        if wrong:
            raise QtuneError(f"does not go with {other}", where=option, fix="leave one of them out")
