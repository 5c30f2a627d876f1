"""Registering data that nobody described."""
