"""From Pyro to ArviZ without a run: any model with its guide, or with the draws of an MCMC."""
