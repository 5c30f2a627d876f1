"""How a prepared config is trained: runs and attempts, resuming, stepping down, joining nodes, submitting."""
