"""From data to trained weights: fit, checkpoints, validation, warnings."""
