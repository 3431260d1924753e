"""What detectors that train share: the loop, checkpoints, synthetic defects, the forecast of costs."""
