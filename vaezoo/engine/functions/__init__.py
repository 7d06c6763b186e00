"""Functions of a pair that are called often outside of a step, on the fastest tier that repays."""
