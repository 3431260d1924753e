"""gonogo version: the version of gonogo."""

import argparse

import gonogo
from gonogo.cli.answer import Answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> Answer:  # noqa: ARG001  every command has this signature
    """The version."""
    return Answer({"ok": True, "version": gonogo.__version__}, gonogo.__version__)
