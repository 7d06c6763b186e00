"""A page on which the latents of a run are moved by hand: served to this machine, or one file."""
