"""Defects of the past: which of them a part is like, what they were caused by, and how a line gets its archive."""
