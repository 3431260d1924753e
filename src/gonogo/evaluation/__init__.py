"""What a gauge is worth, measured: accuracy, robustness, speed."""
