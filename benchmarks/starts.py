"""How long a process takes to start: `import gonogo`, `gonogo --help`, and the first verdict of a bundle.

    python benchmarks/starts.py                            the first two
    python benchmarks/starts.py BUNDLE IMAGE [--runs N]    and the verdict

Seconds of wall and of processor, as the least and the median of N processes started one after the other, after one that
is not counted. What a start may import is held by tests/cli/test_exit_status.py and tests/inference/test_scorer.py.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence


def started(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of wall and of processor that one process of the command takes.

    Raises:
        SystemExit: the command failed: a rejected part is status 1 and none.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit status {ended.returncode}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a line for each start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("score", nargs="*", metavar="BUNDLE IMAGE")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args(argv)
    gonogo = [sys.executable, "-m", "gonogo.cli.main"]
    starts = {
        "python": [sys.executable, "-c", ""],
        "import gonogo": [sys.executable, "-c", "import gonogo"],
        "gonogo --help": [*gonogo, "--help"],
    }
    if arguments.score:
        starts["the first verdict"] = [*gonogo, "score", *arguments.score]
    for name, command in starts.items():
        started(command)
        walls, processors = zip(*(started(command) for _ in range(arguments.runs)), strict=True)
        figures = (f"{min(times):.2f} s, median {statistics.median(times):.2f} s" for times in (walls, processors))
        print(f"{name:<18} wall {next(figures)}; processor {next(figures)}")


if __name__ == "__main__":
    main()
