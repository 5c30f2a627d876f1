"""Python source as the calls that it makes, with what is written out in it: read by `ast`, never run.

Statements are followed in their order, a function's after the module's. A value that only the running
program has is an `Unknown`, and the rest is known all the same.
"""

from __future__ import annotations

import ast
import posixpath
import shlex
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qtune.errors import QtuneError
from qtune.files import MAX_NODES
from qtune.values import Origin, Value

_MAX_NUMBER = 10**18
_MAX_TEXT = 100_000
_MAIN = "__name__ == '__main__'"
# Functions whose result follows from their plain arguments alone.
_PURE: Mapping[str, Callable[..., Any]] = {
    **{name: str for name in ("str", "Path", "pathlib.Path")},
    **{"int": int, "float": float, "bool": bool, "list": list, "tuple": list},
    **{"os.path.join": posixpath.join, "shlex.split": shlex.split},
    **{name: textwrap.dedent for name in ("textwrap.dedent", "dedent")},
}
_PURE_METHODS: Mapping[str, Callable[..., Any]] = {
    **{"join": str.join, "split": str.split, "strip": str.strip},
    **{"lower": str.lower, "upper": str.upper, "replace": str.replace},
}
_ENVIRONMENT = "os.environ"


@dataclass(frozen=True)
class Unknown:
    """A value that only the running program has.

    why: in words for the user; text: of an f-string what is known, with `${…}` where it is not.
    """

    why: str
    text: str = ""


