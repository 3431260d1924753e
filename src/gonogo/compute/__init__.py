"""Where and with what a computation runs: cluster, reading ahead, memory, arrays in files, progress."""
