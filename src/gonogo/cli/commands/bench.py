"""gonogo bench: time bundles on this machine, by the stage bench."""

import argparse

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import count
from gonogo.cli.stages import add_stage_arguments, run_stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_stage_arguments(parser, "bench")
    parser.add_argument("--n", type=count, metavar="N", help="number of timed runs; sets bench.runs")


def run(arguments: argparse.Namespace) -> Answer:
    """Write the bundles if they are out of date, and time them in any case: a time is of this machine and this hour."""
    runs = [] if arguments.n is None else [f"bench.runs={arguments.n}"]
    return run_stage("bench", arguments, settings=runs, alone_after="parity")
