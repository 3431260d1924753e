"""Write down what each stage's results depend on besides its data: its code, and what each category does differently.

DVC then reruns a stage where its own code or its own overrides changed, and no other.
"""

import re
from pathlib import Path

import entry_point
import gonogo
from gonogo.files import require_raw, write_json, write_text
from gonogo.params import Params, read_yaml
from gonogo.project.fingerprint import fingerprint

FINGERPRINT = re.compile(r"\$\{code\}/(\w+)\.txt")  # a dependency on the code of a stage


def main() -> None:
    params = Params(entry_point.PARAMS)
    require_raw(params.raw)  # before DVC looks for it, which says no more than errno 2
    folder, package = Path(__file__).parent, Path(gonogo.__file__).parent
    deps = [str(dep) for stage in read_yaml(Path("dvc.yaml"))["stages"].values() for dep in stage.get("deps", [])]
    stages = sorted({found[1] for dep in deps if (found := FINGERPRINT.fullmatch(dep))})
    for stage in stages:
        text = fingerprint(folder / f"{stage}.py", package=package, beside=[Path("constraints.txt")])
        write_text(entry_point.path("code", f"{stage}.txt"), text)
    write_json(entry_point.path("code", "overrides.json"), params.overrides_by_section())
    entry_point.say(f"fingerprints of the code of {len(stages)} stages are written")


if __name__ == "__main__":
    entry_point.guard(main, label="code")
