"""`webchat`: talk to what was trained, in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note, pass_on


@command("webchat", "qtune webchat", "qtune webchat lora")
def webchat_command(
    run: options.TrainedRun = None,
    host: Annotated[
        str,
        typer.Option(envvar="GRADIO_SERVER_NAME", help="Where to listen; 0.0.0.0 for other machines too."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="GRADIO_SERVER_PORT", min=1, max=65535)] = 7860,
    base: options.Base = False,
    checkpoint: options.Checkpoint = None,
    assignments: options.Settings = None,
    backend: options.Backend = None,
) -> None:
    """Talk to a trained model in a browser, on LLaMA-Factory's own page, until Ctrl-C.

    The page needs no network. Its sliders begin at what -s or the run's config says. It asks nobody for a
    password.
    """
    from qtune.use.infer import infer_config
    from qtune.use.models import find
    from qtune.use.serving import is_local, require_free_port
    from qtune.use.speech import require_speech, require_streaming
    from qtune.use.webchat import address, serve

    project = here()
    trained = find(project, run, checkpoint=checkpoint, base=base, left_out=left_out)
    require_speech(trained)
    config = infer_config(trained, assignments or (), backend)
    require_streaming(config)
    require_free_port(host, port)
    if not is_local(host):
        note(f"note: whoever reaches port {port} of this machine can talk to it; there is no password")

    def ready() -> None:
        typer.echo(address(host, port))
        note("open it in a browser; Ctrl-C ends it")

    note(f"loading {trained.title}")
    answered = serve(config, project, trained.title, host, port, show=pass_on, ready=ready)
    note("ended")
    raise typer.Exit(0 if answered else 130)
