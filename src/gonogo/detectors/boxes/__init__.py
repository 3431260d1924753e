"""Detectors that learn from labelled defects what kinds there are, and find them with boxes."""
