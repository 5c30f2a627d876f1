"""Web pages that stand alone: one stylesheet, every value escaped."""
