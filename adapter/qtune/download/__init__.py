"""Models and data sets fetched ahead, from a hub into its own cache."""
