"""Shared by detectors with a memory bank: patches as a stream, coreset, nearest entries, foreground."""
