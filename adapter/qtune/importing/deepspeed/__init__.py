"""DeepSpeed's own JSON as blocks of a preset."""
