"""Many seeds of one training: side by side in one process, a run folder for each."""
