"""The claims of the papers in small, each by one command: the table is in `experiments`, one file per kind of measurement."""
