"""A driver that tells what a test wants it to, in place of the module `pynvml`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class Nvml(SimpleNamespace):
    """Stands in for the module `pynvml`: one GPU, of which the driver tells what `known` holds."""

    class NVMLError(Exception):
        pass

    def __init__(self, **known: Any) -> None:
        super().__init__(known=known)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def asked(*arguments: Any) -> Any:
            if name not in self.known:
                raise self.NVMLError("Not Supported")
            answer = self.known[name]
            return answer(*arguments) if callable(answer) else answer

        return asked


DRIVER: dict[str, Any] = {
    "nvmlInit": None,
    "nvmlShutdown": None,
    "nvmlDeviceGetCount": 2,
    "nvmlDeviceGetHandleByIndex": lambda index: index,
    "nvmlSystemGetDriverVersion": "570.124.06",
    "nvmlSystemGetCudaDriverVersion_v2": 12080,
}
