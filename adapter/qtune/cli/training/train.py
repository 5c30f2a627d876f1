"""`train`: run LLaMA-Factory on what was rendered."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from qtune.cli.app import (
    DatasetOption,
    HardwareOption,
    LauncherOption,
    ModelOption,
    SetOption,
    hardware_from,
    here,
    override_layers,
)
from qtune.cli.commands import command
from qtune.cli.complete import preset_names
from qtune.cli.data.check import reading, show_reports
from qtune.cli.output import note, pass_on, report
from qtune.cli.plan import doctor
from qtune.cli.presets.render import stop_on_errors
from qtune.cli.training import nodes
from qtune.cli.training.on_oom import OnOom, OnOomOption, steps_down
from qtune.cli.training.outcome import tell
from qtune.cli.training.resume_view import announce_resumed, set_aside_broken, show_what_differs
from qtune.cli.training.slurm import as_options, submit
from qtune.config.presets import DEFAULT
from qtune.doctor import readiness
from qtune.errors import QtuneError
from qtune.launch.compiled import missing_operations
from qtune.machine.stack import Stack, installed_stack
from qtune.prepare import pipeline, records, renderings
from qtune.prepare.pipeline import Prepared
from qtune.processes import background
from qtune.runs.checkpoints import Checkpoint, bytes_of_complete
from qtune.runs.record import Run
from qtune.training import attempts, resuming, submitting
from qtune.training.attempts import Observer
from qtune.values import Layer

_MOST_GROUPS = 4
_FORCED = "going on all the same (--force)"


@command("train", "qtune train", "qtune train lora -d answers --detach")
def train_command(
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="[PRESET]",
            help="Render this preset first; else train the current rendered directory. A RUN's name with "
            "--resume and --replay.",
            autocompletion=preset_names,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with RUN, or the newest unfinished run, from its newest whole checkpoint."
        ),
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Train what RUN recorded once more, in a new run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take the place of the run of that name; it is removed.")
    ] = False,
    on_oom: OnOomOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in the background; `qtune watch` follows it.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("-n", "--name", help="Name of the run; in use, it gets the next free suffix."),
    ] = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    launcher: LauncherOption = None,
    node_rank: Annotated[
        int | None,
        typer.Option(
            "--node-rank",
            metavar="RANK",
            help="Which of several nodes this one is, from 0 (launch.node_rank).",
        ),
    ] = None,
    hardware: HardwareOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train although this machine or the data would fail it.")
    ] = False,
) -> None:
    """Train: run llamafactory-cli on the rendered files, keep its log, and record the run.

    Without PRESET it trains what `qtune render` wrote last, edits by hand included. Everything goes to
    runs/NAME: the model or adapter, checkpoints, train.log, and the record qtune.json.

    What `qtune doctor` can tell within a second is looked at first, then the data's rows.

    Several nodes (launch.nnodes) run the same command each, with its --node-rank. Node 0 keeps the record,
    the model and the log; each of the others its own part of the log, train-nodeRANK.log.

    Exit code 1 where the training failed, 2 where it could only fail, 130 where Ctrl-C ended it.
    """
    attempts.require_launcher(name)
    project = here()
    layers = override_layers(model, dataset, assignments, launcher)
    node = nodes.node_layers(node_rank)
    if resume or replay:
        _require_fitting(resume=resume, replay=replay, name=name, overwrite=overwrite, hardware=hardware)
        if resume and node_rank:
            _resumed_part(preset, layers, node, force, detach)
        elif resume:
            tell(_resumed(preset, layers, force, detach, on_oom))
        else:
            tell(_replayed(preset, layers, name, force, detach, on_oom))
        return
    rendered = renderings.current(project)
    if preset is None and rendered is not None:
        if layers or hardware:
            fix = f"name the preset too, e.g. `qtune train {rendered} …`, or give them to `qtune render`"
            raise QtuneError(
                "options change what is rendered, and nothing is rendered without a preset", fix=fix
            )
        prepared = _suited(lambda stack: renderings.read(project, rendered, stack, node), force=force)
        changed = renderings.stale_layers(prepared)
        if changed:
            note(f"note: {', '.join(changed)} changed since this was rendered; `qtune render` takes that in")
        rows = _look(prepared, force=force)
    else:
        if preset is None:
            note(f"nothing is rendered yet, and no preset named: taking `{DEFAULT}`")
        machine = hardware_from(hardware)
        prepared = _suited(
            lambda stack: pipeline.prepare(
                preset or DEFAULT, project, machine, [*layers, *node], stack=stack
            ),
            force=force,
        )
        rows = _look(prepared, force=force)
        pipeline.write(prepared)
    if prepared.config.get("launch", "node_rank", default=0) > 0:
        nodes.join(prepared, name=name, again=overwrite, detach=detach)
        return
    command = ("qtune", *sys.argv[1:])
    if submitting.is_submission(prepared):
        submitting.require_accepted(prepared)
    run, prepared = attempts.claim(prepared, name=name, overwrite=overwrite, command=command, rows=rows)
    announce = partial(_announce, run, prepared)
    tell(_carried_out(run, prepared, announce, detach=detach, on_oom=on_oom))


@command("carry-out", hidden=True)
def carry_out_command(
    name: Annotated[str, typer.Argument(metavar="RUN")], on_oom: OnOomOption = None
) -> None:
    """Train a run that was claimed before, from its record alone: what a scheduler's job calls."""
    project = here()
    run = resuming.recorded(project, name)
    prepared = records.read_record(project, run.directory, resuming.layers(run), stack=installed_stack())
    stop_on_errors(prepared)
    announce = partial(_announce, run, prepared)
    tell(_carried_out(run, prepared, announce, detach=False, on_oom=on_oom))


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
    for option in (option for option, wrong in given.items() if wrong):
        other = "--resume" if resume else "--replay"
        raise QtuneError(f"does not go with {other}", where=option, fix="leave one of them out")


