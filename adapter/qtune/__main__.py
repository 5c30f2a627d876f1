"""`python -m qtune` is the `qtune` command."""

from qtune.cli import main

main()
