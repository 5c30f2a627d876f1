"""From ordered layers of YAML to one config with an origin for each value."""
