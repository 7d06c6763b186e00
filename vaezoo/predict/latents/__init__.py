"""What is asked of the latent space of a run: codes moved, densities of them, the way back."""
