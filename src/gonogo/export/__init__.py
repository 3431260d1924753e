"""The ONNX file, the proof that it is the model, and the bundle."""
