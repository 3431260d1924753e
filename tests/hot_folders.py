"""Parts for a hot folder, and what is found after they were judged. Needs no more than the scoring install."""

import json

import pytest

from gonogo.cli.main import main


@pytest.fixture(scope="module")
def parts(digits):
    """An image that the gauge passes and one that it rejects."""
    records = digits.with_role("test")
    return [digits.path_of(next(record for record in records if record.label == label)) for label in (0, 1)]


def rows_of(path):
    """The rows of a journal."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def watch(bundle, folder, *arguments):
    """The exit status, once all files of the folder are judged."""
    return main(["score", str(bundle), "--watch", str(folder), "--settle", "0", "--idle", "0", *map(str, arguments)])
