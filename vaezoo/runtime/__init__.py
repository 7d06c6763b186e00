"""Below everything: devices and generators, files written whole, threads, signals."""
