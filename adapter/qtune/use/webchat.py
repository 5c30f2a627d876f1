"""LLaMA-Factory's chat page over a trained model, as a child process."""

from __future__ import annotations

from collections.abc import Callable

from qtune.config.project import Project
from qtune.processes.child import environment
from qtune.use.serving import answers, reachable, run
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
) -> bool:
    """Serve the page until it is ended, see `qtune.use.serving.run`."""
    variables = {
        **environment(),
        "GRADIO_SERVER_NAME": host,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",  # which also asks for the newest version
        "GRADIO_SHARE": "0",
    }
    return run(
        "webchat", config, project, title, variables, lambda: answers(host, port, "/", {}), ready, show
    )
