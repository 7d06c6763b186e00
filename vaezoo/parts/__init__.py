"""What pairs are built from: networks and heads, likelihoods, priors, posteriors."""
