"""Commands from presets to rendered files."""
