"""Runs: a directory each under `runs/`; its record, its checkpoints, and how to find it."""
