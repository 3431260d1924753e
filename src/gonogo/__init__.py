"""gonogo: a go/no-go gauge for images. It learns good parts, rejects what differs and says how sure it is."""

import os

__version__ = "0.1.0"

# onnxruntime would tell its makers of every session, and write into the home folder for that; gonogo works offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
