"""Many seeds of one captured step at once: noise as inputs, parameters stacked."""
