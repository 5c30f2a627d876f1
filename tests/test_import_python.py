"""Python source as calls: literals are known, what only a run would tell is not; nothing is run."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.errors import QtuneError
from qtune.importing.python import PythonCall, Unknown, plain, python_calls, unknowns, why_unknown
from qtune.values import Origin


def calls(text: str) -> list[PythonCall]:
    return python_calls(text, lambda line: Origin("original", "a.py", line))


def argument(text: str) -> Any:
    """The plain first argument of the call of f."""
    (found,) = (call for call in calls(text) if call.name == "f")
    return plain(found.positional[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("f(1e-4)", 1e-4),
        ("f(-2)", -2),
        ("f(not True)", False),
        ("f([1, 'a', None])", [1, "a", None]),
        ("f(dict(a=1, b=dict(c=2)))", {"a": 1, "b": {"c": 2}}),
        ("a = {'x': 1}\nf({**a, 'y': 2})", {"x": 1, "y": 2}),
        ("a = {'x': 1}\nf(a | dict(x=3))", {"x": 3}),
        ("a = {'x': 1}\na |= {'y': 2}\nf(a)", {"x": 1, "y": 2}),
        ("a = {}\na['x'] = 1\nf(a)\na['x'] = 2", {"x": 1}),
        ("a = dict(x=1, y=2)\na.pop('x')\ndel a['y']\na.update(z=3)\nf(a)", {"z": 3}),
        ("a = {'x': 1}\nf(a['x'])", 1),
        ("a = {'x': 1}\nb = a\nb['x'] = 2\nf(a)", {"x": 2}),
        ("n = 'm'\nr = 8\nf(f'out/{n}-r{r}')", "out/m-r8"),
        ("a, b = 1, 2\nf(b)", 2),
        ("class C:\n    r = 8\nf(2 * 8 + 2 ** 3)", 24),
        ("from pathlib import Path\nf(str(Path('a') / 'b'))", "a/b"),
        ("import os\nf(os.path.join('a', 'b'))", "a/b"),
        ("import os\nf(os.environ.get('M', 'small'))", "small"),
        ("f('a b'.split() + ['c'])", ["a", "b", "c"]),
        ("f(','.join(['q', 'v']))", "q,v"),
        ("def g():\n    f(later)\nlater = 3", 3),
        ("if __name__ == '__main__':\n    a = 4\n    f(a)", 4),
        ("if __name__ == \"__main__\":\n    f(5)", 5),
        ("with open('a') as s:\n    a = 1\nf(a)", 1),
        ("try:\n    a = 1\nexcept OSError:\n    pass\nf(a)", 1),
    ],
)  # fmt: skip
def test_what_literals_say_is_known(text: str, value: Any) -> None:
    assert argument(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("f(x)", "`x` is known only when the program runs"),
        ("if c:\n    a = 1\nf(a)", "`a` is set only under a condition, at a.py:2"),
        ("for a in [1, 2]:\n    f(a)", "it changes with the loop at a.py:1"),
        ("def g(a):\n    f(a)", "`a` is given where `g` is called"),
        ("f(sum([1]))", "`sum(…)` is known only when the program runs"),
        ("a = input()\nf(f'out/{a}')", "`a` is known only when the program runs"),
        ("f([x for x in y])", "`[x for x in y]` is known only when the program runs"),
        ("f('a' * 3)", "`'a' * 3` is known only when the program runs"),
        ("f(10 ** 15 * 10 ** 15)", "`10 ** 15 * 10 ** 15` is known only when the program runs"),
    ],
)
def test_what_only_a_run_would_tell_is_not(text: str, why: str) -> None:
    call = next(call for call in calls(text) if call.name == "f")
    ((_, found),) = unknowns(call.positional[0])
    assert why_unknown(found) == why


def test_one_unknown_key_leaves_the_others_known() -> None:
    text = "a = dict(r=8,\n         lr=float(lr()))\nif c:\n    a['r'] = 4\n    a.update(x=1)\nf(a)"
    call = next(call for call in calls(text) if call.name == "f")
    found = {key: (value.origin.line, why_unknown(value)) for key, value in unknowns(call.positional[0])}
    assert found["r"] == (4, "`a['r']` is set only under a condition, at a.py:4")
    assert found["lr"] == (2, "`float(lr())` is known only when the program runs")
    assert found["x"][1] == "it is set only under a condition, at a.py:5"


def test_a_call_has_its_name_its_keywords_and_their_lines() -> None:
    text = "model, tok = Fast.load(\n    name='m',\n    bits=4,\n)\nopen('a', 'w').write('x')\nmodel.fit(r=8)"
    load, opened, written, fit = calls(text)
    assert (load.name, load.function, load.origin.line) == ("Fast.load", "load", 1)
    assert {key: (value.value, value.origin.line) for key, value in load.keywords.items()} == {
        "name": ("m", 2),
        "bits": (4, 3),
    }
    assert written.name == "open().write" and written.of is not None and written.of.value == opened
    assert fit.of is not None and fit.of.value == load


def test_an_argument_that_a_call_made_is_that_call() -> None:
    config, trainer = calls("Trainer(args=Config(lr=1))")
    assert trainer.keywords["args"].value == config
    assert isinstance(plain(calls("Trainer(args=x)")[0].keywords["args"]), Unknown)


def test_the_environment_that_is_set_is_a_call() -> None:
    (call,) = calls("import os\nos.environ['A'] = '1'")
    assert (call.name, plain(call.keywords["A"]), call.origin.line) == ("os.environ.update", "1", 2)


def test_what_is_no_python_is_said_with_its_line() -> None:
    with pytest.raises(QtuneError, match="is no Python") as error:
        calls("a = 1\nprint 'x'\n")
    assert error.value.where == "a.py:2"


def test_what_grows_with_each_line_is_refused() -> None:
    doubling = "a = [1]\n" + "a = [a, a]\n" * 20
    with pytest.raises(QtuneError, match="too large, to read"):
        calls(doubling + "f(a)")