@dataclass(frozen=True)
class PythonCall:
    """One call, with the values that its arguments had then.

    name: the function as it is written, such as `FastLanguageModel.from_pretrained` or `open().write`; of:
    the value before the last dot, None for a plain function; line: of the whole source, whatever `origin`
    says. A dict is a mapping of Values, a list a list of them, and what another call returned is that
    PythonCall.
    """

    name: str
    positional: tuple[Value, ...]
    keywords: Mapping[str, Value]
    origin: Origin
    line: int
    of: Value | None = None

    @property
    def function(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


def python_calls(text: str, at: Callable[[int], Origin]) -> list[PythonCall]:
    """Every call of the source, in its order, each after those within it; at: the place of a line.

    What is assigned to `os.environ[NAME]` is a call of `os.environ.update`. Raises QtuneError for what is no
    Python, or too large to follow.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash in a Windows path
            tree = ast.parse(text)
        program = _Program(at)
        program.run(tree.body)
    except SyntaxError as error:
        where = at(error.lineno or 1).place
        raise QtuneError(f"is no Python: {error.msg}", where=where, fix="mend that line") from None
    except (RecursionError, MemoryError, ValueError):
        raise QtuneError(
            "is nested too deep, or too large, to read", where=at(1).place, fix="import the config it trains"
        ) from None
    return program.calls


def plain(value: Any) -> Any:
    """A Value of `python_calls`, or what it holds, as plain Python; an Unknown or a call stays one within."""
    value = value.value if isinstance(value, Value) else value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def unknowns(value: Value) -> list[tuple[str, Value]]:
    """(key, dotted within a block; Value) of everything in it that only the running program has.

    What is plain within it stands where the Value itself does.
    """
    found: list[tuple[str, Value]] = []
    inner = value.value
    if isinstance(inner, Unknown | PythonCall):
        return [("", value)]
    items: Iterable[tuple[str, Any]] = ()
    if isinstance(inner, dict):
        items = inner.items()
    elif isinstance(inner, list):
        items = (("", item) for item in inner)
    for key, item in items:
        below = unknowns(item if isinstance(item, Value) else Value(item, value.origin))
        found += [(".".join(part for part in (key, name) if part), one) for name, one in below]
    return found


def why_unknown(value: Value) -> str:
    """Why an item of `unknowns` is one."""
    if isinstance(value.value, PythonCall):
        return f"`{value.value.name}(…)` is known only when the program runs"
    return str(value.value.why)


class _Program:
    def __init__(self, at: Callable[[int], Origin]) -> None:
        self.calls: list[PythonCall] = []
        self._at = at
        self._names: dict[str, Value] = {_ENVIRONMENT: Value({}, at(1))}
        self._later: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
        self._conditions = 0
        self._read = 0

    def run(self, body: list[ast.stmt]) -> None:
        self._statements(body)
        names = self._names
        while self._later:
            function = self._later.pop(0)
            self._names, self._conditions = dict(names), 0
            arguments = function.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                why = f"`{argument.arg}` is given where `{function.name}` is called"
                self._names[argument.arg] = Value(Unknown(why), self._at(argument.lineno))
            self._statements(function.body)

    # ── statements ─────────────────────────────────────────────────────────────────────────────────────

    def _statements(self, body: list[ast.stmt], *, conditional: bool = False) -> None:
        self._conditions += conditional
        for statement in body:
            self._statement(statement)
        self._conditions -= conditional

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._later.append(node)
            case ast.ClassDef(body=body):
                self._statements(body)
            case ast.Assign(targets=targets, value=given):
                value = self._value(given)
                for target in targets:
                    self._bind(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as given):
                self._bind(target, self._value(given))
            case ast.AugAssign(target=target, op=operator, value=given):
                sum_ = ast.BinOp(left=target, op=operator, right=given)
                self._bind(target, self._value(ast.copy_location(sum_, node)))
            case ast.If(test=test, body=body, orelse=orelse):
                if ast.unparse(test) == _MAIN:
                    self._statements(body)
                    return
                self._value(test)
                self._statements([*body, *orelse], conditional=True)
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self._value(iterable)
                why = f"it changes with the loop at {self._at(node.lineno).place}"
                self._bind(target, Value(Unknown(why), self._at(node.lineno)))
                self._statements([*body, *orelse], conditional=True)
            case ast.While(body=body, orelse=orelse):
                self._statements([*body, *orelse], conditional=True)
            case ast.With(items=items, body=body):
                for item in items:
                    value = self._value(item.context_expr)
                    if item.optional_vars is not None:
                        self._bind(item.optional_vars, value)
                self._statements(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                self._statements([*body, *orelse, *finalbody])
                for handler in handlers:
                    self._statements(handler.body, conditional=True)
            case ast.Delete(targets=[ast.Subscript(value=base, slice=key)]):
                inner = self._value(base).value
                if isinstance(inner, dict):
                    inner.pop(str(plain(self._value(key))), None)
            case ast.Expr(value=given) | ast.Return(value=ast.expr() as given):
                self._value(given)
            case _:
                pass

    def _bind(self, target: ast.expr, value: Value) -> None:
        if self._conditions and not isinstance(value.value, Unknown | PythonCall):
            why = f"`{ast.unparse(target)}` is set only under a condition, at {self._at(target.lineno).place}"
            value = Value(Unknown(why), self._at(target.lineno))
        match target:
            case ast.Subscript(value=base, slice=index):
                key = plain(self._value(index))
                inner = self._value(base).value
                if _dotted(base) == _ENVIRONMENT and isinstance(key, str):
                    name = f"{_ENVIRONMENT}.update"
                    self.calls.append(PythonCall(name, (), {key: value}, value.origin, target.lineno))
                if isinstance(inner, dict) and isinstance(key, str):
                    inner[key] = Value(value.value, self._at(target.lineno))
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                items = value.value
                same = isinstance(items, list) and len(items) == len(targets)
                for number, item in enumerate(targets):
                    self._bind(item, items[number] if same else value)
            case ast.Name() | ast.Attribute():
                self._names[_dotted(target)] = value
            case _:
                pass

    # ── expressions ────────────────────────────────────────────────────────────────────────────────────

    def _value(self, node: ast.expr) -> Value:
        self._count(1)
        return Value(self._plain(node), self._at(node.lineno))

    def _plain(self, node: ast.expr) -> Any:
        """What a Value of the expression holds."""
        match node:
            case ast.Constant(value=str() | bool() | int() | float() | None as constant):
                return constant
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                if name in self._names:
                    self._count(_size(self._names[name], MAX_NODES))
                    return self._names[name].value
                return Unknown(f"`{name or ast.unparse(node)}` is known only when the program runs")
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return self._list(items)
            case ast.JoinedStr(values=parts):
                return self._text(parts)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self._value(operand).value
                return -number if _is_number(number) else _not_known(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                truth = self._value(operand).value
                return not truth if isinstance(truth, bool) else _not_known(node)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._sum(node, self._value(left), operator, self._value(right))
            case ast.Subscript(value=base, slice=index):
                return self._item(node, self._value(base), self._value(index))
            case ast.Call():
                return self._call(node)
            case ast.Await(value=inner) | ast.NamedExpr(value=inner) | ast.Starred(value=inner):
                return self._value(inner).value
            case _:
                for part in ast.iter_child_nodes(node):
                    if isinstance(part, ast.expr):
                        self._value(part)  # for the calls in it
                return _not_known(node)

    def _dict(self, keys: list[ast.expr | None], values: list[ast.expr]) -> Any:
        found: dict[str, Value] = {}
        for key, given in zip(keys, values, strict=True):
            value = self._value(given)
            if key is not None:
                found[str(plain(self._value(key)))] = Value(value.value, self._at(key.lineno))
            elif isinstance(value.value, dict):
                found |= value.value
            else:
                found[f"**{ast.unparse(given)}"] = value
        return found

    def _list(self, items: list[ast.expr]) -> Any:
        found: list[Value] = []
        for item in items:
            value = self._value(item)
            if isinstance(item, ast.Starred) and isinstance(value.value, list):
                found += value.value
            else:
                found.append(value)
        return found

    def _text(self, parts: list[ast.expr]) -> Any:
        text, why = "", ""
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                inner = self._value(part.value).value
                if part.format_spec is not None or part.conversion != -1 or not _is_scalar(inner):
                    unknown = inner if isinstance(inner, Unknown) else _not_known(part.value)
                    why, inner = why or unknown.why, "${" + ast.unparse(part.value) + "}"
                text += str(inner)
            else:
                text += str(self._value(part).value)
            if len(text) > _MAX_TEXT:
                return _not_known(part)
        return Unknown(why, text) if why else text

    def _sum(self, node: ast.expr, left: Value, operator: ast.operator, right: Value) -> Any:
        one, other = left.value, right.value
        for side in (one, other):
            if isinstance(side, Unknown):
                return side
        made: Any = None
        if isinstance(operator, ast.BitOr) and isinstance(one, dict) and isinstance(other, dict):
            return {**one, **other}
        if isinstance(operator, ast.Add) and isinstance(one, list) and isinstance(other, list):
            self._count(_size(left, MAX_NODES) + _size(right, MAX_NODES))
            return [*one, *other]
        if isinstance(operator, ast.Add | ast.Div) and isinstance(one, str) and isinstance(other, str):
            # a / of a pathlib.Path, which is its text here
            made = one + other if isinstance(operator, ast.Add) else posixpath.join(one, other)
            return made if len(made) <= _MAX_TEXT else _not_known(node)
        if _is_number(one) and _is_number(other):
            made = _arithmetic(operator, one, other)
        return made if _is_number(made) and abs(made) <= _MAX_NUMBER else _not_known(node)

    def _item(self, node: ast.expr, base: Value, index: Value) -> Any:
        inner, key = base.value, index.value
        if isinstance(inner, dict) and isinstance(key, str) and key in inner:
            return inner[key].value
        if isinstance(inner, list) and isinstance(key, int) and -len(inner) <= key < len(inner):
            return inner[key].value
        return inner if isinstance(inner, Unknown) else _not_known(node)

    def _call(self, node: ast.Call) -> Any:
        name, function = _dotted(node.func), node.func
        of = self._value(function.value) if isinstance(function, ast.Attribute) else None
        positional = self._list(node.args)
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self._value(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = Value(value.value, self._at(keyword.lineno))
            elif isinstance(value.value, dict):
                keywords |= value.value
            else:
                keywords[f"**{ast.unparse(keyword.value)}"] = value
        if name == "dict" or name.endswith("deepcopy"):
            given = positional[0].value if positional else {}
            if not isinstance(given, dict):
                given = {f"**{ast.unparse(node.args[0])}": positional[0]}
            return {**given, **keywords}
        if name in (f"{_ENVIRONMENT}.get", "os.getenv"):
            asked = positional[0].value if positional else None
            set_here = self._names[_ENVIRONMENT].value.get(asked) if isinstance(asked, str) else None
            if set_here is None and len(positional) < 2:
                return _not_known(node)
            # as `${NAME:-default}` in a shell
            return (set_here or positional[1]).value
        if of is not None and isinstance(of.value, dict):
            if name == f"{_ENVIRONMENT}.update":
                given = positional[0].value if positional else {}
                set_ = {**(given if isinstance(given, dict) else {}), **keywords}
                self.calls.append(PythonCall(name, (), set_, self._at(node.lineno), node.lineno))
            return self._method(node, of.value, name.rpartition(".")[2], positional, keywords)
        pure = _PURE.get(name)
        if pure is None and of is not None and isinstance(of.value, str):
            method = _PURE_METHODS.get(name.rpartition(".")[2])
            pure, positional = (method, [of, *positional]) if method else (None, positional)
        if pure is not None:
            return self._pure(node, pure, positional, keywords)
        call = PythonCall(
            name,
            tuple(self._kept(value) for value in positional),
            {key: self._kept(value) for key, value in keywords.items()},
            self._at(node.lineno),
            node.lineno,
            of,
        )
        self.calls.append(call)
        return call

    def _method(
        self,
        node: ast.Call,
        of: dict[str, Value],
        method: str,
        positional: list[Value],
        keywords: Mapping[str, Value],
    ) -> Any:
        """What a dict's own method returns and does."""
        first = positional[0].value if positional else None
        if method == "copy":
            return dict(of)
        if method == "update":
            changes = {**(first if isinstance(first, dict) else {}), **keywords}
            if positional and not isinstance(first, dict):
                changes[f"**{ast.unparse(node.args[0])}"] = positional[0]
            if self._conditions:
                why = f"it is set only under a condition, at {self._at(node.lineno).place}"
                changes = {key: Value(Unknown(why), value.origin) for key, value in changes.items()}
            of |= changes
            return None
        if method in ("get", "pop", "setdefault") and isinstance(first, str):
            default = positional[1] if len(positional) > 1 else Value(None, self._at(node.lineno))
            found = of.get(first, default)
            if method == "pop":
                of.pop(first, None)
            elif method == "setdefault":
                of[first] = found
            return found.value
        return _not_known(node)

    def _pure(
        self, node: ast.Call, function: Callable[..., Any], given: list[Value], keywords: Mapping[str, Value]
    ) -> Any:
        values = [plain(value) for value in given]
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        unknown = next((item for item in flat if isinstance(item, Unknown)), None)
        if unknown is not None:
            return unknown
        if keywords or not all(_is_scalar(item) for item in flat):
            return _not_known(node)
        try:
            made = function(*values)
        except (TypeError, ValueError, OverflowError):
            return _not_known(node)
        if isinstance(made, list):
            self._count(len(made))
            return [Value(item, self._at(node.lineno)) for item in made]
        return made if not isinstance(made, str) or len(made) <= _MAX_TEXT else _not_known(node)

    def _kept(self, value: Value) -> Value:
        """The value as it is now, whatever happens to it later."""
        inner = value.value
        self._count(1)
        if isinstance(inner, dict):
            return Value({key: self._kept(item) for key, item in inner.items()}, value.origin)
        if isinstance(inner, list):
            return Value([self._kept(item) for item in inner], value.origin)
        return value

    def _count(self, values: int) -> None:
        self._read += values
        if self._read > 4 * MAX_NODES:
            raise ValueError("too many values")


def _dotted(node: ast.expr) -> str:
    """`a.b` and `a().b` as they are written, without the arguments; "" where it starts with neither."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=base, attr=name):
            return f"{_dotted(base)}.{name}"
        case ast.Call(func=function):
            return f"{_dotted(function)}()"
        case _:
            return ""


def _size(value: Value, limit: int) -> int:
    """How many values there are in one, itself included; it stops counting above `limit`."""
    waiting, count = [value], 0
    while waiting and count <= limit:
        inner = waiting.pop().value
        count += 1
        if isinstance(inner, dict | list):
            waiting += inner.values() if isinstance(inner, dict) else inner
    return count


def _arithmetic(operator: ast.operator, one: float, other: float) -> Any:
    match operator:
        case ast.Add():
            return one + other
        case ast.Sub():
            return one - other
        case ast.Mult():
            return one * other
        case ast.Div() if other:
            return one / other
        case ast.FloorDiv() if other:
            return one // other
        case ast.Pow() if abs(one) <= 1024 and abs(other) <= 16 and one:
            return one**other
        case _:
            return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _not_known(node: ast.expr) -> Unknown:
    shown = " ".join(ast.unparse(node).split())
    return Unknown(f"`{shown if len(shown) <= 60 else shown[:59] + '…'}` is known only when the program runs")
