"""The training that a Python program starts, or that its dict of arguments describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from posixpath import normpath
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.arguments import QTUNES_OWN
from qtune.importing.embedded.start import held, started
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, refused
from qtune.importing.python import PythonCall, Unknown, plain, python_calls, unknowns, why_unknown
from qtune.importing.scripts.launchers import processes
from qtune.importing.scripts.shell import Command, Word, commands
from qtune.importing.scripts.slurm import Job
from qtune.importing.source import ImportedFile
from qtune.importing.toolkits import ms_swift_program
from qtune.importing.toolkits import program as toolkits
from qtune.values import KeyPath, Value

_RUN_EXP = "run_exp"  # llamafactory/train/tuner.py
_SHELLS = ("os.system", "os.popen", "get_ipython().system")
_SUBPROCESS = ("run", "call", "check_call", "check_output", "Popen", "getoutput")
_CELL_SHELLS = ("bash", "sh", "script")
_DUMPS = ("dump", "safe_dump", "save")
_TEXTS = ("dumps", "dump", "safe_dump", "to_yaml")
_SIGNATURE = ("stage", "dataset", "do_train", "lora_target", "learning_rate")
_LONGEST = 200  # of a variable's text in a shell line
_FIX = "write the value there, instead of what computes it"


def recognise(kind: str, source: ImportedFile, project: Project) -> Original | None:
    """The training of a program, None where it has none; kind: what the program is, in words.

    Raises QtuneError where there are several, or where nothing can be known of the one.
    """
    calls = python_calls(source.text, source.at)
    program = _Followed(source)
    for call in calls:
        program.follow(call)
    source = replace(source, written={**source.written, **program.written})
    if len(program.given) > 1:
        raise _several(f"calls {_RUN_EXP}", [call for call, _ in program.given], source)
    if program.given:
        call, config = program.given[0]
        run = Command((Word(_RUN_EXP, call.line),), {}, program.exported)
        _, part = processes(run, 1, source, {}, Job(), None)
        part += _unsaid_processes(call)
        return _known(Original(f"{kind} that calls {_RUN_EXP}", source, _keys(config), part, whole=True))
    original = started(kind, program.script, source, project)
    if original is not None:
        return _known(original)
    toolkit = ms_swift_program.translate(calls, source, project) or toolkits.translate(calls, source, project)
    return toolkit or _described(kind, calls, source)


class _Followed:
    """What a program's calls have done so far: its commands, its environment, the configs that it wrote."""

    def __init__(self, source: ImportedFile) -> None:
        self.script: list[Command] = []
        self.exported: dict[str, Word] = {}
        self.written: dict[str, ImportedFile] = {}
        self.given: list[tuple[PythonCall, Value]] = []
        self._source = source

    def follow(self, call: PythonCall) -> None:
        function, arguments = call.function, [plain(value) for value in call.positional]
        if function == _RUN_EXP:
            config = call.keywords.get("args") or (call.positional[0] if call.positional else None)
            if config is not None:
                self.given.append((call, config))
        elif call.name in ("os.environ.update", "os.environ.setdefault", "os.putenv"):
            given = dict(call.keywords)
            if len(arguments) == 2 and isinstance(arguments[0], str):
                given[arguments[0]] = call.positional[1]
            self.exported |= {name: _word(value.value, call.line) for name, value in given.items()}
        elif call.name == "os.chdir" and arguments:
            self._enter(arguments[0], call)
        elif call.name == "get_ipython().run_cell_magic":
            self._cell(call, *arguments[:3])
        elif call.name in _SHELLS or call.name.removeprefix("subprocess.") in _SUBPROCESS:
            self._run(call, arguments[0] if arguments else plain(call.keywords.get("args")))
        else:
            self._write(call)

    def _run(self, call: PythonCall, command: Any) -> None:
        if isinstance(cwd := plain(call.keywords.get("cwd")), str):
            self._enter(cwd, call)
        given = call.keywords["env"].value if "env" in call.keywords else {}
        variables = given.items() if isinstance(given, dict) else ()
        assigned = {
            name: _word(value.value, call.line) for name, value in variables if not name.startswith("**")
        }
        if isinstance(command, list):
            words = tuple(_word(item, call.line) for item in command)
            self.script += [Command(words, {}, {**self.exported, **assigned})] if words else []
            return
        if isinstance(command, Unknown):
            command = command.text
        if isinstance(command, str):
            self._shell(_filled(command, call.keywords), call.line, assigned)

    def _cell(self, call: PythonCall, magic: str = "", line: str = "", body: str = "") -> None:
        if magic in _CELL_SHELLS:
            self._shell(body, call.line + 1, {})
        elif magic == "writefile":
            self.written |= held(line.split()[-1], body, call.line + 1, self._source)

    def _shell(self, text: str, line: int, assigned: Mapping[str, Word]) -> None:
        self.script += commands(text, line, {**self.exported, **assigned})

    def _enter(self, directory: Any, call: PythonCall) -> None:
        self.script.append(Command((Word("cd", call.line), _word(directory, call.line)), {}, {}))

    def _write(self, call: PythonCall) -> None:
        """A config that the call writes: `json.dump(it, open(…))`, `f.write(…)`, `Path(…).write_text(…)`."""
        if call.function in _DUMPS and len(call.positional) + ("stream" in call.keywords) > 1:
            to = call.keywords.get("stream") or call.positional[1]
            self._written(call, _path(to), call.positional[0])
        elif call.function in ("write", "write_text") and call.of is not None and call.positional:
            content = call.positional[0]
            inner = content.value
            if isinstance(inner, PythonCall) and inner.function in _TEXTS and inner.positional:
                content = inner.positional[0]
            self._written(call, _path(call.of), content)

    def _written(self, call: PythonCall, name: str | None, content: Value) -> None:
        inner = content.value
        if isinstance(inner, PythonCall) and inner.positional:  # OmegaConf.create(…)
            content = inner.positional[0]
        if name is None:
            return
        if isinstance(content.value, str):
            self.written |= held(name, content.value, call.line, self._source)
        elif isinstance(content.value, dict):
            lines: dict[KeyPath, int] = {(key,): item.origin.line or 1 for key, item in content.value.items()}
            display = content.origin.file or self._source.display
            file = replace(self._source, display=display, text="", keys=plain(content), lines=lines)
            self.written[normpath(name)] = file


