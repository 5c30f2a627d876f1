"""The `qtune` command, also as `python -m qtune`: a system that it cannot run on is told first of all."""

import sys


def main() -> None:
    """Run the command line; on Windows say in one line what is needed, and exit with code 2."""
    if sys.platform == "win32":  # it has no fcntl, no resource, no fork
        print("error: qtune needs Linux: on Windows run it in WSL (`wsl --install`)", file=sys.stderr)
        sys.exit(2)
    from qtune.cli import main

    main()


if __name__ == "__main__":
    main()
