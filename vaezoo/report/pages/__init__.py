"""Pages that need no other file: of an analysis, and of a run, of which the former is a part."""
