"""Draws as labelled data: groups, dimensions, files, and ArviZ."""
