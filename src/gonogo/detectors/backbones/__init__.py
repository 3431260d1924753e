"""Pretrained networks, and the features that detectors read from them."""
