"""Runs side by side: what may be compared, by how much they differ, and how sure that is."""
