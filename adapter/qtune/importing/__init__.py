"""Configs and scripts of other shapes as presets."""
