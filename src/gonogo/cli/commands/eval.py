"""gonogo eval: measure gauges on the test images, by the stage evaluate."""

import argparse

from gonogo.cli.answer import Answer
from gonogo.cli.stages import add_stage_arguments, run_stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_stage_arguments(parser, "evaluate")


def run(arguments: argparse.Namespace) -> Answer:
    """Run the stage."""
    return run_stage("evaluate", arguments)
