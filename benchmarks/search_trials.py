"""Ways to find the nearest patch of the bank sooner, beside the one in use: docs/speed.md.

    python benchmarks/search_trials.py --data FOLDER [--parts NAME ...]

The patches of real test images are searched in the bank of a real gauge by small ONNX graphs, one after the other in
turn, on one thread; a time is the best of many. The distance to what is found is then computed in float64, so that the
loss is known: how much an image's score rises where the nearest patch is missed, and what becomes of the image AUROC.
Rows that are measured again replace the old ones in benchmarks/search_trials.json; `make readme` then writes the table.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from gonogo.compute.versions import versions
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.evaluation.accuracy.metrics import auroc
from gonogo.images.dataset import evenly_spaced
from gonogo.model.fit_images import FitImages
from gonogo.model.inspector import Inspector
from gonogo.params import read_yaml
from parts import SOURCES, prepare_part
from results import ROOT, Row, add_row, origin

RESULTS = ROOT / "benchmarks" / "search_trials.json"
BLOCK, ROUNDS, MOST = 64, 60, 20  # entries of a block; times that each is measured; images of each label
AXES, FEW = 48, 4  # principal axes that the shorter search looks at; blocks whose best entries are compared exactly
ROUNDING = 1e-6  # by which the features of two runtimes differ, as a share of each
PARTS = {name: SOURCES[name] for name in ("hazelnut", "brick")}


def model_of(
    product: Sequence[onnx.NodeProto], constants: Mapping[str, np.ndarray], bank: np.ndarray, p: int, few: int
) -> onnx.ModelProto:
    """A graph from `rows` (p, d) to the `index` (p,) of an entry of `bank`, by the `closeness` that `product` computes.

    As in the gauge, the best block comes first and the entry within it second. With `few` above 1, the best entries of
    so many blocks are candidates, and the nearest of them, by differences in single precision, is taken.
    """
    m = len(padded(bank))
    blocks = m // BLOCK
    search = [
        helper.make_node("Reshape", ["closeness", "in_blocks"], ["blocks"]),
        helper.make_node("ReduceMax", ["blocks", "last"], ["best_of_block"], keepdims=0),
        helper.make_node("Reshape", ["closeness", "as_rows"], ["rows_of_blocks"]),
    ]
    if few == 1:
        search.append(helper.make_node("ArgMax", ["best_of_block"], ["block"], axis=1, keepdims=1))
    else:
        search.append(helper.make_node("TopK", ["best_of_block", "few"], ["closeness_of_blocks", "block"], axis=1))
    search += [
        helper.make_node("Add", ["block", "first_block"], ["row"]),
        helper.make_node("Gather", ["rows_of_blocks", "row"], ["within"], axis=0),
        helper.make_node("ArgMax", ["within"], ["place"], axis=2, keepdims=0),
        helper.make_node("Mul", ["block", "size"], ["start"]),
        helper.make_node("Add", ["start", "place"], ["candidates"]),
    ]
    if few == 1:
        search.append(helper.make_node("Reshape", ["candidates", "flat"], ["index"]))
    else:
        search += [
            helper.make_node("Gather", ["entries", "candidates"], ["near"], axis=0),
            helper.make_node("Reshape", ["rows", "as_columns"], ["own"]),
            helper.make_node("Sub", ["near", "own"], ["difference"]),
            helper.make_node("ReduceSumSquare", ["difference", "last"], ["squared"], keepdims=0),
            helper.make_node("ArgMin", ["squared"], ["winner"], axis=1, keepdims=1),
            helper.make_node("GatherElements", ["candidates", "winner"], ["won"], axis=1),
            helper.make_node("Reshape", ["won", "flat"], ["index"]),
        ]
    numbers = {
        "in_blocks": np.array([p, blocks, BLOCK]),
        "last": np.array([2]),
        "few": np.array([min(few, blocks)]),
        "first_block": (np.arange(p) * blocks)[:, None],
        "as_rows": np.array([p * blocks, BLOCK]),
        "size": np.array([BLOCK]),
        "flat": np.array([p]),
        "as_columns": np.array([p, 1, bank.shape[1]]),
        "entries": padded(bank),
    }
    graph = helper.make_graph(
        [*product, *search],
        "search",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [p, bank.shape[1]])],
        [helper.make_tensor_value_info("index", TensorProto.INT64, [p])],
        [numpy_helper.from_array(value, name) for name, value in {**constants, **numbers}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def padded(bank: np.ndarray) -> np.ndarray:
    """(m, d) with copies of its first row, so that m is a multiple of a block."""
    return np.concatenate([bank, np.repeat(bank[:1], -len(bank) % BLOCK, axis=0)])


def in_floats(bank: np.ndarray, p: int, *, axes: np.ndarray | None = None, few: int = 1) -> onnx.ModelProto:
    """The search in use: one product in single precision, norms included; or along some axes (d, k) alone."""
    seen = padded(bank) if axes is None else padded(bank) @ axes
    norms = -0.5 * np.square(seen).sum(axis=1, keepdims=True)
    columns = np.concatenate([seen, norms], axis=1).T
    constants = {"columns": columns.astype(np.float32).copy(), "one": np.ones((p, 1), np.float32)}
    product = []
    if axes is not None:
        constants["axes"] = axes
        product.append(helper.make_node("MatMul", ["rows", "axes"], ["shorter"]))
    product += [
        helper.make_node("Concat", ["rows" if axes is None else "shorter", "one"], ["terms"], axis=1),
        helper.make_node("MatMul", ["terms", "columns"], ["closeness"]),
    ]
    return model_of(product, constants, bank, p, few)


def in_integers(bank: np.ndarray, p: int, *, bits: int = 8, few: int = 1) -> onnx.ModelProto:
    """Patches and entries in so many bits: sums of products below 2 ** 24, the same in any order and in any runtime.

    Without the processor's VNNI, onnxruntime adds two products in 16 bits, where those of 8 bits can overflow and those
    of 7 cannot.
    """
    scale = np.float32((2 ** (bits - 1) - 1) / np.abs(bank).max())
    entries = np.rint(padded(bank) * scale).astype(np.int8)
    half_norms = np.rint(0.5 * np.square(entries.astype(np.float64)).sum(axis=1)).astype(np.int32)
    constants = {
        "step": np.array(1 / scale, np.float32),
        "zero": np.array(128, np.uint8),
        "columns": entries.T.copy(),
        "norms": -half_norms[None],
    }
    product = [
        helper.make_node("QuantizeLinear", ["rows", "step", "zero"], ["whole_rows"]),
        helper.make_node("MatMulInteger", ["whole_rows", "columns", "zero"], ["product"]),
        helper.make_node("Add", ["product", "norms"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["closeness"], to=TensorProto.FLOAT),
    ]
    return model_of(product, constants, bank, p, few)


def principal_axes(bank: np.ndarray) -> np.ndarray:
    """(d, AXES) float32, of the bank."""
    axes = np.linalg.svd(bank - bank.mean(axis=0), full_matrices=False)[2][:AXES].T
    return np.ascontiguousarray(axes, dtype=np.float32)


def share_of_blocks_left(bank: np.ndarray, rows: np.ndarray) -> float:
    """The share of blocks that bounds do not exclude: those whose entries may be nearer than the best of one block.

    Entries are in blocks around centres that lie far apart. A block's entries are no nearer to a row than its centre
    less its radius; the block of the nearest centre is searched first.
    """
    generator = np.random.default_rng(0)
    centres = bank[generator.choice(len(bank), max(1, len(bank) // BLOCK), replace=False)]
    of = np.linalg.norm(bank[:, None] - centres[None], axis=2)
    block = of.argmin(axis=1)
    radii = np.array([of[block == number, number].max(initial=0) for number in range(len(centres))])
    to_centres = np.linalg.norm(rows[:, None] - centres[None], axis=2)
    first = to_centres.argmin(axis=1)
    found = np.array(
        [np.linalg.norm(bank[block == at] - row, axis=1).min() for row, at in zip(rows, first, strict=True)]
    )
    return float((to_centres - radii[None] < found[:, None]).mean())


def measured(
    trials: Mapping[str, onnx.ModelProto], images: Sequence[np.ndarray]
) -> tuple[dict[str, float], dict[str, list[list[np.ndarray]]]]:
    """The best time in milliseconds of each trial, in turn over the images, and the indices (p,) that it finds.

    They are found twice: of the patches, and of patches that differ from them as another runtime's do, by a millionth.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    sessions = {
        name: onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for name, graph in trials.items()
    }
    rng = np.random.default_rng(1)
    shaken = [(rows * (1 + ROUNDING * rng.standard_normal(rows.shape))).astype(np.float32) for rows in images]
    found = {
        name: [[session.run(None, {"rows": rows})[0] for rows in some] for some in (images, shaken)]
        for name, session in sessions.items()
    }
    best = dict.fromkeys(trials, np.inf)
    for number in range(ROUNDS):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"rows": images[number % len(images)]})
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best, found


