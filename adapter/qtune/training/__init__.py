"""Training what was prepared: a run and its attempts, going on with it, stepping down, joining, submitting."""
