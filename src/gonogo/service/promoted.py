"""The gauge that a project's registry.jsonl has in use, for a service that follows it.

The file is watched; what it says is believed only once `gonogo registry --get`, in a process of its own in the
project, has checked that the line came through the gate, and has written the bundle. The service needs no torch so.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gonogo.errors import DataError, GateError, IntegrityError
from gonogo.inference.bundle import read_bundle

REGISTRY = "registry.jsonl"  # as in `gonogo.project.registry`, which imports the pipeline
NAME_DIGITS = 16  # of a bundle's fingerprint, in the name of its folder


@dataclass(frozen=True)
class RegistrySource:
    """Whose registry is followed.

    Attributes:
        project: the folder of the project, a checkout with its DVC.
        category: of the gauge.
        alias: staging or production.
        folder: where the bundles are written, each in a folder of its own.
    """

    project: Path
    category: str
    alias: str
    folder: Path


class Promoted:
    """Fetches the gauge in use. Lines that it once saw must stay: a registry that lost one is refused.

    Attributes:
        source: whose registry it is.
        seen: what the registry's file held when its gauge was last fetched.
    """

    def __init__(self, source: RegistrySource) -> None:
        self.source = source
        self.seen = b""

    def content(self) -> bytes:
        """What the registry's file holds; nothing where there is none."""
        try:
            return (self.source.project / REGISTRY).read_bytes()
        except FileNotFoundError:
            return b""

    def fetch(self) -> Path:
        """The folder of the bundle in use, which came through the gate and is written whole.

        Raises:
            GateError: it did not come through the gate.
            DataError: there is none, or `gonogo registry --get` fails for another reason.
            IntegrityError: what was written is not the bundle that the registry names.
            OSError: the folder of the bundles cannot be written to.
        """
        content = self.content()
        if not content.startswith(self.seen):
            raise GateError(f"{REGISTRY} has lost or changed lines that it had; restore it as git has it")
        source = self.source
        source.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with TemporaryDirectory(dir=source.folder, prefix=".fetched-") as room:
            out = Path(room, "bundle").resolve()
            command = [sys.executable, "-m", "gonogo.cli", "registry", "--get", source.category]
            command += ["--alias", source.alias, "--out", str(out), "--json"]
            result = subprocess.run(command, cwd=source.project, capture_output=True, text=True, check=False)
            answer = _answer(result.stdout)
            if result.returncode:
                error = answer.get("error", {})
                reason = error.get("message") or f"exit status {result.returncode}: {result.stderr.strip()}"
                raise GateError(reason) if error.get("code") == "GateError" else DataError(reason)
            fingerprint = answer["entry"]["bundle"]
            path = source.folder / fingerprint[:NAME_DIGITS]
            if not path.exists():
                out.rename(path)
        if read_bundle(path).fingerprint != fingerprint:
            raise IntegrityError(f"{path} is not the bundle {fingerprint[:12]} that {REGISTRY} names; remove it")
        self.seen = content
        return path


def _answer(text: str) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = json.loads(text)
    except ValueError:
        return {}
    return found
