"""Scripts that start LLaMA-Factory, or ms-swift, for something else than a training."""

from __future__ import annotations

from pathlib import PurePath

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.original import Original
from qtune.importing.other_uses import require_training
from qtune.importing.scripts.arguments import arguments_of
from qtune.importing.scripts.launchers import CLI
from qtune.importing.scripts.shell import commands
from qtune.importing.scripts.wrappers import unwrapped
from qtune.importing.source import ImportedFile

# LLaMA-Factory's commands (llamafactory/launcher.py), by qtune's.
_COMMANDS = {"export": "export", "chat": "chat", "webchat": "webchat", "api": "api", "eval": "eval"}
# ms-swift's (swift/cli/main.py).
_SWIFT = {"infer": "chat", "app": "webchat", "web-ui": "webchat", "deploy": "api", "eval": "eval"}
_SWIFT |= {"export": "export", "merge-lora": "export"}
_CONFIGS = (".yaml", ".yml", ".json")


def recognise(source: ImportedFile, project: Project) -> None:
    """Raises QtuneError for a script that exports, asks or evaluates a model; returns None for any other."""
    if source.keys is not None:
        return
    for inside in (inside for command in commands(source.text) for inside in unwrapped(command)):
        words = inside.command.words
        for at, word in enumerate(words[:-1]):
            name = words[at + 1].text
            where = source.at(inside.command.line).place
            if PurePath(word.text).name == "swift" and name in _SWIFT:
                raise _trains_nothing(f"swift {name}", _SWIFT[name], where)
            if PurePath(word.text).name not in CLI or name not in _COMMANDS:
                continue
            rest = list(words[at + 2 :])
            file = None
            if rest and rest[0].text.endswith(_CONFIGS):
                file = source.named(rest.pop(0).text)
            keys = file.values() if file else {}
            keys |= {key: value for key, value, _ in arguments_of(rest, source, overriding=file is not None)}
            require_training(Original("", source, keys, whole=True))
            raise _trains_nothing(f"{word.text} {name}", _COMMANDS[name], where)


def _trains_nothing(given: str, ours: str, where: str) -> QtuneError:
    fix = f"import what trained the model; then `qtune {ours} RUN`"
    return QtuneError(f"`{given}` trains nothing", where=where, fix=fix)
