"""Bounds of log p(x) by importance weights, and gradients of their guides."""
