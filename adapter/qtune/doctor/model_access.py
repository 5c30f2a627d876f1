"""Verdicts on the hub, and on whether the model is here already."""

from __future__ import annotations

from qtune.doctor.line import Line
from qtune.doctor.needs import Needs
from qtune.machine.hub import Cached, Hub

_NAMES = {"huggingface": "Hugging Face's hub", "modelscope": "ModelScope"}
_MIRRORS = {
    "huggingface": "set `hub.mirror` in qtune.yaml or HF_ENDPOINT to a mirror, HTTPS_PROXY to a proxy, or "
    "USE_MODELSCOPE_HUB=1",
    "modelscope": "set `hub.mirror` in qtune.yaml or MODELSCOPE_ENDPOINT to a mirror, or HTTPS_PROXY to a "
    "proxy",
}


def hub_line(hub: Hub, unreachable: str | None, needs: Needs, cached: Cached | None) -> Line:
    """unreachable: why nothing answers there, None where something does; cached: of a hub's model."""
    subject = "hub"
    name = f"{_NAMES[hub.name]}{', by the mirror' if hub.is_mirror else ''} {hub.endpoint}"
    if hub.offline is not None:
        return Line(subject, "ok", f"not asked, since {hub.offline} is set")
    if unreachable is None:
        return Line(subject, "ok", f"{name} answers")
    says = f"{name} does not answer: {unreachable}"
    if needs.hub_data or (cached is not None and not cached.whole):
        return Line(subject, "failure", says, _MIRRORS[hub.name])
    if cached is not None:
        fix = "set HF_HUB_OFFLINE=1, so that nothing waits for it" if hub.name == "huggingface" else None
        return Line(subject, "warning", f"{says}; the model is in the cache", fix or _MIRRORS[hub.name])
    return Line(subject, "ok", f"{says}; {needs.config} takes nothing from it")


def model_line(hub: Hub, needs: Needs, cached: Cached | None) -> Line:
    """cached: None where the model is a directory, or none is named."""
    subject = "model"
    if cached is None or needs.model is None:
        return Line(subject, "ok", "a directory of this machine, which `qtune check` looks at")
    if cached.whole:
        return Line(subject, "ok", f"{needs.model} lies in {cached.path}")
    if cached.path is None:
        says = f"{needs.model} is not in the cache {hub.cache}"
    else:
        lacks = ", ".join(cached.missing[:3]) + (", …" if len(cached.missing) > 3 else "")
        says = f"{needs.model} is only partly in the cache {hub.cache}: {lacks} missing"
    if hub.offline is not None:
        allow = f"unset {hub.offline} or `hub.offline` of qtune.yaml"
        fix = f"{allow}, or fetch it where there is a network: qtune download {needs.model}"
        return Line(subject, "failure", f"{says}, and {hub.offline} forbids to fetch it", fix)
    return Line(subject, "ok", f"{says}: the training downloads it")