@torch.inference_mode()
def rows_of(name: str, data: Path) -> list[Row]:
    """The measurements on one part."""
    section = read_yaml(ROOT / "params.yaml")["fit"]
    kept = {key: section[key] for key in ("backbone", "layers", "image_size", "whitening", "coreset_ratio")}
    with tempfile.TemporaryDirectory() as place:
        dataset = prepare_part(name, PARTS[name], data, Path(place), progress=lambda *_: None).dataset
        test = dataset.with_role("test")
        some = [r for label in (0, 1) for r in evenly_spaced([r for r in test if r.label == label], MOST)]
        detector = PatchCore(PatchCoreOptions(**kept))
        inspector = Inspector(detector)
        detector.fit(FitImages(inspector, dataset, evenly_spaced(dataset.with_role("fit"), 200)), seed=17)
        pixels = FitImages(inspector, dataset, some)
        images = [detector._reduced(detector.patch_features(image))[0].numpy() for image in pixels]
    labels = np.array([record.label == 1 for record in some])
    bank, p = detector.memory_bank_.numpy(), len(images[0])
    trials = {
        "single precision, in use": in_floats(bank, p),
        "integers of 8 bits": in_integers(bank, p),
        "integers of 7 bits": in_integers(bank, p, bits=7),
        f"integers of 8 bits, then the best of {FEW} blocks by differences": in_integers(bank, p, few=FEW),
        f"{AXES} principal axes": in_floats(bank, p, axes=principal_axes(bank)),
        f"{AXES} principal axes, then the best of {FEW} blocks by differences": in_floats(
            bank, p, axes=principal_axes(bank), few=FEW
        ),
        "half the bank, the patches chosen first": in_floats(bank[: len(bank) // 2], p),
    }
    times, found = measured(trials, images)
    (standing, *_), rows = times.values(), []

    def scores_of(indices: Sequence[np.ndarray]) -> np.ndarray:
        away = [image.astype(np.float64) - padded(bank)[index] for image, index in zip(images, indices, strict=True)]
        return np.array([np.linalg.norm(difference, axis=1).max() for difference in away])

    reference = scores_of(next(iter(found.values()))[0])
    for trial, (indices, again) in found.items():
        scores = scores_of(indices)
        rows.append(
            {
                "part": name,
                "search": trial,
                "bank": len(bank),
                "dims": bank.shape[1],
                "ms": times[trial],
                "ratio": times[trial] / standing,
                "largest_rise": float((scores / reference - 1).max()),
                "unrest": float(np.abs(scores_of(again) / scores - 1).max()),
                "n_moved": int(sum((one != other).sum() for one, other in zip(indices, again, strict=True))),
                "n_patches": p * len(images),
                "image_auroc": auroc(scores.astype(np.float32), labels),
            }
        )
    left = share_of_blocks_left(bank, images[-1])
    return [*rows, {"part": name, "search": "blocks that bounds leave", "bank": len(bank), "share_left": left}]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every row, print each when it is there, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the parts' folders are")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    about = origin(1, versions("torch", "numpy", "onnxruntime"))
    for name in arguments.parts:
        for row in rows_of(name, arguments.data):
            add_row(arguments.out, row | about, key=("part", "search"))
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
