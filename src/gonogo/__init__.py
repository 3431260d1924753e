"""gonogo: a go/no-go gauge for images. It learns good parts, rejects what differs and says how sure it is."""

import os

__version__ = "0.1.0"

# onnxruntime would tell its makers of every session, and write into the home folder for that; gonogo works offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Read when torch is loaded. Threads that wait for each other sleep: where another process has one of the cores, threads
# that spin instead take twenty times as long; see benchmarks/spinning.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
