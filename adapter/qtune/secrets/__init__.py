"""What is secret: tokens, keys and passwords, which stand in nothing that qtune writes."""
