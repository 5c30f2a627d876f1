"""What was trained: found by a run's name, loaded, asked, served, evaluated and exported."""
