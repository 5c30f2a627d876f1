"""Registering data, whose formatting, columns and tags are worked out from its rows."""
