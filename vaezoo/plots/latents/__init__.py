"""Pictures of a latent space: codes, and ways through them."""
