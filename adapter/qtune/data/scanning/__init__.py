"""Checks of whole datasets: flaws, repeated rows, a cache of what passed, and cleaned copies."""
