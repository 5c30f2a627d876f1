"""Starting a training: the plan, the process, and what its words mean."""
