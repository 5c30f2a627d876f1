"""The command line: commands parse, call the floors below, and print. Only here is anything printed."""

from __future__ import annotations

import atexit
import gc
import os
import sys

import typer

from qtune.cli.app import app
from qtune.cli.output import complain
from qtune.cli.usage_errors import UsageError, told
from qtune.errors import ChildFailed, QtuneError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; every failure becomes one clear message and an exit code."""
    # A command is over before what it leaves is worth collecting, also when Python ends.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    try:
        sys.exit(app(prog_name="qtune", standalone_mode=False) or 0)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            complain(str(told(error)))
        sys.exit(2)
    except typer.Abort:  # the input ended where an answer was asked for
        complain("there was no answer")
        sys.exit(1)
    except QtuneError as error:
        complain(str(error))
        sys.exit(2)
    except ChildFailed as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `qtune presets | head`
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(
            f"{where}{error.strerror or error}\n  fix: check that path, its permissions and the disk's space"
        )
        sys.exit(2)
    except Exception as error:
        import tempfile
        import traceback

        from qtune.secrets.names import known
        from qtune.secrets.text import without

        with tempfile.NamedTemporaryFile(
            "w", prefix="qtune-", suffix=".log", delete=False, encoding="utf-8"
        ) as report:
            report.write(without(traceback.format_exc(), known(os.environ)))
        complain(
            f"qtune itself failed: {type(error).__name__}: {without(str(error), known(os.environ))}\n"
            f"  fix: please report it with {report.name}, which holds the details"
        )
        sys.exit(1)
