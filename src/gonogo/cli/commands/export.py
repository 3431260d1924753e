"""gonogo export: export gauges as ONNX and write the bundles of those that agree with it, by the stage parity."""

import argparse

from gonogo.cli.answer import Answer
from gonogo.cli.stages import add_stage_arguments, run_stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_stage_arguments(parser, "parity")


def run(arguments: argparse.Namespace) -> Answer:
    """Run the stage."""
    return run_stage("parity", arguments)
