"""What is measured of one batch, of which metrics are averages."""
