"""p(z | x) by other means than the guide."""
