"""What a training holds in memory and writes to disk, in bytes."""
