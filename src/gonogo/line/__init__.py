"""What is done with a bundle beside the line: score, watch, verify, explain. Needs onnxruntime, numpy and Pillow alone.

A door (`score`, `verify`, `explain`) reads what `arguments` asks for; the other files are what it is made of.
"""
