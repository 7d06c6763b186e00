"""Objectives that look at the aggregate posterior q(z), the mean of q(z | x) over data."""
