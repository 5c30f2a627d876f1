"""What was trained: which run a name means, whether it is whole, and the arguments that load it."""
