"""accelerate's configuration, of its file and its command line, as a preset has it."""
