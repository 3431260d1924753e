"""gonogo's side of benchmarks/anomalib_side_by_side.py: answers about one gauge.

What exports and what scores is imported after the fit, as in the pipeline, where other stages do that.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))  # of this checkout, whatever is installed
sys.path.append(str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from gonogo.compute.memory import peak_bytes, resident_bytes  # noqa: E402
from gonogo.compute.versions import versions  # noqa: E402
from gonogo.detectors import detector_with  # noqa: E402
from gonogo.detectors.contract import FitContext  # noqa: E402
from gonogo.detectors.options import DETECTOR_OPTIONS, PatchCoreOptions  # noqa: E402
from gonogo.detectors.patchcore import PatchCore  # noqa: E402
from gonogo.files import sha256_of  # noqa: E402
from gonogo.images.reading import read_image  # noqa: E402
from gonogo.model.inspector import Inspector  # noqa: E402
from peer import answer  # noqa: E402
from verdicts import milliseconds  # noqa: E402


class Files(Sequence[Tensor]):
    """Pixels (1, 3, s, s) of image files, read when asked for; `began` is when the first one was."""

    def __init__(self, inspector: Inspector, paths: Sequence[str]) -> None:
        self.inspector, self.paths, self.began = inspector, paths, 0.0

    def __len__(self) -> int:
        return len(self.paths)

    @torch.inference_mode()
    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # only an int: nobody slices it
        self.began = self.began or time.perf_counter()
        return self.inspector.resized(torch.from_numpy(read_image(Path(self.paths[index])))[None])


class Fitted:
    """One gauge, from the fit on."""

    def __init__(self) -> None:
        self.inspector: Inspector | None = None
        self.session: Any = None

    @torch.inference_mode()
    def features(self, images: list[str], image_size: int, weights: str, out: str) -> dict[str, Any]:
        """Write the patches (n * p, d) of the images; `weights` are those that gonogo finds by itself."""
        detector = PatchCore(PatchCoreOptions(image_size=image_size))
        detector.load_weights()
        files = Files(Inspector(detector), images)
        np.save(out, torch.cat([detector.patch_features(pixels).flatten(0, 2) for pixels in files]).numpy())
        return {}

    def fit(
        self,
        images: list[str],
        image_size: int,
        weights: str,
        out: str,
        folder: str,
        seed: int,
        detector: str,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Fit `detector` with its `options`, and write the bank (m, d) of a PatchCore."""
        teacher = options.get("teacher")
        known = {"teacher_sha256": sha256_of(Path(teacher))} if teacher else {}
        made = detector_with(detector, DETECTOR_OPTIONS[detector](image_size=image_size, **options, **known))
        self.inspector = Inspector(made)
        files = Files(self.inspector, images)
        before = resident_bytes()
        ended = 0.0

        def progress(what: str, *_: object) -> None:
            nonlocal ended
            if what == "features":
                ended = time.perf_counter()

        start = time.perf_counter()
        made.fit(files, seed=seed, context=FitContext(progress=progress))
        end = time.perf_counter()
        peak = peak_bytes()
        found = {"fit_s": end - start, "before_mb": before / 1e6, "peak_mb": peak / 1e6}
        if not isinstance(made, PatchCore):
            return found
        np.save(out, (made.memory_bank_ + made.mean_).numpy())
        return found | {
            "feature_s": ended - files.began,
            "coreset_s": end - ended,
            "n_picks": len(made.memory_bank_),
        }

    def export(self, folder: str, image_size: int, threads: int) -> dict[str, Any]:
        """Write the ONNX file and open it."""
        from gonogo.export.graph import export_onnx
        from gonogo.inference.scorer import open_session

        assert self.inspector is not None
        path = Path(folder) / "gonogo.onnx"
        export_onnx(self.inspector, path, metadata={}, opset=18)
        self.session = open_session(path, threads=threads)
        return {"onnx_mb": path.stat().st_size / 1e6, "versions": versions("torch", "timm", "onnxruntime", "numpy")}

    def score(self, images: list[str], out: str) -> dict[str, Any]:
        """Write the scores (n,) and maps (n, h, w) of the inspector, which the ONNX file gives too."""
        assert self.inspector is not None
        scored = [self.inspector.inspect(read_image(Path(path))[None]) for path in images]
        np.savez(out, scores=np.concatenate([s for s, _ in scored]), maps=np.concatenate([m for _, m in scored]))
        return {}

    def verdicts(self, how: str, images: list[str]) -> dict[str, Any]:
        """Milliseconds from file to score and map for each image; `how` is onnx alone."""
        return {"ms": milliseconds(self._judged, [Path(path) for path in images])}

    def _judged(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        from gonogo.inference.scorer import run_session

        return run_session(self.session, read_image(path)[None])


if __name__ == "__main__":
    fitted = Fitted()
    answer({name: getattr(fitted, name) for name in ("features", "fit", "export", "score", "verdicts")})
