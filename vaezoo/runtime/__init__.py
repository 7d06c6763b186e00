"""Below everything: devices, isolation, files written whole, threads, signals, ArviZ."""
