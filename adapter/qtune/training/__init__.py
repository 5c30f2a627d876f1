"""Training what was prepared: runs and attempts, going on with it, stepping down, joining, submitting."""
