"""All that a line needs of a bundle, with onnxruntime, numpy and Pillow alone."""
