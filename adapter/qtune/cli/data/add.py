"""`data add`: look at data and register it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.group import PRESETS
from qtune.cli.data.registry import add_registry
from qtune.cli.data.token_view import legend, marked
from qtune.cli.output import note, print_json
from qtune.config.names import valid_name
from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.units import counted

if TYPE_CHECKING:  # read by this command alone, and by no other's start
    from qtune.data.adding.look import Examined, Found
    from qtune.data.rows.examples import Example

_MOST_SHOWN = 300
_MOST_FLAWS = 3
_DONE = {
    "refused": "LLaMA-Factory refuses the file",
    "crash": "the training stops there",
    "dropped": "left out of the training",
    "kept": "trained on as it is",
}


@command(
    "data add",
    "qtune data add answers.jsonl",
    "qtune data add tickets.csv --columns prompt=customer_question,response=agent_reply",
    "qtune data add owner/data-set",
)
def add_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file, a folder of shards, a hub's id (owner/name), or LLaMA-Factory's dataset_info.json.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("-n", "--name", help="The dataset's name; else that of the file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the registration that has the name already.")
    ] = False,
    hub: Annotated[
        Literal["huggingface", "modelscope"] | None,
        typer.Option(help="Where a hub's id is from; else what USE_MODELSCOPE_HUB says."),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Of a hub's data set.")] = None,
    split: Annotated[str | None, typer.Option(help="Of a hub's data set; else train.")] = None,
    folder: Annotated[str | None, typer.Option(help="Of a hub's data set.")] = None,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Train on so many rows, drawn at random.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NAME,…", help="Which column is what, by dataset_info.json's keys."),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NAME,…", help="The same for the keys and roles of messages."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, write nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Look at data and register it in data/datasets.yaml: format, columns and roles are recognised.

    JSON, JSONL, CSV, Parquet, Arrow and text files, folders of one kind of them, data sets of Hugging Face
    and ModelScope. A dataset_info.json is taken over whole.
    """
    from qtune.data.adding.hub_data import HubData, is_hub_id
    from qtune.data.adding.look import examine, find_local, find_on_hub
    from qtune.data.adding.named import Named, read_named
    from qtune.data.adding.register import add_entries, name_of, refuse_taken
    from qtune.importing.registry import registry_at
    from qtune.machine.hub import default_hub

    project, named = here(), read_named(columns or (), tags or ())
    path = Path(source).expanduser()
    registry = registry_at(path)  # or LLaMA-Factory's own data directory
    of_hub = {"--hub": hub, "--subset": subset, "--split": split, "--folder": folder}
    given = [option for option, value in of_hub.items() if value is not None]
    if path.exists() and given:
        raise QtuneError(f"{given[0]} is for a hub's data set", where=source, fix=f"leave {given[0]} out")
    if path.exists() and registry is not None:
        if name is not None or num_samples is not None or named != Named():
            fix = "leave out -n, --num-samples, --columns and --tags"
            raise QtuneError("has many datasets, with names of their own", where=source, fix=fix)
        add_registry(project, registry, force=force, dry_run=dry_run, as_json=as_json)
        return
    if not path.exists() and hub is None and not is_hub_id(source):
        fix = "correct the path; a hub's id is owner/name"
        raise QtuneError("there is no such file", where=source, fix=fix)
    asked = [str(path) if path.exists() else source, *(["--force"] if force else [])]
    for option, value in {**of_hub, "-n": name, "--num-samples": num_samples}.items():
        asked += [option, str(value)] if value is not None else []
    name = name_of(source) if name is None else valid_name(name, "dataset")
    refuse_taken(project, [name], force=force)  # before a long look
    if path.exists():
        found = find_local(path, project, named, asked)
    else:
        found = find_on_hub(HubData(source, hub or default_hub(), subset, split, folder), named, asked)
    entry = {**found.entry} if num_samples is None else {**found.entry, "num_samples": num_samples}
    examined = examine(found, project)
    if not dry_run:
        add_entries(project, {name: entry}, force=force)
    if as_json:
        _tell_json(name, entry, found, examined)
    else:
        _tell(project, name, entry, found, examined)
    if dry_run:
        note("nothing was written (--dry-run)")
    elif found.proposal:
        preset = PRESETS[found.proposal.stage]
        note(f"next: `qtune data check {name}`, then `qtune train {preset} -d {name}`")


def _tell(project: Project, name: str, entry: Mapping[str, Any], found: Found, examined: Examined) -> None:
    from qtune.data.adding.register import entries_text

    if found.proposal and found.head:
        count = counted(len(found.head.rows), "row")
        typer.echo(f"{found.proposal}; {count if found.head.whole else f'the first {count} were looked at'}")
        if found.proposal.unused:
            typer.echo(f"not used: {', '.join(found.proposal.unused)}")
        typer.echo()
    typer.echo(entries_text({name: entry}))
    if pieces := _as_the_model_sees_it(project, found, examined.example):
        typer.echo(f"the first sample as the model sees it ({legend()}):")
        whole = "".join(marked(_shortened(text), trained) for text, trained in pieces)
        typer.echo("  " + whole.strip("\n").replace("\n", "\n  ") + "\n")
    elif examined.example:
        typer.echo("the first sample:")
        for role, text in examined.example.said(bool(entry.get("ranking"))):
            typer.echo(f"  {role}: " + _shortened(text).replace("\n", "\n    "))
        typer.echo()
    for line in found.notes:
        note(line)
    for flaw, times in examined.flaws[:_MOST_FLAWS]:
        note(f"{times:,} of these rows: {flaw.message} ({_DONE[flaw.effect]})")


def _tell_json(name: str, entry: Mapping[str, Any], found: Found, examined: Examined) -> None:
    said = examined.example.said(bool(entry.get("ranking"))) if examined.example else ()
    print_json(
        {
            "name": name,
            "entry": entry,
            "recognised": found.proposal and str(found.proposal),
            "stage": found.proposal and found.proposal.stage,
            "unused": found.proposal and found.proposal.unused,
            "rows": len(found.head.rows) if found.head and found.head.whole else None,
            "notes": found.notes,
            "flaws": [{**asdict(flaw), "rows": count} for flaw, count in examined.flaws],
            "sample": [{"role": role, "content": text} for role, text in said],
        }
    )


def _as_the_model_sees_it(
    project: Project, found: Found, example: Example | None
) -> list[tuple[str, bool]] | None:
    """Its text with what is trained on, None where roles tell more, or the template is not known."""
    from qtune.data.lengths.chat import as_text, chat_for
    from qtune.data.lengths.tokens import load_tokenizer
    from qtune.machine.hardware import Hardware
    from qtune.prepare import renderings

    if example is None or found.proposal is None or found.proposal.stage != "sft":
        return None
    try:
        train = renderings.examine(project, None, Hardware()).config.block("train")
        chat = chat_for(train)
        tokenizer = load_tokenizer(train, chat.template, project.root)
    except QtuneError:
        return None  # no model is named yet, or `tokenizers` is not installed
    return as_text(example, chat, tokenizer.bos, tokenizer.eos) if chat.is_exact(example) else None


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({counted(len(text), 'character')})"
