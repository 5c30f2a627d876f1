"""A web page that needs nothing but itself: a template of qtune's own, with every value escaped."""

from __future__ import annotations

from typing import Any

from qtune import resources
from qtune.config.sources import TEMPLATES


def page(name: str, values: dict[str, Any]) -> str:
    """The HTML that the built-in template `name` makes of `values`."""
    from qtune.render.templates import environment  # and with it jinja2, which only making a page needs

    templates = resources.root() / TEMPLATES
    made = environment(lambda file: (templates / file).read_text(encoding="utf-8"))
    return made.get_template(f"{name}.html.j2").render(values)
