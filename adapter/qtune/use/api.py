"""LLaMA-Factory's OpenAI-compatible server over a trained model, as a child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.processes.child import environment
from qtune.use.serving import answers, is_local, reachable, require_free_port, run
from qtune.values import Config


@dataclass(frozen=True)
class Address:
    """Where it listens, and who may ask: everybody who reaches it where `key` is None."""

    host: str
    port: int
    key: str | None

    @property
    def url(self) -> str:
        """What an OpenAI client on this machine takes for its base_url."""
        return f"http://{reachable(self.host)}:{self.port}/v1"


def require_address(address: Address) -> None:
    """Raises QtuneError for a port that is taken, and an open door to other machines."""
    if address.key is not None and not (address.key.isascii() and address.key.isprintable()):
        raise QtuneError("is no key that a request's header could hold", where="--key", fix="use letters")
    if address.key is None and not is_local(address.host):
        raise QtuneError(
            "is reached from other machines, and nothing would ask for a key",
            where=f"--host {address.host}",
            fix="set API_KEY in the environment, or give --key, which asks for it; or leave --host out",
        )
    require_free_port(address.host, address.port)


def serve(
    config: Config,
    project: Project,
    title: str,
    model_name: str,
    address: Address,
    *,
    show: Callable[[bytes], None],
    ready: Callable[[], None],
) -> bool:
    """Serve until it is ended, see `qtune.use.serving.run`.

    model_name: what it calls itself, for clients that list its models.
    """
    variables = {
        **environment(),
        "API_HOST": address.host,
        "API_PORT": str(address.port),
        "API_MODEL_NAME": model_name,
    }
    variables.pop("API_KEY", None)  # it goes by the child's input
    headers = {} if address.key is None else {"Authorization": f"Bearer {address.key}"}
    return run(
        "api",
        config,
        project,
        title,
        variables,
        lambda: answers(address.host, address.port, "/v1/models", headers),
        ready,
        show,
        given=f"{address.key or ''}\n".encode(),
    )
