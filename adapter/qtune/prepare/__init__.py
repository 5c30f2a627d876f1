"""From presets, a rendered directory or a record to all that is known of a training before it starts."""
