"""One step of stochastic variational inference, as fast as the hardware."""