def _resumed(name: str | None, options: list[Layer], force: bool, detach: bool, on_oom: OnOom | None) -> Run:
    """Go on with a run, under the values of `options`; what differs from what was recorded needs `force`."""
    project = here()
    run = resuming.find(project, name)
    layers = resuming.layers(run, options)
    prepared = _suited(
        lambda stack: records.read_record(project, run.directory, layers, stack=stack), force=force
    )
    found = resuming.look(run, prepared, options)
    if show_what_differs(found):
        _stop("a new run takes any values: `qtune train PRESET`", force=force)
    _look(prepared, force=force, held=bytes_of_complete(run.directory, prepared.config))

    def begin() -> None:
        set_aside_broken(found)
        announce_resumed(found)

    return _carried_out(
        run,
        prepared,
        begin,
        detach=detach,
        on_oom=on_oom,
        checkpoint=found.checkpoint,
        changes=found.changes,
        in_job=("train", "--resume", run.name, *as_options(options), *(["--force"] if force else [])),
    )


def _resumed_part(
    name: str | None, options: list[Layer], node: list[Layer], force: bool, detach: bool
) -> None:
    """Join a run that node 0 goes on with, or will: from the checkpoint that both find, on a shared disk."""
    project = here()
    if name is None:
        raise QtuneError(
            "needs the name of the run", where="--node-rank", fix="qtune train --resume RUN --node-rank …"
        )
    run = resuming.recorded(project, name)
    layers = [*resuming.layers(run, options), *node]
    prepared = _suited(
        lambda stack: records.read_record(project, run.directory, layers, stack=stack), force=force
    )
    found = resuming.look(run, prepared, options)
    _look(prepared, force=force)
    nodes.join(prepared, name=run.name, again=True, detach=detach, checkpoint=found.checkpoint)


def _replayed(
    name: str | None,
    options: list[Layer],
    new_name: str | None,
    force: bool,
    detach: bool,
    on_oom: OnOom | None,
) -> Run:
    """Train what a run recorded in a new one, and say what differs today."""
    project = here()
    if name is None:
        raise QtuneError("needs the name of a run", where="--replay", fix="qtune train --replay RUN")
    first = resuming.recorded(project, name)
    prepared = _suited(
        lambda stack: records.read_record(project, first.directory, options, stack=stack), force=force
    )
    rows = _look(prepared, force=force)
    differing = resuming.differing_facts(first, prepared)
    note(f"replaying {first.name}; " + ("differing today:" if differing else "nothing differs today"))
    for line in differing:
        note(f"  {line}")
    command = ("qtune", *sys.argv[1:])
    if submitting.is_submission(prepared):
        submitting.require_accepted(prepared)
    run, prepared = attempts.claim(prepared, name=new_name or first.name, command=command, rows=rows)
    announce = partial(_announce, run, prepared)
    return _carried_out(run, prepared, announce, detach=detach, on_oom=on_oom)


