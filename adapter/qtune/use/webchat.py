"""LLaMA-Factory's chat page over a trained model, as a child process."""

from __future__ import annotations

from collections.abc import Callable

from qtune.config.project import Project
from qtune.processes import process
from qtune.processes.child import environment, script
from qtune.processes.process import Outcome
from qtune.use.infer import infer_file
from qtune.use.serving import answers, reachable
from qtune.values import Config


def address(host: str, port: int) -> str:
    """What a browser on this machine opens."""
    return f"http://{reachable(host)}:{port}"


def serve(
    config: Config,
    project: Project,
    title: str,
    host: str,
    port: int,
    *,
    show: Callable[[bytes], None],
    ready: Callable[[], None],
) -> Outcome:
    """Serve the page until it is ended; raises QtuneError where LLaMA-Factory is not installed."""
    command = script("webchat.py")
    variables = {
        **environment(),
        "GRADIO_SERVER_NAME": host,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",  # which also asks for the newest version
        "GRADIO_SHARE": "0",
    }
    with infer_file(config, project, title) as file:
        return process.serve(
            [*command, file],
            variables,
            project.root,
            show=show,
            answers=lambda: answers(host, port, "/", {}),
            ready=ready,
        )
