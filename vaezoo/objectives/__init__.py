"""What is optimised: the ELBO and its relatives."""
