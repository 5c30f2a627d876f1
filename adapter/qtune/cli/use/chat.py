"""`chat`: talk to what was trained, at the terminal."""

from __future__ import annotations

import signal

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note
from qtune.errors import ChildFailed


@command("chat", "qtune chat", "qtune chat lora --checkpoint 100")
def chat_command(
    run: options.TrainedRun = None,
    base: options.Base = False,
    checkpoint: options.Checkpoint = None,
    assignments: options.Settings = None,
    backend: options.Backend = None,
) -> None:
    """Talk to a trained model at this terminal: LLaMA-Factory's own `llamafactory-cli chat`.

    There `clear` forgets the conversation, and `exit` or Ctrl-D ends it.
    """
    from qtune.processes import process
    from qtune.processes.child import environment, script
    from qtune.use.infer import infer_config, infer_file
    from qtune.use.models import find
    from qtune.use.speech import require_speech, require_streaming

    project = here()
    trained = find(project, run, checkpoint=checkpoint, base=base, left_out=left_out)
    require_speech(trained)
    config = infer_config(trained, assignments or (), backend)
    require_streaming(config)
    command = script("chat.py")
    with infer_file(config, project, trained.title) as file:
        note(f"loading {trained.title}")
        outcome = process.attach([*command, file], environment(), project.root)
    if outcome.interrupted is not None or outcome.exit_code in (130, -signal.SIGINT):
        raise typer.Exit(130)
    if outcome.exit_code != 0:
        raise ChildFailed(f"llamafactory-cli chat failed, as shown above (exit code {outcome.exit_code})")
