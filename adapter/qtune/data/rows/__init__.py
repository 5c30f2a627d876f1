"""What LLaMA-Factory does with each row, without the library."""
