"""A config as the text of files: templates, the files of a rendered directory, and its manifest."""
