"""One module for each command of `gonogo`, with its name.

Each has `add_arguments(parser)`, which adds its arguments to an `argparse.ArgumentParser`, and `run(arguments)`, which
returns an `Answer`. What is heavy, or not installed everywhere, is imported inside of `run`.
"""
