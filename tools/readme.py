"""README.md and docs/ stay true: their tables are computed from measured files, and their commands are executed.

    python tools/readme.py table               exit 1 where a table differs from its files (here and at HEAD)
    python tools/readme.py table --write       write the tables anew from the files here
    python tools/readme.py run NAME ...        run the blocks of these names, in the current directory, in this order
    python tools/readme.py picture [CATEGORY]  draw docs/images/front.png, see tools/front_picture.py

The table of results is computed from metrics/, all other tables from the JSON files in benchmarks/.

A block of commands in README.md or in a page of docs/ has a name, `<!-- run: NAME -->` on the line before its fence;
lines that begin with `$ ` are its commands, and what it shows below them is compared with what they print, see
tools/transcripts.py. No two pages may use one name.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark_tables import (
    ABSENT,
    Reader,
    ablation_table,
    attribution_table,
    coreset_table,
    drift_cost_table,
    drift_images_table,
    drift_table,
    front_table,
    frontier_table,
    good_parts_table,
    growth_table,
    markdown,
    pages_table,
    peers_table,
    pixel_metrics_table,
    recipes_table,
    router_table,
    rows_of,
    search_trials_table,
    service_table,
    stated_rates_table,
    table_of,
    tuning_gains_table,
    tuning_ranks_table,
)
from transcripts import differences

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^<!-- run: (?P<name>[\w-]+) -->\n```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = (
    "category",
    "detector",
    "image AUROC",
    "AUPRO@0.30",
    "recall",
    "false alarms, measured",
    "false alarms, certified",
    "parity, millionths",
    "file to verdict, p50",
)

COMPARISON = {
    "detector": "`{detector}`",
    "image AUROC": "{image_auroc:.3f}",
    "pixel AUROC": "{pixel_auroc:.3f}",
    "AUPRO@0.30": "{aupro_30:.3f}",
    "false alarms": "{false_alarm_rate:.1%}",
    "recall": "{recall:.1%}",
    "fit": "{fit_s:.1f} s",
    "file to verdict, p50": "{p50_ms:.1f} ms",
    "bundle": "{bundle_mb:.1f} MB",
}

Metrics = Mapping[str, Any]


def here(name: str) -> str:
    """The file as it is in the working tree."""
    return (ROOT / name).read_text(encoding="utf-8")


def committed(name: str) -> str:
    """The file as the last commit has it; a run of one's own measures other latencies and is no reason to complain."""
    return subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def results_table(read: Reader) -> str:
    """Markdown of the results: one row per category, and the machine that the last column was taken on."""
    from ruamel.yaml import YAML  # where it is used: blocks are run also where nothing is installed yet

    rows = []
    benches = []
    for category in YAML(typ="safe", pure=True).load(read("params.yaml"))["categories"]:
        evaluate, parity, bench = (
            json.loads(read(f"metrics/{stage}/{category}.json")) for stage in ("evaluate", "parity", "bench")
        )
        rows.append(_row(category, evaluate, parity, bench))
        benches.append(f"{bench['cpu']}, {bench['threads']} threads, onnxruntime {bench['onnxruntime']}")
    return f"{markdown(HEAD, rows, n_names=2)}\n\nTimed on {'; '.join(sorted(set(benches)))}.\n"


def detectors_table(read: Reader) -> str:
    """Markdown of every detector on the same parts: one table per part, and where it was measured."""
    measured = rows_of(read, "benchmarks/detectors.json")
    if measured.empty:
        return ABSENT
    parts = []
    for part, of in measured.groupby("part", sort=False):
        counts = (of.n_good.map("{} good and ".format) + of.n_defective.map("{} defective".format)).unique()
        parts += [f"**{part}**: {', '.join(sorted(counts))} test images", table_of(of, COMPARISON, n_names=1)]
    machines = {f"{machine['cpu']}, {machine['threads']} threads" for machine in measured.machine}
    commits = sorted(set(measured.commit.str[:10]))
    return "\n\n".join([*parts, f"Measured on {'; '.join(sorted(machines))}, commit {', '.join(commits)}.\n"])


def _row(category: str, evaluate: Metrics, parity: Metrics, bench: Metrics) -> tuple[str, ...]:
    interval = f"[{evaluate['image_auroc_low']:.3f}, {evaluate['image_auroc_high']:.3f}]"
    return (
        category,
        evaluate["detector"],
        f"{evaluate['image_auroc']:.3f} {interval}",
        f"{evaluate['aupro_30']:.3f}" if "aupro_30" in evaluate else "no masks",
        f"{evaluate['recall']:.1%}",
        f"{evaluate['false_alarm_rate']:.1%} ({evaluate['n_false_alarms']} of {evaluate['n_good']})",
        f"≤ {evaluate['certified_false_alarm_rate']:.1%}" if evaluate["certified"] else "not certified",
        f"{parity['score_max_diff_e6']:.2f}",
        f"{bench['p50_ms']:.1f} ms",
    )


