"""Other toolkits' configs and commands as LLaMA-Factory's arguments."""
