"""The process that is timed: the scorer alone, from process start to verdict. It imports only what a line needs.

`python -m gonogo.evaluation.speed.timing` reads a request from standard input, scores, and prints its measurements as
JSON.
"""

import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SIDE = 1024  # of the matrices of a plain product
LEAST_COPY = 2**20  # bytes; a smaller copy would be too short to time
PAUSE = 0.02  # seconds, after which onnxruntime's threads no longer spin
ROUNDS = 15
BLOCK = 20  # images that one runtime scores before the other scores the same ones
SWEEP_IMAGES = 32  # per setting
BATCH_SIZES = (1, 8, 32)


def main() -> None:
    """Read a request, score, print the figures."""
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    import numpy as np
    import onnxruntime
    import PIL

    from gonogo.compute.memory import machine_bytes, peak_bytes, resident_bytes
    from gonogo.inference.scorer import Scorer

    bundle, threads = Path(request["bundle"]), int(request["threads"])
    scorer = Scorer(bundle, threads=threads)
    loaded = resident_bytes()
    paths = [Path(path) for path in request["images"]]
    scorer.score_image(paths[0])
    print("first verdict", flush=True)

    for path in islice(cycle(paths), request["warmup"]):
        scorer.score_image(path)
    runs = np.array([_parts(scorer, path) for path in islice(cycle(paths), request["runs"])]) * 1e3
    decode, model, rest, regions = runs.T
    total = decode + model + rest
    peak = peak_bytes()
    height, width = scorer.score_image(paths[0]).anomaly_map.shape
    figures = {
        "p50_ms": float(np.percentile(total, 50)),
        "p95_ms": float(np.percentile(total, 95)),
        "mean_ms": float(total.mean()),
        "images_per_second": float(1e3 / total.mean()),
        "decode_p50_ms": float(np.percentile(decode, 50)),
        "model_p50_ms": float(np.percentile(model, 50)),
        "rest_p50_ms": float(np.percentile(rest, 50)),
        "regions_p50_ms": float(np.percentile(regions, 50)),
        "peak_memory_mb": peak / 2**20,
        "runs": request["runs"],
        "threads": threads,
        "image_width": width,
        "image_height": height,
        "onnxruntime": onnxruntime.__version__,
        "pillow": PIL.__version__,
    }
    if request["openvino"]:
        figures |= openvino_figures(bundle, scorer, paths, n_runs=request["runs"], threads=threads)
    rounds = list(in_turn(paths[0], threads, int(request["copy_bytes"])))
    room = machine_bytes() // 4
    most = room // max(1, peak - loaded) if room else 1
    speeds = list(sweep(bundle, paths, threads, min(request["runs"], SWEEP_IMAGES), most))
    print(json.dumps({"figures": figures, "rounds": rounds, "speeds": speeds}))


def _parts(scorer: Any, path: Path) -> tuple[float, float, float, float]:
    """Seconds of decoding, model, rest and regions."""
    from gonogo.images.reading import read_image

    start = time.perf_counter()
    pixels = read_image(path)[None]
    decoded = time.perf_counter()
    outputs = scorer.outputs(pixels)
    ran = time.perf_counter()
    (verdict,) = scorer.judge(*outputs)
    judged = time.perf_counter()
    _ = verdict.regions  # timed apart: the verdict does not wait for them
    return decoded - start, ran - decoded, judged - ran, time.perf_counter() - judged