# The tables of each page, by the name in their markers.
TABLES: Mapping[str, Mapping[str, Callable[[Reader], str]]] = {
    "README.md": {"front": front_table},
    "docs/results.md": {"results": results_table},
    "docs/detectors.md": {"detectors": detectors_table},
    "docs/calibration.md": {"good-parts": good_parts_table, "stated_rates": stated_rates_table},
    "docs/attribution.md": {"attribution": attribution_table},
    "docs/drift.md": {"drift": drift_table, "drift_images": drift_images_table, "drift_cost": drift_cost_table},
    "docs/line.md": {"router": router_table},
    "docs/preprocessing.md": {"recipes": recipes_table},
    "docs/speed.md": {"search-trials": search_trials_table},
    "docs/benchmarks.md": {
        "peers": peers_table,
        "coreset": coreset_table,
        "service": service_table,
        "metrics": pixel_metrics_table,
        "growth": growth_table,
    },
    "docs/frontier.md": {"frontier": frontier_table},
    "docs/ablation.md": {"ablation": ablation_table},
    "docs/pages.md": {"pages": pages_table},
    "docs/tuning.md": {"tuning-ranks": tuning_ranks_table, "tuning-gains": tuning_gains_table},
}


def with_table(text: str, name: str, table: str) -> str:
    """`text` with what stands between the two markers of the table `name` replaced by `table`.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected one {begin.strip()} and then one {end}")
    head, _, rest = text.partition(begin)
    return head + begin + table + end + rest.partition(end)[2]


def command_blocks(text: str) -> dict[str, str]:
    """The text of each marked block, by its name; the lines that begin with `$ ` are its commands.

    Raises:
        ValueError: a name stands twice, a block has no command, or a mark stands before anything but a console block.
    """
    blocks: dict[str, str] = {}
    for match in BLOCK.finditer(text):
        if match["name"] in blocks or not commands_of(match["body"]):
            raise ValueError(f"the block {match['name']!r} stands twice or has no line that begins with '$ '")
        blocks[match["name"]] = match["body"]
    if len(blocks) != text.count("<!-- run: "):
        raise ValueError("a `<!-- run: NAME -->` does not stand right before a ```console block")
    return blocks


def commands_of(block: str) -> list[str]:
    """The commands of a block."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def pages() -> dict[str, str]:
    """The text of README.md and of every page of docs/, by file name."""
    names = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
    return {name: here(name) for name in names}


def blocks_of_pages(texts: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of each marked block, by its name: the page that has it, and its text.

    Raises:
        ValueError: as `command_blocks`, or two pages have a block of one name.
    """
    found: dict[str, tuple[str, str]] = {}
    for page, text in texts.items():
        for name, block in command_blocks(text).items():
            if name in found:
                raise ValueError(f"both {found[name][0]} and {page} have a block {name!r}; rename one of them")
            found[name] = (page, block)
    return found


def run_block(page: str, name: str, block: str) -> list[str]:
    """Run the commands of a block in one shell, which prints each before it runs; the first that fails ends the block.

    Returns:
        What the block shows, and the commands did not print.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    print(f"== {page}, block {name}", flush=True)
    start, commands = time.monotonic(), commands_of(block)
    script = "\n".join(f"printf '%s\\n' {shlex.quote('$ ' + command)}\n{command}" for command in commands)
    printed = ""
    shell = ["bash", "-euo", "pipefail", "-c", script]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for data in process.stdout or ():  # as text, a line that overwrites itself would come as several
            line = data.decode(errors="replace")
            print(line, end="", flush=True)
            printed += line
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, shell)
    print(f"== block {name} took {time.monotonic() - start:.0f} s", flush=True)
    return differences(block, printed)


def _matches(text: str, name: str, table: Callable[[Reader], str], read: Reader) -> bool:
    try:
        return text == with_table(text, name, table(read))
    except (OSError, subprocess.CalledProcessError):  # no such file here or at HEAD, or no git
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table").add_argument("--write", action="store_true")
    commands.add_parser("run").add_argument("names", nargs="+", metavar="NAME")
    commands.add_parser("picture").add_argument("categories", nargs="*", metavar="CATEGORY")
    arguments = parser.parse_args(argv)

    if arguments.command == "run":
        blocks = blocks_of_pages(pages())
        unknown = [name for name in arguments.names if name not in blocks]
        if unknown:
            parser.error(f"no block {', '.join(unknown)}; README.md and docs/ have {', '.join(blocks)}")
        differing: list[str] = []
        for name in arguments.names:
            page, block = blocks[name]
            try:
                differing += [f"{page}, block {name}: {difference}" for difference in run_block(page, name, block)]
            except subprocess.CalledProcessError as error:
                print(f"{page}, block {name}: exit status {error.returncode}", file=sys.stderr)
                return 1
        print(*differing, sep="\n", end="\n" if differing else "", file=sys.stderr)
        return 1 if differing else 0
    if arguments.command == "picture":
        import front_picture  # needs the library; blocks are run also where nothing is installed yet

        print(front_picture.write(ROOT, arguments.categories).relative_to(ROOT))
        return 0
    if arguments.write:
        for page, tables in TABLES.items():
            text = here(page)
            for name, table in tables.items():
                text = with_table(text, name, table(here))
            (ROOT / page).write_text(text, encoding="utf-8")
        return 0
    stale = [
        (page, name)
        for page, tables in TABLES.items()
        for name, table in tables.items()
        if not any(_matches(here(page), name, table, read) for read in (here, committed))
    ]
    for page, name in stale:
        print(f"{page}: the table {name!r} is not what its files say; run `make readme`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
