"""gonogo: a go/no-go gauge for images. It learns good parts, rejects what differs and says how sure it is."""

import os

__version__ = "0.1.0"

# onnxruntime would tell its makers of every session, and write into the home folder for that; gonogo works offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Read when torch is loaded. Threads that wait for each other soon sleep: where another process has one of the cores,
# threads that spin instead take up to twenty times as long. The few turns of GNU's OpenMP cost nothing there and save
# the time of waking up on quiet cores; see benchmarks/spinning.py.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
