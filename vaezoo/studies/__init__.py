"""The studies: one file for each question, with what would refute its hypothesis."""
