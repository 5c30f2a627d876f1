"""What the machine is: the one here, or the one that `--hardware` names."""
