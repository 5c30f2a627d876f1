"""Data files row by row, in constant memory, each row with its place; refused where the library refuses."""
