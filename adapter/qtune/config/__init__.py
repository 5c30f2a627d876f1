"""Layers of YAML merged to one config, in which each value keeps its origin."""