def _path(value: Value) -> str | None:
    """The path that a Value is, or that the `open` which made it was given."""
    inner = value.value
    if isinstance(inner, PythonCall) and inner.function == "open":
        given = inner.positional[0] if inner.name == "open" and inner.positional else inner.of
        inner = given.value if given else None
    return inner if isinstance(inner, str) else None


def _word(value: Any, line: int) -> Word:
    if isinstance(value, Unknown):
        return Word(value.text, line, value.why)
    if isinstance(value, PythonCall):
        return Word("", line, why_unknown(Value(value, value.origin)))
    return Word(str(value), line)


def _filled(command: str, names: Mapping[str, Value]) -> str:
    """A notebook's shell line with the program's variables in it: `{name}` and `$name`."""
    for name, value in names.items():
        shown = plain(value)
        if isinstance(shown, str | int | float) and len(str(shown)) <= _LONGEST:
            command = command.replace(f"{{{name}}}", str(shown)).replace(f"${name}", str(shown))
        else:
            command = command.replace(f"{{{name}}}", f"${{{name}}}")
    return command


def _keys(config: Value) -> dict[str, Value]:
    """The arguments of a dict; raises QtuneError where it is known only when the program runs."""
    if not isinstance(config.value, dict):
        what = f"what {_RUN_EXP} trains is not written out: {why_unknown(config)}"
        fix = "write the dict out there, or import the config that it reads"
        raise QtuneError(what, where=config.origin.place, fix=fix)
    return {key: Value(plain(value), value.origin) for key, value in config.value.items()}


def _known(original: Original) -> Original:
    """The original without the keys that only the running program has, each a finding."""
    keys, part = dict(original.keys), original.part
    for key, value in original.keys.items():
        for below, unknown in unknowns(value):
            keys.pop(key, None)
            if key not in QTUNES_OWN:
                shown = ".".join(name for name in (key, below) if name)
                part += refused(shown, why_unknown(unknown), _FIX, unknown.origin)
            else:
                part += noted(key, QTUNES_OWN[key], unknown.origin)
    return replace(original, keys=keys, part=part)


def _described(kind: str, calls: list[PythonCall], source: ImportedFile) -> Original | None:
    """The one config that a program writes, or hands to a function; None where there is none."""
    found: dict[str, dict[str, Value]] = {}
    for file in source.written.values():
        if _is_config(file.keys or {}):
            found[file.display + str(sorted(file.lines.items()))] = file.values()
    if not found:
        for call in calls:
            for value in (*call.positional, *call.keywords.values()):
                if isinstance(value.value, dict) and _is_config(value.value):
                    found[str(sorted(value.value))] = _keys(value)
    if len(found) > 1:
        raise QtuneError(
            f"holds {len(found)} training configs, and starts none of them",
            where=source.display,
            fix="copy the one that you want to a file of its own",
        )
    for keys in found.values():
        return _known(Original(f"{kind} that holds a LLaMA-Factory config", source, keys, whole=True))
    return None


def _is_config(keys: Mapping[str, Any]) -> bool:
    return "model_name_or_path" in keys and any(key in keys for key in _SIGNATURE)


def _unsaid_processes(call: PythonCall) -> Translation:
    message = "how many processes run it is not said here: for qtune, launch.nproc_per_node says it"
    return noted(_RUN_EXP, message, call.origin)


def _several(what: str, calls: list[PythonCall], source: ImportedFile) -> QtuneError:
    lines = ", ".join(call.origin.place.removeprefix(f"{source.display}:") for call in calls)
    fix = "copy the one that you want to a file of its own, with what it needs"
    return QtuneError(f"{what} {len(calls)} times (lines {lines})", where=source.display, fix=fix)
