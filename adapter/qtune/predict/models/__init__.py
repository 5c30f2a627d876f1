"""Models as shapes: every tensor's name and size, from a config, headers or a table."""
