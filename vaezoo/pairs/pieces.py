"""Rows in pieces, and pieces joined: what keeps the memory that a large batch needs in bounds."""

__all__ = ["MOST_ROWS"]

MOST_ROWS = 8192
