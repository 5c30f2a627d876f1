"""Findings about thoughts: what a reasoning template does with those of the first row of each dataset.

`qtune data check` and a training look at all rows, and count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qtune.data.attributes import attributes
from qtune.data.file_types import JSON_SUFFIXES
from qtune.data.flaws import Flaw
from qtune.data.peek import first_row
from qtune.data.registrations import Registration, names_in
from qtune.data.rows.thoughts import ThoughtCheck
from qtune.errors import QtuneError
from qtune.schema.chat_templates import ChatTemplate, configured
from qtune.values import Config, Finding

_UNLIKE_A_ROW = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What converting a row ends with that the training would stop at; `data check` names the reason."""


def check_thoughts(config: Config, registrations: Mapping[str, Registration]) -> list[Finding]:
    """A warning for each flaw of a first row; none where the template has no thoughts."""
    template = configured(config.block("train"))
    if template is None or not template.reasons:
        return []
    origin = config.origin("train", "dataset")
    return [
        Finding(
            "warning",
            "dataset",
            f"in the first row of `{name}` {flaw.message}",
            f"`qtune data check {name}` counts such rows, and says what to do",
            origin,
        )
        for name in dict.fromkeys(names_in(config.get("train", "dataset")))
        if name in registrations
        for flaw in _flaws(registrations[name], config, template)
    ]


def _flaws(registration: Registration, config: Config, template: ChatTemplate) -> Iterator[Flaw]:
    file = next(iter(registration.files), None)
    if file is None or file.suffix not in JSON_SUFFIXES:
        return
    last_alone = bool(config.argument("mask_history"))
    names, stage = attributes(registration), config.argument("stage")
    check = ThoughtCheck(names, stage, template, last_alone, registration.name)
    try:
        yield from check.flaws(first_row(file))
    except (QtuneError, *_UNLIKE_A_ROW):
        return
