"""`centre_boxes` beside torchvision's FCOS head: the same backbone, crops and seconds, in one run.

    python benchmarks/boxes.py --data FOLDER [--sets NAME ...] [--epochs N] [--alone] [--pieces SECONDS]
        [--state FOLDER]

FOLDER holds `lpbf_porosity`, whose published split is dealt anew by part; `blemishes` are drawn on an installed
photograph and need no folder. Ours is fitted as the stage `fit` does it; FCOS then trains for as many seconds of CPU as
that took. With --pieces the run stops after so many seconds, and the next call with the same --state goes on: both
trainings resume from their checkpoints. With --alone, FCOS is left out. Rows replace those of as many epochs of ours
in benchmarks/boxes.json.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from fcos_peer import fcos, found_by, targets_of
from gonogo.calibration.boxes import Boxes
from gonogo.calibration.threshold import CalibrateParams
from gonogo.data.blemishes import Blemishes
from gonogo.data.coco import Coco
from gonogo.data.prepare.prepare import prepare, prepare_params, shares_of
from gonogo.detectors import detector_with
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.boxes.average_precision import mean_average_precision
from gonogo.detectors.boxes.centre_boxes import EVEN, CentreBoxes, Crops, crop_side
from gonogo.detectors.boxes.labelled import Labelled, LabelledImages, numbered
from gonogo.detectors.boxes.network import trainable
from gonogo.detectors.contract import FitContext
from gonogo.detectors.options import CentreBoxesOptions
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.training import Schedule, Training
from gonogo.evaluation.boxes.coco import coco_precision
from gonogo.export.graph import export_onnx
from gonogo.files import read_json, write_json
from gonogo.images.dataset import Dataset, read_dataset
from gonogo.images.roles import Role
from gonogo.model.fit_images import FitImages, labelled_images
from gonogo.model.inspector import Inspector
from gonogo.params import Params, build
from results import ROOT, add_row, origin

RESULTS = ROOT / "benchmarks" / "boxes.json"
SEED, ROUNDS, MOST = 17, 15, 300
FCOS = "torchvision FCOS"
PROBES = 3  # steps of FCOS that tell how many its seconds are enough for


@dataclass(frozen=True)
class Setting:
    """A data set, and the options of the fit on it."""

    samples: Callable[[Path, Any], Any]
    prepare: dict[str, Any]
    fit: dict[str, Any]


SETTINGS = {
    "lpbf_porosity": Setting(
        lambda data, shares: Coco(
            annotations=[f"{part}/_annotations.coco.json" for part in ("train", "valid", "test")], images="images"
        ).samples("lpbf_porosity", data / "lpbf_porosity", shares),
        {"group_pattern": r"images/(\d+)", "calibrate_share": 0.5, "validate_share": 0.06, "test_share": 0.15},
        {"image_size": 600, "epochs": 4, "epoch_steps": 100, "patience": 0},
    ),
    "blemishes": Setting(
        lambda _, shares: Blemishes().samples("blemishes", Path(), shares),
        {"calibrate_share": 0.7, "validate_share": 0.2},
        {"image_size": 48, "crop": 48, "epochs": 20, "epoch_steps": 12, "patience": 0},
    ),
}


class Pause(Exception):
    """The piece is over; what is trained so far has its checkpoint."""


@dataclass
class Clock:
    """Seconds of CPU of each training over all pieces, kept in a file, and when this piece is over."""

    path: Path
    ends: float

    def __post_init__(self) -> None:
        self.spent: dict[str, list[float]] = read_json(self.path) if self.path.is_file() else {}
        self.began = time.process_time()

    def epoch(self, name: str, number: int) -> None:
        """Note the seconds of an epoch that is done, unless an earlier piece did.

        Raises:
            Pause: the piece is over.
        """
        known = self.spent.setdefault(name, [])
        now = time.process_time()
        if number > len(known):
            known.append(now - self.began)
            write_json(self.path, self.spent)
        self.began = now
        if time.perf_counter() > self.ends:
            raise Pause


def prepared(name: str, data: Path, folder: Path) -> Dataset:
    """The data set with its parts dealt anew, so that all images of one have one role; as an earlier piece wrote it."""
    if (folder / "manifest.jsonl").is_file():
        return read_dataset(folder, data / name)
    params, setting = Params(ROOT / "params.yaml"), SETTINGS[name]
    chosen = prepare_params(params.section("prepare") | setting.prepare | {"task": "boxes", "exclude": []})
    found = prepare(
        setting.samples(data, shares_of(chosen, SEED)),
        chosen,
        build(CalibrateParams, params.section("calibrate"), where="calibrate"),
        category=name,
        folder=folder,
        raw=data / name,
        seed=SEED,
        progress=lambda _done, _total: None,
    )
    found.require_no_error()
    return found.dataset


def images_of(inspector: Inspector, dataset: Dataset, role: Role) -> LabelledImages:
    """The images of a role as the networks see them."""
    return labelled_images(FitImages(inspector, dataset, dataset.with_role(role)))


def fitted_ours(options: CentreBoxesOptions, labelled: Labelled, clock: Clock, folder: Path) -> CentreBoxes:
    """`centre_boxes`, fitted as the stage does it."""
    detector = detector_with("centre_boxes", options)
    assert isinstance(detector, CentreBoxes)

    def progress(_what: str, done: int, _total: int, values: dict[str, float]) -> None:
        print("centre_boxes", done, {name: round(value, 3) for name, value in values.items()}, flush=True)
        clock.epoch("centre_boxes", done)

    context = FitContext(
        labelled=labelled, checkpoints=Checkpoints(folder, {"options": repr(options)}), progress=progress
    )
    return detector.fit(labelled.fit.pixels, seed=SEED, context=context)


def fitted_fcos(options: CentreBoxesOptions, images: LabelledImages, clock: Clock, folder: Path) -> tuple[Any, int]:
    """FCOS on the same crops for as many seconds as ours took, and its training steps."""
    backbone = Backbone(options.backbone, options.layers, options.image_size)
    backbone.load(options.weights, options.weights_sha256)
    network = fcos(backbone, len(images.classes), seed=SEED).to(memory_format=torch.channels_last)  # as ours
    coarsest = max(int(backbone.model.feature_info[layer]["reduction"]) for layer in backbone.layers)
    stride = min(int(backbone.model.feature_info[layer]["reduction"]) for layer in backbone.layers)
    crops = Crops(images, images.classes, options, stride, coarsest)
    inside = trainable(backbone)
    within = {id(weight) for weight in backbone.parameters()}
    behind = [weight for weight in network.parameters() if id(weight) not in within]
    optimizer = torch.optim.AdamW([{"params": inside}, {"params": behind}], weight_decay=1e-4)
    training = Training(network, optimizer, torch.Generator().manual_seed(SEED))

    def step(generator: torch.Generator) -> torch.Tensor:
        cut = [crops.cut(generator) for _ in range(options.batch_size)]
        targets = [targets_of(boxes, classes, *pixels.shape[1:]) for pixels, boxes, classes in cut]
        network.train()
        backbone.eval()
        losses: torch.Tensor = sum(network([pixels for pixels, _, _ in cut], targets).values())
        optimizer.zero_grad()
        losses.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*inside, *behind], 10.0)
        optimizer.step()
        return losses.detach()

    ours = sum(clock.spent["centre_boxes"])
    if "fcos_step" not in clock.spent:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        step(torch.Generator().manual_seed(0))
        began = time.process_time()
        for _ in range(PROBES):
            step(torch.Generator().manual_seed(0))
        clock.spent["fcos_step"] = [(time.process_time() - began) / PROBES]
        optimizer.state.clear()
        write_json(clock.path, clock.spent)
        clock.began = time.process_time()
    steps = max(1, round(ours / clock.spent["fcos_step"][0]))
    epochs = max(1, round(steps / options.epoch_steps))
    per_epoch = math.ceil(steps / epochs)

    def epoch(number: int) -> dict[str, float]:
        rate = 0.3 if number == 0 else (1 + math.cos(math.pi * number / epochs)) / 2
        for group, lr in zip(optimizer.param_groups, (options.backbone_lr, options.lr), strict=True):
            group["lr"] = rate * lr
        return {"loss": float(sum(step(training.generator) for _ in range(per_epoch))) / per_epoch}

    def progress(_what: str, done: int, total: int, values: dict[str, float]) -> None:
        print("fcos", done, total, {name: round(value, 3) for name, value in values.items()}, flush=True)
        clock.epoch("fcos", done)

    kept = Checkpoints(folder, {"options": repr(options), "epochs": epochs})
    training.run(epoch, lambda: 0.0, Schedule(epochs, 0, 1, keep_last=True), checkpoints=kept, progress=progress)
    return network, epochs * per_epoch


def median_ms(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of `ROUNDS` calls of each action after one, all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(1 + ROUNDS):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            if number:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: float(np.median(own)) for name, own in times.items()}


def figures(found: Sequence[Boxes], truth: Sequence[Boxes], n_classes: int) -> dict[str, float]:
    """Average precision on the test images."""
    precision = coco_precision(found, truth, n_classes, most=MOST)
    return {"map_50": precision.map_50, "map_75": precision.map_75, "map_50_95": precision.map_50_95}


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Train both on one data set, as far as this piece goes, and write their rows once they are done.

    Raises:
        Pause: they are not.
    """
    folder = arguments.state / name
    dataset = prepared(name, arguments.data, folder / "prepared")
    given = SETTINGS[name].fit | ({} if arguments.epochs is None else {"epochs": arguments.epochs})
    options = CentreBoxesOptions(**given)
    inspector = Inspector(detector_with("centre_boxes", options))
    labelled = Labelled(*(images_of(inspector, dataset, role) for role in ("fit", "validate")))
    clock = Clock(folder / "seconds.json", arguments.ends)
    ours = fitted_ours(options, labelled, clock, folder / "ours")
    assert ours.head is not None
    networks: dict[str, list[torch.nn.Module]] = {"centre_boxes": [ours.backbone, ours.head]}
    steps = {"centre_boxes": options.epochs * options.epoch_steps}
    if not arguments.alone:
        clock.began = time.process_time()
        theirs, steps[FCOS] = fitted_fcos(options, labelled.fit, clock, folder / "fcos")
        networks[FCOS] = [theirs]
    test = images_of(inspector, dataset, "test")
    classes = ours.box_classes().names
    truth = numbered(test, classes)
    image = test.pixels[0]
    export_onnx(Inspector(ours), folder / "ours.onnx", metadata={}, opset=18)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(folder / "ours.onnx", session_options)
    raw = dataset.pixels_of(dataset.with_role("test")[0])[None]
    look: dict[str, Callable[[Any], list[Boxes]]] = {
        "centre_boxes": lambda pixels: ours._found(pixels, EVEN),
        FCOS: lambda pixels: found_by(theirs, pixels),
    }
    found = {network: look[network](test.pixels) for network in networks}
    torch.set_num_threads(arguments.threads)
    timed: dict[str, Callable[[], object]] = {network: partial(look[network], [image]) for network in networks}
    took = median_ms(timed | {"onnx": lambda: session.run(None, {"pixels": raw})})
    for network, boxes in found.items():
        mine = network == "centre_boxes"
        row = {
            "data": name,
            "network": network,
            "parameters": sum(weight.numel() for part in networks[network] for weight in part.parameters()),
            "train_cpu_s": sum(clock.spent["centre_boxes" if mine else "fcos"]),
            "epochs": options.epochs,
            "steps": steps[network],
            "crop": crop_side(options, labelled.fit.boxes),
            "n_fit": len(labelled.fit.boxes),
            "n_test": len(truth),
            "n_labelled_boxes": sum(map(len, truth)),
            **figures(boxes, truth, len(classes)),
            "map_50_own": mean_average_precision(boxes, truth, len(classes)),
            "height": int(image.shape[2]),
            "width": int(image.shape[3]),
            "torch_ms": took[network],
            "onnx_ms": took["onnx"] if mine else None,
            **origin(arguments.threads, {name: version(name) for name in ("torch", "torchvision", "onnxruntime")}),
        }
        add_row(arguments.out, row, key=("data", "network", "epochs"))
        print(
            {key: row[key] for key in ("data", "network", "train_cpu_s", "map_50", "map_50_95", "torch_ms")}, flush=True
        )
    torch.set_num_threads(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or go on; the exit status is 0 once all is done, and 3 where a piece ended before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(), metavar="FOLDER")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETTINGS), default=sorted(SETTINGS))
    parser.add_argument("--epochs", type=int, default=None, metavar="N", help="of ours, in place of the setting's")
    parser.add_argument("--alone", action="store_true", help="leave FCOS out")
    parser.add_argument("--pieces", type=float, default=math.inf, metavar="SECONDS")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "boxes", metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the times of an image")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    arguments.ends = time.perf_counter() + arguments.pieces
    for name in arguments.sets:
        try:
            measure(name, arguments)
        except Pause:
            print(f"{name}: the piece is over; call again with the same --state to go on", flush=True)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
