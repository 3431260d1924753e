"""The record of a training: the curves are written, and nothing is loaded for them that a fit does not need."""

import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
from gonogo.compute.live import open_live

with open_live(Path(sys.argv[1])) as live:
    for step, loss in enumerate((3.0, 1.0)):
        live.step = step
        live.log_metric("loss", loss)
assert "pandas" not in sys.modules
import pandas
"""


def test_a_curve_is_recorded_without_pandas_which_can_be_imported_after_it(tmp_path):
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True)
    assert (tmp_path / "plots/metrics/loss.tsv").read_text().split() == ["step", "loss", "0", "3.0", "1", "1.0"]
