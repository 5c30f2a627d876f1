"""Which parameters a training changes."""
