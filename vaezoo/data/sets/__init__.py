"""The named data sets: where their files lie, and how each is read."""
