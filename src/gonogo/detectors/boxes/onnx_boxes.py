"""OnnxBoxes: a detector of boxes of the user's own, as an ONNX file, scored as it is. Nothing is trained here.

Source: the contracts are those of torchvision's detection models (`detections`); of Carion et al. 2020, "End-to-End
Object Detection with Transformers" (`detr_softmax`), and of those that followed with a sigmoid for each class, such as
RT-DETR and RF-DETR (`detr`); and of the raw predictions of YOLO, with an objectness until its seventh version and
without one from the eighth (`yolo_objectness`, `yolo`).
Deviations: the image is resized by the `Inspector`, antialiased; each pair of a place and a class is a candidate,
as COCO's evaluation has it, and not the best class of a place alone.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from gonogo.calibration.boxes import BoxClasses, Boxes
from gonogo.detectors.anomaly_map import positive
from gonogo.detectors.backbones.backbone import verified
from gonogo.detectors.boxes.average_precision import EVEN_CONFIDENCE, mean_average_precision, units_of
from gonogo.detectors.boxes.decode import kept
from gonogo.detectors.boxes.labelled import as_boxes, numbered, require_labelled
from gonogo.detectors.boxes.network_file import NetworkFile
from gonogo.detectors.contract import NETWORK_NODE, NO_LIMITS, Detector, FitContext
from gonogo.detectors.frame import Frame
from gonogo.detectors.options import OnnxBoxesOptions
from gonogo.detectors.training.forecast import Forecast
from gonogo.errors import ConfigError, DataError, IntegrityError

CANDIDATES = 1000  # that the suppression looks at, where it has to
USUAL_IOU = 0.5  # of the suppression of raw predictions
LEAST_ODDS = -20.0  # as a logarithm, of a box; what is fainter is none
NO_BOX = 0.01  # score of an image without any box, below that of every box
CELL = 16  # pixels of the map's cells, at the image size
EVEN = torch.tensor([EVEN_CONFIDENCE])


class OnnxBoxes(Detector):
    """Score: of the image's best box, log odds beyond those at which its class has the best F1, made positive.

    The unit is that of `CentreBoxes`. Map: in each cell the score of the best box that touches it.
    """

    model_: Tensor  # (m,) uint8, the file's bytes, so that a model needs no other file
    units_: Tensor
    map_50_: Tensor  # of the validate images
    localises = False

    def __init__(self, options: OnnxBoxesOptions) -> None:
        """Nothing is read yet."""
        super().__init__()
        self.options: OnnxBoxesOptions = options
        if options.fitting != "stretch":
            self.frame = Frame(options.fitting == "letterbox", options.fill)
        self.names = [name for name in options.classes if name is not None]
        for name in ("model_", "units_", "map_50_"):
            self.register_buffer(name, None)
        self._network: NetworkFile | None = None
        for name, values in (("mean", options.mean), ("std", options.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        own = [-1 if name is None else self.names.index(name) for name in options.classes]
        self.register_buffer("numbers", torch.tensor(own), persistent=False)

    mean: Tensor
    std: Tensor
    numbers: Tensor  # (c,), of each of the network's classes ours, -1 where it is none

    def box_classes(self) -> BoxClasses:
        self.require_fitted()
        return BoxClasses(self.names, self.units_.tolist())

    def require_files(self) -> None:
        self._verified_model()

    def _verified_model(self) -> bytes:
        return verified(Path(self.options.model), self.options.model_sha256, option="fit.model")

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        """Take the network in, and choose each class's confidence by the validate images.

        Raises:
            WeightsError: the file is missing or not the one meant.
            ConfigError: it does not keep the contract, or the data have a label that `classes` has not.
        """
        labelled = require_labelled(context.labelled, "onnx_boxes")
        data = self._verified_model()
        strangers = sorted({*labelled.fit.classes, *labelled.validate.classes} - set(self.names))
        if strangers:
            raise ConfigError(
                f"fit.classes is {list(self.options.classes)}, and the data have boxes of {', '.join(strangers)}; name "
                "each class as prepare.class_map does, or drop it there"
            )
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self._network = NetworkFile(data, self.options)
        found = []
        for number, pixels in enumerate(labelled.validate.pixels, start=1):
            found.append(self._boxes_in(pixels))
            context.progress("onnx_boxes", number, len(labelled.validate.pixels), {})
        truth = numbered(labelled.validate, self.names)
        precision = mean_average_precision(found, truth, len(self.names))
        units = torch.tensor(units_of(found, truth, self.names))
        self.set_learned(model_=content, units_=units, map_50_=torch.tensor(precision))
        return self

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        how = "the network's own memory and time not counted"
        return replace(super().forecast(batches, context), how=how)

    def restore(self, state: dict[str, Tensor]) -> Self:
        super().restore(state)
        content = bytes(self.model_.tolist())
        actual = hashlib.sha256(content).hexdigest()
        if actual != (self.options.model_sha256 or "").lower():
            raise IntegrityError(
                f"the network's SHA-256 is {actual}, fit.model_sha256 is {self.options.model_sha256}; fit again"
            )
        self._network = NetworkFile(content, self.options)
        return self

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        return {
            "contract": self.options.contract,
            "model_sha256": str(self.options.model_sha256),
            "validate_map_50": float(self.map_50_),
            "n_classes": len(self.names),
        }

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        score, grid, *_ = self.score_with_boxes(pixels)
        return score, grid

    def score_with_boxes(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        self.require_fitted()
        outputs = self._run(self._prepared(pixels))
        corners, scores, classes = self._decoded(outputs, self.units_)
        best = scores.amax(dim=1).clamp(min=NO_BOX)
        for output in outputs:  # a part of which the network cannot tell anything is no good part
            if output.is_floating_point():
                best = torch.where(output.isnan().flatten(1).any(dim=1), torch.nan, best)
        return best, self._painted(corners, scores), corners, scores, classes

    def onnx_of_one_image(self, opset: int) -> bytes:
        self.require_fitted()
        return self._loaded.of_one_image(opset)

    @property
    def _loaded(self) -> NetworkFile:
        assert self._network is not None
        return self._network

    def _prepared(self, pixels: Tensor) -> Tensor:
        """What the network takes of pixels (n, 3, h, w) in [0, 255]."""
        ordered = pixels.flip(1) if self.options.colours == "bgr" else pixels
        return (ordered / self.options.divisor - self.mean) / self.std

    def _run(self, prepared: Tensor) -> Sequence[Tensor]:
        """The network's outputs for each image, as `NetworkFile` has them, stacked."""
        network = self._loaded
        if torch.onnx.is_in_onnx_export():
            kinds = [torch.float32] * len(network.shapes)
            if self.options.contract == "detections":
                kinds[2] = torch.int64
            return torch.onnx.ops.symbolic_multi_out(
                "::".join(NETWORK_NODE),
                (prepared,),
                dtypes=kinds,
                shapes=[(prepared.shape[0], *shape) for shape in network.shapes],
                version=1,
            )
        answers = [network.run(image) for image in prepared.detach().cpu().numpy()]
        stacked = (torch.stack([torch.from_numpy(part) for part in parts]) for parts in zip(*answers, strict=True))
        return [part.to(prepared.device) for part in stacked]

    def _candidates(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Corners (n, m, 4), log odds (n, m) and the network's classes (n, m) of every candidate."""
        contract = self.options.contract
        if contract == "detections":
            corners, confidences, labels = outputs
            return corners, _log_odds(confidences), labels
        if contract.startswith("yolo"):
            (predictions,) = outputs
            corners = _corners(predictions[..., :4])
            if contract == "yolo":
                odds = _log_odds(predictions[..., 4:])
            else:
                odds = _log_odds(predictions[..., 5:] * predictions[..., 4:5])
        else:
            boxes, logits = outputs
            height, width = self.image_size
            corners = _corners(boxes) * torch.tensor([width, height, width, height], device=boxes.device)
            odds = logits
            if contract == "detr_softmax":  # log odds of a class against all others and none
                likelihood = logits.log_softmax(dim=2)[..., :-1]
                odds = likelihood - torch.log1p(-likelihood.exp().clamp(max=1 - 1e-6))
        n_classes = odds.shape[2]
        places = torch.arange(odds.shape[1] * n_classes, device=odds.device)
        most = min(self._n_candidates, len(places))
        best, chosen = odds.flatten(1).topk(most, dim=1)
        corners = corners.gather(1, (chosen // n_classes)[..., None].expand(-1, -1, 4))
        return corners, best, chosen % n_classes

    @property
    def _iou(self) -> float | None:
        if self.options.nms_iou is None and self.options.contract.startswith("yolo"):
            return USUAL_IOU
        return self.options.nms_iou

    @property
    def _n_candidates(self) -> int:
        return self.options.max_boxes if self._iou is None else max(self.options.max_boxes, CANDIDATES)

    def _decoded(self, outputs: Sequence[Tensor], units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, k, 4), scores (n, k), descending, and our classes (n, k)."""
        corners, odds, theirs = self._candidates(outputs)
        known = (theirs >= 0) & (theirs < len(self.numbers))
        classes = self.numbers[theirs.clamp(0, len(self.numbers) - 1)]
        there = known & (classes >= 0) & (odds > LEAST_ODDS)
        classes = classes.clamp(min=0)
        beyond = units.logit().expand(len(self.names))[classes]
        scores = torch.where(there, positive(odds - beyond), 0.0)
        found = _best(corners, scores, classes, scores.shape[1])
        if self._iou is not None:
            corners, scores, classes = found
            found = corners, torch.where(kept(corners, scores, classes, self._iou), scores, 0.0), classes
        return _best(*found, self.options.max_boxes)

    @torch.inference_mode()
    def _boxes_in(self, pixels: Tensor) -> Boxes:
        """The boxes of one image (1, 3, h, w), with `EVEN_CONFIDENCE` at the score 1.

        Raises:
            DataError: the network gives a number of a class that the options do not have.
        """
        outputs = self._run(self._prepared(pixels))
        if self.options.contract == "detections":
            given = outputs[2][outputs[1] > 0]
            beyond = given[(given < 0) | (given >= len(self.numbers))]
            if len(beyond):
                raise DataError(
                    f"fit.model finds a box of class {int(beyond[0])}; fit.classes names {len(self.numbers)}, from 0; "
                    "put null for each number that is no class, such as the background of torchvision's models at 0"
                )
        corners, scores, classes = (part[0].cpu() for part in self._decoded(outputs, EVEN.to(pixels.device)))
        return as_boxes(corners[scores > 0], classes[scores > 0], scores[scores > 0])

    def _painted(self, corners: Tensor, scores: Tensor) -> Tensor:
        """(n, gh, gw): the score of the best box that touches each cell."""
        rows, columns = (-(-side // CELL) for side in self.image_size)
        x, y = (CELL * torch.arange(number, device=scores.device) for number in (columns, rows))
        across = (corners[..., 0:1] < x + CELL) & (corners[..., 2:3] > x)  # (n, k, gw)
        down = (corners[..., 1:2] < y + CELL) & (corners[..., 3:4] > y)  # (n, k, gh)
        touched = down[..., :, None] & across[..., None, :]
        return torch.where(touched, scores[..., None, None], 0.0).amax(dim=1)


def _best(corners: Tensor, scores: Tensor, classes: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `most` boxes with the highest scores, or all, the best first."""
    scores, order = scores.topk(min(most, scores.shape[1]), dim=1)
    return corners.gather(1, order[..., None].expand(-1, -1, 4)), scores, classes.gather(1, order)


def _corners(boxes: Tensor) -> Tensor:
    """x0, y0, x1, y1 of boxes whose last axis has the centre and the size."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _log_odds(confidences: Tensor) -> Tensor:
    """Log odds of confidences in [0, 1]; below those of any box for 0."""
    near = confidences.clamp(1e-9, 1 - 1e-6)
    return near.log() - torch.log1p(-near)
