"""Where and with what a computation runs: cluster, reading ahead, memory, progress."""
