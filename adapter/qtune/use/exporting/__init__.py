"""A trained model as a directory of its own: adapters merged into the unquantised base, and checked."""
