"""Pictures of vectors, as rows of a table are: column by column."""
