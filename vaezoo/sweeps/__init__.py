"""Sweeps: many trainings over a space of settings, of which the best is looked for."""
