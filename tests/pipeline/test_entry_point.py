"""What the entry point of the stages does to the process."""

import subprocess
import sys

from checkout import ROOT

PROGRAM = """
import gc, sys
sys.path.insert(0, "stages")
import entry_point

print(gc.isenabled(), gc.get_freeze_count() > 0)
entry_point.guard(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000), label="a stage")
"""


def test_python_looks_for_garbage_when_all_is_imported_and_not_through_what_was():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split("\n") == ["False False", "True True", ""]