def _carried_out(
    run: Run,
    prepared: Prepared,
    announce: Callable[[], None],
    *,
    detach: bool,
    on_oom: OnOom | None = None,
    checkpoint: Checkpoint | None = None,
    changes: Mapping[str, Any] | None = None,
    in_job: Sequence[str] = (),
) -> Run:
    """Train it to its end, showing all of it; with `detach` in the background, leaving with exit code 0.

    in_job: what to call qtune with in a Slurm job, where that has to give it nodes; else to carry it out.
    """
    if submitting.is_submission(prepared):
        memory = ("--on-oom", on_oom) if on_oom else ()
        submit(run, prepared, (*(in_job or ("carry-out", run.name)), *memory))
    well = background.fork(run.log) if detach else None
    if detach and well is None:
        note("training in the background")
        note(f"`qtune watch {run.name}` follows it, `qtune stop {run.name}` stops it")
        typer.echo(str(run.directory))
        raise typer.Exit

    def begin(run: Run, kept: bool) -> None:
        announce()
        if not kept:
            note("the file system of the run keeps no locks: nothing keeps another qtune from this run")
        if well is not None:
            well()

    # in the background the log is the terminal
    observer = Observer(
        begin, pass_on if well is None else lambda output: None, _stopping, partial(steps_down, on_oom)
    )
    return attempts.carry_out(run, prepared, observer, checkpoint=checkpoint, changes=changes)


def _suited(prepare: Callable[[Stack | None], Prepared], *, force: bool) -> Prepared:
    """The config checked for what is installed here; with `force` for any machine where it fails on this one.

    Leaves with exit code 2 where there is an error.
    """
    prepared = prepare(installed_stack())
    if prepared.errors and force:
        anywhere = prepare(None)
        if not anywhere.errors:
            report(prepared.findings)
            note(_FORCED)
            return anywhere
    stop_on_errors(prepared)
    return prepared


def _look(prepared: Prepared, *, force: bool, held: int = 0) -> dict[str, int]:
    """At the machine, then at the data's rows; how many each dataset has.

    held: bytes of its checkpoints that are there already. Leaves with exit code 2 where the training can only
    fail.
    """
    lines = readiness.preflight(prepared, held)
    doctor.show(lines, numbered=False, err=True)
    if any(line.level == "failure" for line in lines):
        _stop("`qtune doctor` looks closer", force=force)
    with reading(prepared.sources) as progress:
        reports = pipeline.check_rows(prepared, progress)
    show_reports([item for item in reports if item.groups], _MOST_GROUPS, err=True)
    if any(item.errors for item in reports):
        _stop("`qtune data check NAME --fix OUT` writes the good rows", force=force)
    return {item.name: item.rows for item in reports}


def _stop(what_helps: str, *, force: bool) -> None:
    """Leave with exit code 2, unless forced to go on."""
    if not force:
        note(f"nothing was started; {what_helps}, `--force` trains all the same")
        raise typer.Exit(2)
    note(_FORCED)


def _announce(run: Run, prepared: Prepared) -> None:
    note(f"training {prepared.config.name} for {prepared.hardware} into {run.directory}")
    steps = prepared.steps
    if steps is not None:
        note(f"{steps.total} steps of {steps.effective_batch} rows (batch x processes x accumulation)")
    nodes.tell_who_is_awaited(run, prepared.config)
    missing = missing_operations(prepared.config, prepared.hardware)
    if missing:
        note(f"DeepSpeed compiles {' and '.join(missing)} first: a few minutes without output, this once")


def _stopping(number: int) -> None:
    name = signal.Signals(number).name
    note(f"{name}: stopping at the next step, with a checkpoint; Ctrl-C again ends it now, without")
