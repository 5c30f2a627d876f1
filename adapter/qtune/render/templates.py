"""Templates: which file a name means among the sources, and its text, made within bounds.

A template may come from others. It lays values out; it reaches no attribute of theirs that could do more, no
file outside its source, and neither the machine's memory nor its time.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from qtune.config.sources import TEMPLATES, Source, built_in
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, dump_yaml
from qtune.sandbox import Sandbox, TooMuch, bounded, fill
from qtune.values import Layer

LAYER = "template"
SCRIPTS = "launch/"


class Templates:
    """The templates of an ordered list of sources; the first source that has a name wins.

    sources: the project's, in order; the built-in ones come after them.
    """

    def __init__(self, sources: Sequence[Source], project_root: Path) -> None:
        self._sources = (*sources, built_in())
        self._project_root = project_root
        self._used: dict[str, str] = {}
        self._environments = {
            # an included file is part of the script
            SCRIPTS: environment(lambda name: self._read(name, own=True)),
            "": environment(lambda name: self._read(name, own=False)),
        }

    @property
    def used(self) -> tuple[Layer, ...]:
        """The files that texts were made from so far, with their hashes and no values."""
        return tuple(Layer(LAYER, {}, place, hashed) for place, hashed in sorted(self._used.items()))

    def text(self, name: str, values: Mapping[str, Any], *, own: bool = False) -> str:
        """The text that the template makes of `values`; own: the project's or qtune's, whoever comes first.

        Raises QtuneError for a template that is broken, fails, or goes beyond its bounds.
        """
        environment = self._environments[SCRIPTS if own or name.startswith(SCRIPTS) else ""]
        where = self.place(name)
        try:
            with bounded():
                return fill(environment.get_template(name), values)
        except jinja2.TemplateSyntaxError as error:
            place = f"{self.place(error.name or name)}:{error.lineno}"
            raise QtuneError(f"broken template: {error.message}", where=place, fix="mend that line") from None
        except TooMuch as error:
            fix = "make it smaller: it only has to lay values out"
            raise QtuneError(f"the template {error}", where=where, fix=fix) from None
        except QtuneError:
            raise
        except Exception as error:  # a template may call any filter with any value
            missing = isinstance(error, jinja2.TemplateNotFound)
            reason = f"there is no template `{error}`" if missing else " ".join(str(error).split())
            raise QtuneError(
                f"the template fails: {reason}",
                where=where,
                fix="use only what qtune gives it",
            ) from None

    def place(self, name: str) -> str:
        """The file that `name` means, as messages show it; `templates/NAME` where there is none."""
        for source, path in self._candidates(name):
            if path.is_file():
                return source.display(path, self._project_root)
        return f"{TEMPLATES}/{name}"

    def is_from_others(self, name: str) -> bool:
        """Whether the template that `name` means belongs neither to the project nor to qtune."""
        return next((not source.own for source, path in self._candidates(name) if path.is_file()), False)

    def _candidates(self, name: str) -> Iterator[tuple[Source, Path]]:
        if ".." not in name.split("/") and not name.startswith("/"):
            for source in self._sources:
                if source.templates is not None:
                    yield source, source.templates / name

    def _read(self, name: str, *, own: bool) -> str | None:
        for source, path in self._candidates(name):
            if not source.has(path, self._project_root):
                continue
            place = source.display(path, self._project_root)
            if not source.own and name.startswith(SCRIPTS):
                raise script_from_others(place)
            if own and not source.own:
                continue
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise QtuneError(
                    f"is larger than {MAX_BYTES:,} bytes", where=place, fix="this is no template"
                )
            self._used[place] = hashlib.sha256(raw).hexdigest()
            try:
                return raw.decode("utf-8")
            except UnicodeDecodeError:
                raise QtuneError("is not UTF-8 text", where=place, fix="save the file as UTF-8") from None
        return None


def script_from_others(place: str) -> QtuneError:
    """The error for a template of a shell script that is neither the project's nor qtune's own."""
    return QtuneError(
        "is the template of a script, and presets from others bring no code",
        where=place,
        fix=f"read it, then put it into {TEMPLATES}/{SCRIPTS} of this project, beside its own presets",
    )


def environment(read: Callable[[str], str | None]) -> jinja2.Environment:
    """What templates run in; read: the text of the template of a name, None where there is none."""
    made = Sandbox(
        loader=jinja2.FunctionLoader(read),
        undefined=jinja2.StrictUndefined,  # no undefined name passes as empty text
        keep_trailing_newline=True,
        # other files are YAML, JSON and shell, where each value goes through a filter of theirs
        autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
    )
    made.filters |= {
        "to_yaml": dump_yaml,
        "to_json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "shell_quote": lambda value: shlex.quote(str(value)),
        "one_line": lambda value: " ".join(str(value).split()),
    }
    return made
