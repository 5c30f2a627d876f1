"""Make the exported directory: merge, check, describe, and only then put it where it belongs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune import failures
from qtune.config.project import Project
from qtune.errors import ChildFailed, QtuneError
from qtune.failures.words import tail
from qtune.files import read_object, write_atomic
from qtune.launch.plan import CLI
from qtune.machine.host import read_volume
from qtune.processes import child, process
from qtune.render.files import arguments_of, render_arguments
from qtune.render.templates import Templates
from qtune.runs.find import shown
from qtune.runs.record import free
from qtune.units import size_text
from qtune.use.exporting import card, gguf
from qtune.use.exporting.comparison import Comparison
from qtune.use.exporting.plan import ExportPlan, of_exported, with_paths
from qtune.use.exporting.readers import Readers
from qtune.use.exporting.samples import PROMPTS, rows_request
from qtune.use.exporting.spelling import make_readable
from qtune.values import Config, LaunchPlan

DIRECTORY = "exports"
_TEMPLATE = "export.yaml.j2"
_FAILED = "the export failed"
_VALUE_HEADS = ("value_head.safetensors", "value_head.bin")
# The library's last step is a Modelfile, and it fails there for templates that name tokens (ChatGLM3, Yuan).
_ONLY_THE_MODELFILE = "ValueError: Dict is not supported."


@dataclass(frozen=True)
class Exported:
    """What was exported. size: bytes of the whole directory; comparison: None where nothing was compared."""

    directory: Path
    size: int
    comparison: Comparison | None


def require_target(target: Path, plan: ExportPlan, *, force: bool) -> None:
    """Raises QtuneError where `target` is taken, or its volume has no room for the export."""
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        if not force:
            fix = "give another with -o, or replace it with --force"
            raise QtuneError("exists already", where=shown(target), fix=fix)
        if not card.is_export(target):
            fix = "remove it yourself, or give another with -o"
            raise QtuneError("is no export of qtune's, so it is not replaced", where=shown(target), fix=fix)
    volume = read_volume(target)
    if not volume.writable:
        raise QtuneError("cannot be written to", where=shown(volume.path), fix="give another with -o")
    copies = 2 if plan.quantise or plan.converter else 1
    needed = None if plan.size is None else plan.size * copies
    if needed is not None and volume.free is not None and volume.free < needed:
        what = f"needs about {size_text(needed)}, and {size_text(volume.free)} are free on its volume"
        raise QtuneError(what, where=shown(target), fix="make room, or give another volume with -o")


def export(
    plan: ExportPlan,
    target: Path,
    project: Project,
    *,
    check: bool,
    say: Callable[[str], None],
    show: Callable[[bytes], None],
) -> Exported:
    """Write `target`, which `require_target` has passed: whole or not at all.

    check: compare it with what was trained; say: told what begins; show: given the children's output.
    Raises ChildFailed where LLaMA-Factory fails, or the export is not what was trained, which then lies
    beside the target; KeyboardInterrupt where a signal ended it.
    """
    process.find_program(CLI)
    card.card(
        plan, None, Readers.of(target, quantised=False), project
    )  # a broken template is told before hours of work
    with _beside(target) as directory:
        work = _Export(plan, project, directory, say, show)
        made = work.model()
        comparison = work.compare(made) if check else None
        if comparison is not None and not comparison.agrees:
            aside = free(target.parent, f"{target.name}-mismatch")
            made.replace(aside)
            raise ChildFailed(
                f"the exported model does not answer as what was trained: {comparison.summary}\n"
                f"  kept for a look: {shown(aside)}"
            )
        made = work.finished(made, comparison)
        _open_to_readers(made)
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        _put(made, target, directory / "before")
    return Exported(target, size, comparison)


@dataclass(frozen=True)
class _Export:
    """The steps of one export. directory: for work, on the target's volume, and gone in the end."""

    plan: ExportPlan
    project: Project
    directory: Path
    say: Callable[[str], None]
    show: Callable[[bytes], None]

    def model(self) -> Path:
        """The whole model, as LLaMA-Factory exports it."""
        merging = "merging" if self.plan.trained.is_adapter else "copying"
        self.say(f"{merging} {self.plan.trained.title}")
        made = self.directory / "model"
        self._export(with_paths(self.plan.merge, None, made), made)
        if self.plan.trained.stage == "rm" and not any((made / name).is_file() for name in _VALUE_HEADS):
            raise ChildFailed("the export lacks the value head, without which it judges nothing")
        return made

    def compare(self, made: Path) -> Comparison:
        self.say("comparing it with what was trained")
        request = {
            "trained": with_paths(self.plan.merge, None, made).block("train"),
            "exported": of_exported(self.plan.merge, made).block("train"),
            "prompts": PROMPTS,
            "rows": rows_request(self.plan.trained, made, self.project, self.directory / "rows"),
        }
        return Comparison(**self._ask("same_answers.py", request))

    def finished(self, made: Path, comparison: Comparison | None) -> Path:
        """The model quantised where that is asked for, with what goes beside it."""
        if self.plan.quantise:
            self.say("quantising it with GPTQ")
            whole, made = made, self.directory / "quantised"
            values = dict(with_paths(of_exported(self.plan.merge, whole), None, made).values)
            values |= {("train", name): value for name, value in self.plan.quantise.items()}
            values.pop(("train", "infer_dtype"), None)  # GPTQ's own
            self._export(Config(self.plan.merge.name, values), made)
            shutil.rmtree(whole)
        if self.plan.converter:
            self.say("converting it to GGUF")
            if "vision_config" in read_object(made / "config.json"):
                self.say(f"{gguf.FILE} has the text part alone; `--mmproj` of the converter makes the other")
            self._start(gguf.conversion(self.plan.converter, made, self.plan.trained.title))
            if not (made / gguf.FILE).is_file():
                raise ChildFailed(f"{_FAILED}: llama.cpp's converter left no {gguf.FILE}")
        readers = Readers.of(made, quantised=bool(self.plan.quantise))
        if self.plan.trained.stage == "rm":
            (made / "Modelfile").unlink(missing_ok=True)  # it does not speak
        else:
            (made / "Modelfile").write_text(self._modelfile(made, readers), encoding="utf-8")
        write_atomic(made / card.FILE, card.card(self.plan, comparison, readers, self.project))
        return made

    def _modelfile(self, made: Path, readers: Readers) -> str:
        request = {
            "arguments": of_exported(self.plan.merge, made).block("train"),
            "directory": str(made),
            "weights": f"./{gguf.FILE}" if self.plan.converter else ".",
            "about": "for `ollama create NAME`, in this directory",
        }
        if not (self.plan.converter or readers.ollama):
            what = readers.architecture if not self.plan.quantise else "GPTQ"
            request["about"] = (
                f"ollama converts no {what}; name a GGUF here, as `qtune export --gguf` makes one"
            )
        return str(self._ask("modelfile.py", request))

    def _export(self, config: Config, made: Path) -> None:
        templates = Templates(self.project.sources, self.project.root)
        text = render_arguments(_TEMPLATE, arguments_of(config), templates, {"name": self.plan.trained.title})
        file = self.directory / "export.yaml"
        write_atomic(file, text)
        try:
            self._start((CLI, "export", str(file)))
        except ChildFailed as error:
            if _ONLY_THE_MODELFILE not in str(error) or not (made / "tokenizer_config.json").is_file():
                raise
        make_readable(made, self.plan.trained.config.block("train"), self.project.root)

    def _ask(self, name: str, request: dict[str, Any]) -> Any:
        # the few rows of a comparison are of no use to anything after it
        variables = {"HF_DATASETS_CACHE": str(self.directory / "cache")}
        root, script = self.project.root, child.script(name)
        return child.ask(script, request, _FAILED, show=self.show, directory=root, variables=variables)

    def _start(self, argv: tuple[str, ...]) -> None:
        verbosity = {"LLAMAFACTORY_VERBOSITY": os.environ.get("LLAMAFACTORY_VERBOSITY", "WARN")}
        plan = LaunchPlan(argv, verbosity)
        # away from the target's volume: when that is full the reason still has to be told
        with tempfile.TemporaryDirectory(prefix="qtune-") as name:
            log = Path(name) / "export.log"

            def told(code: int) -> str:
                return failures.told(_FAILED, tail(log), code)

            child.run(plan, self.project.root, log, self.show, told)


def _open_to_readers(directory: Path) -> None:
    """safetensors writes files for their owner alone, and an export is there to be given on."""
    mask = os.umask(0)
    os.umask(mask)
    for file in directory.rglob("*"):
        if file.is_file():
            file.chmod(0o666 & ~mask)


def _put(made: Path, target: Path, before: Path) -> None:
    """Rename what was made to where it belongs; what stood there goes only once it does."""
    if os.path.lexists(target):
        target.replace(before)
    try:
        made.replace(target)
    except BaseException:
        if os.path.lexists(before):
            before.replace(target)
        raise


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A directory for work on the target's volume; it leaves in the end, and so do parents made for it.

    An OSError in it names the target: what it was about is gone by then.
    """
    made = [parent for parent in target.absolute().parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            yield Path(name).absolute()
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = shown(target)
        with suppress(OSError):  # what is not empty stays
            for parent in made:
                parent.rmdir()
        raise
