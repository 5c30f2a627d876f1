"""`llamafactory-cli chat` with the arguments file named; the end of input and Ctrl-C are no errors."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    sys.argv = ["llamafactory-cli", "chat", *sys.argv[1:]]
    try:
        from llamafactory.cli import main as llamafactory

        llamafactory()
        code = 0
    except EOFError:  # Ctrl-D, or the end of what a script gave
        print()
        code = 0
    except KeyboardInterrupt:
        print()
        code = INTERRUPTED
    sys.stdout.flush()
    os._exit(code)  # a thread may still be generating, and would be waited for


if __name__ == "__main__":
    main()
