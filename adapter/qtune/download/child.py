"""The child that speaks to a hub: its answers, and its refusals as errors with the fix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qtune.download.request import Request
from qtune.errors import ChildFailed, QtuneError
from qtune.processes import child, process

_KEPT = "what was fetched is kept: run it again to go on"
_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "30"}
_LOG_IN = {"huggingface": "hf auth login", "modelscope": "modelscope login"}


def speak(
    request: Request, more: Mapping[str, Any], hear: Callable[[int], None] = lambda here: None
) -> dict[str, Any]:
    """What the hub answers (see children/download.py); hear: called with the bytes that are here.

    Raises QtuneError where the request cannot be carried out, ChildFailed where something failed on the way,
    KeyboardInterrupt where qtune was told to end.
    """
    script, asked = child.script("download.py", _python()), {**request.to_plain(), **more}
    answer: dict[str, Any] = child.ask(script, asked, "the download failed", hear=hear, variables=_QUIET)
    if "error" in answer:
        raise _error(request, answer["error"], answer["detail"])
    return answer


def _python() -> Path:
    """The training's, whose libraries these are; where there is none, our own."""
    try:
        return process.find_python()
    except QtuneError:
        return Path(sys.executable)


def _error(request: Request, kind: str, detail: str) -> Exception:
    subject, endpoint = f"{request.id}: ", request.endpoint
    what = "data set" if request.kind == "dataset" else "model"
    log_in = f"log in with `{_LOG_IN[request.hub]}`"
    if kind == "package":
        fix = f"pip install {detail}, or all that a training needs: pip install 'qtune[train]'"
        return QtuneError(f"the hub's library, `{detail}`, is not installed here", fix=fix)
    refused = {
        "gated": ("its owner gives it only to those who asked", f"ask at {request.page}, then {log_in}"),
        "missing": (
            f"{endpoint} has no such {what}, or only for those who are logged in",
            f"correct the id (owner/name); for a private one {log_in}",
        ),
        "revision": (
            f"has no revision `{request.revision}`",
            "name a branch, a tag or a commit with --revision",
        ),
        "login": ("the hub refuses who is asking", f"{log_in}; a token needs the right to read it"),
        "subset": (
            f"consists of several data sets: {detail}",
            "register the one you want, `qtune data add ID --subset NAME -n MINE`, then download MINE",
        ),
        "id": ("is no id of a hub", "such as Qwen/Qwen2.5-0.5B-Instruct"),
        "permission": (f"{request.cache} cannot be written to", "mend its permissions, or set HF_HOME"),
    }
    if kind in refused:
        says, fix = refused[kind]
        return QtuneError(says, where=request.id, fix=fix)
    failed = {
        "unreachable": (
            f"{endpoint} cannot be reached ({detail})",
            f"--mirror URL or --hub for another hub, HTTPS_PROXY for a proxy; {_KEPT}",
        ),
        "no hub": (
            f"what answers at {endpoint} is no such hub ({detail})",
            "correct the mirror's URL; a proxy or a log-in page may answer in its place",
        ),
        "checksum": (
            f"{detail} is not what the hub says it is (wrong checksum), and was removed",
            "run it again; where it stays so, the mirror is wrong: leave --mirror out, or name another",
        ),
        "disk": (f"the disk of {request.cache} is full", f"free some space; {_KEPT}"),
        "moved": ("changed on the hub meanwhile", "run it again"),
    }
    says, fix = failed.get(kind, (f"the hub's library failed: {detail}", _KEPT))
    return ChildFailed(f"{subject}{says}\n  fix: {fix}")
