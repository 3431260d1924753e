"""Work with a bundle beside the line: score, watch, sort, post, verify, explain.

Needs onnxruntime, numpy and Pillow alone; `gonogo.cli.commands` has the commands.
"""
