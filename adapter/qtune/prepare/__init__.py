"""Prepares a training from presets, a rendered directory or a record: everything short of starting it."""
