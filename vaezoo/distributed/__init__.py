"""Several processes that train one run together, on one machine or many."""