def openvino_figures(
    bundle: Path, scorer: Any, paths: Sequence[Path], *, n_runs: int, threads: int
) -> dict[str, float | int | str]:
    """Time from file to score in OpenVINO and in onnxruntime, in turn by `BLOCK` images, and how their scores differ.

    OpenVINO is set to 32 bits, since it would choose 16 bits on a CPU that is faster with them.
    """
    import numpy as np
    import openvino

    from gonogo.images.reading import read_image
    from gonogo.inference.scorer import ONNX_FILE

    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(bundle / ONNX_FILE, "CPU", hints)
    runtimes: dict[str, Callable[[Any], Any]] = {
        "onnxruntime": lambda pixels: scorer.run(pixels)[0],
        "openvino": lambda pixels: compiled(pixels)[0],
    }
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    scores: dict[str, list[float]] = {name: [] for name in runtimes}
    images = cycle(paths)
    for _ in range(-(-n_runs // BLOCK)):
        block = list(islice(images, BLOCK))
        for name, run in runtimes.items():
            time.sleep(PAUSE)
            run(read_image(block[0])[None])
            for path in block:
                start = time.perf_counter()
                score = float(np.ravel(run(read_image(path)[None]))[0])
                seconds[name].append(time.perf_counter() - start)
                scores[name].append(score)
    ours, theirs = np.array(scores["onnxruntime"]), np.array(scores["openvino"])
    return {
        "openvino": openvino.__version__,
        "openvino_p50_ms": float(np.median(seconds["openvino"])) * 1e3,
        "onnxruntime_beside_openvino_p50_ms": float(np.median(seconds["onnxruntime"])) * 1e3,
        "openvino_score_max_diff_e6": float(np.abs(ours - theirs).max() / np.abs(ours).max()) * 1e6,
        "openvino_n_flips": int(((ours >= scorer.threshold) != (theirs >= scorer.threshold)).sum()),
    }


def in_turn(path: Path, threads: int, copy_bytes: int) -> Iterator[tuple[float, float, float]]:
    """ROUNDS times: seconds of a plain product of SIDE, of a plain copy, and of the library's decoding.

    The copy is of as many bytes as a verdict moves at least, half of them read and half written: if they fit into a
    cache, they do so here. No verdict is timed between them: numpy's threads spin on for a while after a product, and
    would take its cores.
    """
    import numpy as np
    from PIL import Image

    left, right = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), dtype=np.float32)
    product = np.empty((SIDE, SIDE), dtype=np.float32)
    source = np.ones((threads, -(-copy_bytes // (2 * threads))), dtype=np.uint8)
    target = np.empty_like(source)
    data = path.read_bytes()

    def copy() -> None:
        for _ in pool.map(np.copyto, target, source):
            pass

    with ThreadPoolExecutor(threads) as pool:
        time.sleep(PAUSE)
        for _ in range(ROUNDS):
            multiplied = seconds_of(lambda: np.matmul(left, right, out=product))
            copied = seconds_of(copy)
            decoded = seconds_of(lambda: Image.open(io.BytesIO(data)).load())
            yield multiplied, copied, decoded


def seconds_of(action: Callable[[], object]) -> float:
    """Of the second of two calls: the first wakes threads and fills caches."""
    action()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def settings(threads: int, batch_sizes: Sequence[int], most: int) -> Iterator[tuple[int, int, int]]:
    """(workers, threads of each, batch size) worth a try: one thread alone, and all of them divided among workers.

    Args:
        most: images that may be in the network at once.
    """
    shared = [(1, 1)] + [(2**k, threads // 2**k) for k in range(threads.bit_length()) if threads > 1]
    for workers, each in shared:
        yield from ((workers, each, size) for size in batch_sizes if size == 1 or workers * size <= most)


def sweep(
    bundle: Path, paths: Sequence[Path], threads: int, n_images: int, most: int
) -> Iterator[tuple[int, int, int, float]]:
    """Each of the `settings`, and the images per second from files to verdicts that it gives."""
    from gonogo.inference.scorer import Scorer

    files = list(islice(cycle(paths), n_images))
    for workers, each, size in settings(threads, BATCH_SIZES, most):
        scorer = Scorer(bundle, threads=each)
        for _ in scorer.score_files(files[: workers * size], batch_size=size, workers=workers):
            pass
        start = time.perf_counter()
        n_scored = sum(1 for _ in scorer.score_files(files, batch_size=size, workers=workers))
        yield workers, each, size, n_scored / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
