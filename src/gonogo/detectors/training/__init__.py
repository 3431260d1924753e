"""Shared by detectors that train: the loop, checkpoints, synthetic defects, the forecast of costs."""
