"""Sequences: a pair of one time step, and the forms in which it runs."""
