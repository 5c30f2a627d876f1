"""`api`: an OpenAI-compatible server over what was trained."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note, pass_on
from qtune.errors import QtuneError

if TYPE_CHECKING:
    from qtune.use.api import Address


@command("api", "qtune api lora", "qtune api lora --port 9000")
def api_command(
    run: options.TrainedRun = None,
    host: Annotated[
        str, typer.Option(envvar="API_HOST", help="Where to listen; 0.0.0.0 for other machines too.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="API_PORT", min=1, max=65535)] = 8000,
    ask_for_key: Annotated[
        bool,
        typer.Option("--key", help="Ask for the key that requests must bring (a line of stdin in a script)."),
    ] = False,
    model_name: Annotated[
        str | None, typer.Option(envvar="API_MODEL_NAME", help="What it calls itself; else the run's name.")
    ] = None,
    base: options.Base = False,
    checkpoint: options.Checkpoint = None,
    assignments: options.Settings = None,
    backend: options.Backend = None,
) -> None:
    """Serve a trained model by LLaMA-Factory's own OpenAI-compatible server, until Ctrl-C.

    The key comes from API_KEY in the environment, or from --key, which asks for it: never from the command
    line, which everybody on the machine can read. It is needed where other machines reach the server.

    It answers whatever model a request names.
    """
    from qtune.use.api import Address, require_address, serve
    from qtune.use.infer import infer_config
    from qtune.use.models import find

    project = here()
    trained = find(project, run, checkpoint=checkpoint, base=base, left_out=left_out)
    config = infer_config(trained, assignments or (), backend)
    address = Address(host, port, _key(ask_for_key))
    require_address(address)
    name = model_name or trained.name

    def ready() -> None:
        typer.echo(address.url)
        note(_example(address, name))

    note(f"loading {trained.title}")
    answered = serve(config, project, trained.title, name, address, show=pass_on, ready=ready)
    note("ended")
    raise typer.Exit(0 if answered else 130)


def _key(asked: bool) -> str | None:
    if not asked:
        return os.environ.get("API_KEY") or None
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True))
    key = sys.stdin.readline().strip()
    if not key:
        raise QtuneError(
            "there is no key on stdin", where="--key", fix="set API_KEY instead, or leave it out"
        )
    return key


def _example(address: Address, name: str) -> str:
    """Requests to copy; they name the variable that holds the key, not the key."""
    header = "" if address.key is None else ' -H "Authorization: Bearer $API_KEY"'
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    key = '"none"' if address.key is None else 'os.environ["API_KEY"]'
    return (
        f"answers at {address.url}; Ctrl-C ends it. Try, or with the openai package:\n"
        f"  curl {address.url}/chat/completions -H 'Content-Type: application/json'{header} -d '{body}'\n"
        f'  OpenAI(base_url="{address.url}", api_key={key})'
    )
