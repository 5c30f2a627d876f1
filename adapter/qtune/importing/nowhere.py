"""What to say of a path in a config that leads nowhere: a directory to come, a mistake, or a hub's id."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import ImportedFile
from qtune.values import Origin

ADAPTERS = ("adapter_name_or_path", "ref_model_adapters", "reward_model_adapters")
MODELS = ("model_name_or_path", "ref_model", "reward_model", "generation_config")
"""Arguments that take a directory or a hub's id; adapters several, with commas between."""

# What people call the directory that trainings write into.
_BY_HABIT = re.compile(
    r"saves?|outputs?|out|results?|runs?|ckpts?|checkpoints?(-.*)?|exps?|experiments?|models?|adapters?|work_dirs?"
)
_OUTPUT = re.compile(r"""(?:output|export)_dir["']?\s*[:=\s]\s*["']?([^\s"',]+)""")
_CONFIGS = (".yaml", ".yml", ".json", ".sh")
_MOST_LOOKED_AT, _MOST_BYTES = 100, 100_000


def nowhere(name: str, text: str, origin: Origin, read: Original) -> Translation:
    """What to say of the path `text` of the argument `name`: nothing of a model's id on a hub."""
    if "://" in text:
        return Translation()
    id_too = name in (*MODELS, *ADAPTERS) and _has_form_of_id(text)
    is_path = not id_too or _is_path(name, text, read)
    if not is_path and name in MODELS:
        return Translation()
    missing = f"there is no {text}"
    if not text.startswith(("/", "~")):
        missing += " from here, nor from where the original lies"
    fix = "put it where the project's directory has it, or correct it in the preset"
    writer = _writer(text, read.source)
    if writer is not None:
        missing += f"; {writer}, beside the original, writes it"
        fix = f"run {writer} first, or import and train it, and set {name}: runs/NAME"
    elif not is_path:
        return noted(name, f"{text} is not here, so that it is taken for a hub's id", origin)
    if id_too:
        missing += ": LLaMA-Factory would look for it on a hub"
        fix += "; leave it, if it is a hub's id"
    return warned(name, missing, fix, origin)


def _has_form_of_id(text: str) -> bool:
    return not text.startswith((".", "/", "~")) and "\\" not in text and len(Path(text).parts) <= 2


def _is_path(name: str, text: str, read: Original) -> bool:
    """Whether `saves/a` is a directory: by habit, by what the original writes to, or by what is there."""
    first, *more = Path(text).parts
    output = read.keys.get("output_dir")
    written = Path(str(output.value)).parts[:1] if output is not None else ()
    owner = more or name in MODELS  # an adapter has one
    told = not owner or (first,) == written or _BY_HABIT.fullmatch(first)
    return bool(told) or read.source.find(first) is not None


def _writer(text: str, source: ImportedFile) -> str | None:
    """The name of a config or script beside the original whose `output_dir` that path is, or lies in."""
    with suppress(OSError):
        for file in sorted(source.path.parent.iterdir())[:_MOST_LOOKED_AT]:
            other = file.suffix in _CONFIGS and file != source.path and file.is_file()
            if other and file.stat().st_size <= _MOST_BYTES:
                outputs = map(Path, _OUTPUT.findall(file.read_text(encoding="utf-8", errors="replace")))
                if any(output.parts and Path(text).is_relative_to(output) for output in outputs):
                    return file.name
    return None
