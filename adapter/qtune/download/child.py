"""The child that speaks to a hub: its answers, and its refusals as errors with the fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtune.download.request import Request
from qtune.errors import ChildFailed, QtuneError
from qtune.files import table_beside
from qtune.processes import child, process

_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "30"}
_LOG_IN = {"huggingface": "hf auth login", "modelscope": "modelscope login"}


def speak(
    request: Request, more: Mapping[str, Any], hear: Callable[[int], None] = lambda here: None
) -> dict[str, Any]:
    """What the hub answers (see children/download.py); hear: called with the bytes that are here.

    Raises QtuneError where the request cannot be carried out, ChildFailed where something failed on the way,
    KeyboardInterrupt where qtune was told to end.
    """
    script, asked = child.script("download.py", process.likely_python()), {**request.to_plain(), **more}
    answer: dict[str, Any] = child.ask(script, asked, "the download failed", hear=hear, variables=_QUIET)
    if "error" in answer:
        raise _error(request, answer["error"], answer["detail"])
    return answer


def _error(request: Request, kind: str, detail: str) -> Exception:
    names = {
        **request.to_plain(),
        "endpoint": request.endpoint,
        "page": request.page,
        "what": "data set" if request.kind == "dataset" else "model",
        "log_in": f"log in with `{_LOG_IN[request.hub]}`",
        "detail": detail,
        "kept": "what was fetched is kept: run it again to go on",
    }
    row = table_beside(__file__, "refusals.yaml")[kind]
    where = None if kind == "package" else request.id
    error = QtuneError(row["says"].format(**names), where=where, fix=row["fix"].format(**names))
    return error if row.get("refused") else ChildFailed(str(error))
