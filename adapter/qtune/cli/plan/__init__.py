"""Commands that say beforehand what a training takes and what this machine gives."""
