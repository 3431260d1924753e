"""What detectors with a memory bank share: patches as a stream, coreset, foreground."""
