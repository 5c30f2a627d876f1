"""How long rows are in tokens, and what follows from it."""
