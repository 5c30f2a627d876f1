"""What a training needs, before it starts: steps, memory, disk."""
