"""Are there known vulnerabilities in the pinned packages? Asks the OSV service through pip-audit.

    python tools/audit.py                both files of pins
    python tools/audit.py --must-reach   a service that does not answer is a failure too, as on a runner with a network

Exit status: 0 none is known, or the service could not be reached, which is said; 1 one is known, or with --must-reach
nothing could be asked.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = tuple(f"constraints{name}.txt" for name in ("", "-airflow", "-anomalib", "-evidently", "-mlflow", "-notebooks"))
# Vulnerabilities that are known and do not concern this project, by id, each with the reason.
ACCEPTED: dict[str, str] = {}


def known(pins: Path) -> list[str] | None:
    """A sentence for each vulnerability of the packages pinned in a file; None where the service gave no answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--progress-spinner", "off", "--format", "json"]
    command += [word for name in ACCEPTED for word in ("--ignore-vuln", name)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        print(f"{pins.name}: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return [
        f"{pins.name}: {package['name']} {package['version']}: {one['id']}, mended in {one['fix_versions'] or 'none'}"
        for package in found
        for one in package.get("vulns", ())
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print what is known, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--must-reach", action="store_true")
    arguments = parser.parse_args(argv)
    status = 0
    for name in PINS:
        found = known(ROOT / name)
        if found is None:
            print(f"NOT AUDITED: {name}: the vulnerability service cannot be reached from here")
            return int(arguments.must_reach)
        print("\n".join(found) if found else f"{name}: no known vulnerability")
        status = max(status, int(bool(found)))
    return status


if __name__ == "__main__":
    sys.exit(main())
