"""A checkpoint that anomalib wrote, run by a worker process in an environment of its own."""
