"""Shell scripts that start a training: read, never run."""
