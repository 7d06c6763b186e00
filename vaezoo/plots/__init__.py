"""Pictures of data, samples and training."""
