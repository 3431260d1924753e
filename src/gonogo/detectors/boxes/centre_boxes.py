"""CentreBoxes: an anchor-free network that learns from labelled defects, and finds each by the peak at its centre.

Source: Zhou, Wang and Krähenbühl 2019, "Objects as Points" (CenterNet), for the heat map whose peaks are the centres,
and Lin et al. 2017, "Feature Pyramid Networks" (CVPR), for the way from coarse to fine.
Deviations, so that two CPU cores train it in minutes and small defects are found: the backbone is any of timm's with
levels that halve, by default a small one, and its normalisations are frozen; the finest level, not a deconvolution, has
the grid, whose stride is 4 with the defaults; the size is learned as a logarithm, by the generalised overlap of the box
and not by the L1 of its sides; the network sees crops at the images' own scale, never shrunk ones; the running average
of its weights is kept; of peaks of a class whose boxes overlap, the best is kept, since large defects have several.
"""

import json
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gonogo.calibration.boxes import BoxClasses, Boxes
from gonogo.detectors.anomaly_map import positive
from gonogo.detectors.backbones.backbone import Backbone
from gonogo.detectors.backbones.weights import weights_fact
from gonogo.detectors.boxes.average_precision import EVEN_CONFIDENCE, mean_average_precision, units_of
from gonogo.detectors.boxes.decode import decoded
from gonogo.detectors.boxes.labelled import LabelledImages, as_boxes, numbered, require_labelled
from gonogo.detectors.boxes.network import GREY, BoxHead, Targets, loss_of, trainable
from gonogo.detectors.boxes.start import read_start
from gonogo.detectors.contract import NO_LIMITS, Detector, FitContext
from gonogo.detectors.options import CentreBoxesOptions
from gonogo.detectors.training.forecast import Forecast, probe_images
from gonogo.detectors.training.training import Schedule, Training
from gonogo.errors import NotFittedError

ON_A_DEFECT = 0.75  # of the crops; the others lie anywhere
CROP_STEP, LEAST_CROP, MOST_CROP = 64, 128, 512  # pixels
BOX_SIDES, MOST_BOXES = 4.0, 0.9  # a crop is so many times as wide as so large a share of the boxes at most
AVERAGING = 0.98  # share that the running average of the weights keeps of itself in a step; less in the first ones
WARM_UP = 0.3  # of the rate, in the first epoch
LARGEST_GRADIENT = 10.0  # norm; a larger one is scaled down
BRIGHTNESS = 0.1  # by which a crop is made darker or brighter at most
KEPT_BYTES = 400_000_000  # of images that stay in memory; beyond it each is read when it is needed
EVEN = torch.tensor([EVEN_CONFIDENCE])


class CentreBoxes(Detector):
    """Score: of the image's best box, log odds l beyond those at which its class has the best F1, made positive.

    It is 1 + l where l > 0 and 1 / (1 - l) elsewhere. So 1 is, for each class, where the validate images say that
    precision and recall balance, and one threshold, the certified one, is another confidence for each class. Map: the
    score of the best class in each cell. It peaks at the centres of defects and does not fill them, so that no region
    is cut out of it: the boxes are.
    """

    classes_: Tensor
    units_: Tensor
    best_: Tensor
    start_: Tensor  # what became of an earlier fit's classes, as JSON
    localises = False

    def __init__(self, options: CentreBoxesOptions) -> None:
        """Build the backbone; the rest is known once the classes are, at the fit or from a saved model."""
        super().__init__()
        self.options: CentreBoxesOptions = options
        self.backbone = Backbone(options.backbone, options.layers, self.image_size)
        self.head: BoxHead | None = None
        self._clear_learned()

    def _clear_learned(self) -> None:
        for name in ("classes_", "units_", "best_", "start_"):
            self.register_buffer(name, None)

    def box_classes(self) -> BoxClasses:
        self.require_fitted()
        return BoxClasses(json.loads(bytes(self.classes_.tolist())), self.units_.tolist())

    def fit(self, batches: Collection[Tensor], *, seed: int, context: FitContext = NO_LIMITS) -> Self:
        self._clear_learned()
        labelled = require_labelled(context.labelled, "centre_boxes")
        classes = labelled.fit.classes
        head, start = self._begun(classes, torch.cat(list(labelled.fit.boxes)), seed=seed)
        inside, behind = trainable(self.backbone), list(head.requires_grad_(True).parameters())
        optimizer = torch.optim.AdamW([{"params": inside}, {"params": behind}], weight_decay=1e-4)
        backbone = self.backbone
        network = nn.ModuleDict({"backbone": backbone, "head": head})
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = AveragedModel(network, avg_fn=_averaged, use_buffers=True)
        kept: dict[str, Any] = dict(average.module.named_children())
        self.backbone, self.head = kept["backbone"], kept["head"]  # validated, and kept
        both = nn.ModuleDict({"network": network, "average": average})
        training = Training(both, optimizer, torch.Generator().manual_seed(seed))
        crops = Crops(labelled.fit, classes, self.options, head.stride, head.coarsest)
        truth = numbered(labelled.validate, classes)
        validation: dict[str, float] = {}

        def epoch(number: int) -> dict[str, float]:
            rate = WARM_UP if number == 0 else (1 + math.cos(math.pi * number / self.options.epochs)) / 2
            for group, lr in zip(optimizer.param_groups, (self.options.backbone_lr, self.options.lr), strict=True):
                group["lr"] = rate * lr
            head.train()
            losses = torch.zeros(2)
            for _ in range(self.options.epoch_steps):
                pixels, targets = crops.draw(training.generator)
                pixels = pixels.to(self.backbone.mean.device, memory_format=torch.channels_last)
                heat, boxes = (part.cpu() for part in logits_of(backbone, head, pixels))
                focal, of_boxes = loss_of(heat, boxes, targets)
                optimizer.zero_grad()
                (focal + 2 * of_boxes).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_([*inside, *behind], LARGEST_GRADIENT)
                optimizer.step()
                average.update_parameters(network)
                losses += torch.stack([focal.detach(), of_boxes.detach()])
            heat_loss, box_loss = (losses / self.options.epoch_steps).tolist()
            average.eval()
            found = self._found(labelled.validate.pixels, EVEN)
            validation["map_50"] = mean_average_precision(found, truth, len(classes))
            return {"heat_loss": heat_loss, "box_loss": box_loss, **validation}

        schedule = Schedule(self.options.epochs, self.options.patience, self.options.checkpoint_every)
        training.run(
            epoch,
            lambda: 1 - validation["map_50"],
            schedule,
            checkpoints=None if context.checkpoints is None else context.checkpoints.with_origin(classes=classes),
            progress=context.progress,
        )
        average.eval().requires_grad_(False)
        average.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        found = self._found(labelled.validate.pixels, EVEN)
        self.set_learned(
            classes_=torch.tensor(list(json.dumps(classes).encode()), dtype=torch.uint8),
            units_=torch.tensor(units_of(found, truth, classes)),
            start_=torch.tensor(list(json.dumps(start).encode()), dtype=torch.uint8),
            best_=torch.tensor([training.best_epoch, training.history[training.best_epoch - 1]["map_50"]]),
        )
        return self

    def require_files(self) -> None:
        if self.options.start_from is None:
            super().require_files()
        else:
            read_start(Path(self.options.start_from), self.options.start_from_sha256, self.options)

    def _begun(self, classes: Sequence[str], boxes: Tensor, *, seed: int) -> tuple[BoxHead, dict[str, list[str]]]:
        """The head with its first weights, the backbone having its own, and what became of an earlier fit's classes.

        Raises:
            GonogoError: as `read_start`, or the backbone's weights cannot be had.
        """
        options = self.options
        if options.start_from is None:
            self.load_weights()
            head = self._with_head(len(classes), seed=seed)
            head.start_from_size(*(boxes[:, 2:] - boxes[:, :2]).median(dim=0).values.tolist())
            return head, {}
        start = read_start(Path(options.start_from), options.start_from_sha256, options)
        head = self._with_head(len(classes), seed=seed)
        told = start.begin(self.backbone, head, classes)
        self.backbone.is_loaded = True
        return head, told

    def _with_head(self, n_classes: int, *, seed: int) -> BoxHead:
        self.head = BoxHead(self.backbone, n_classes, self.options.width, seed=seed).to(self.backbone.mean.device)
        return self.head.eval()

    @torch.inference_mode()
    def _found(self, images: Sequence[Tensor], units: Tensor) -> list[Boxes]:
        """The boxes of each image, by descending score."""
        results = []
        for pixels in images:
            heat, boxes = self._heat(pixels, units)
            corners, scores, numbers = (part.cpu() for part in self._decoded(heat, boxes))
            above = scores[0] > 0
            results.append(as_boxes(corners[0][above], numbers[0][above], scores[0][above]))
        return results

    def _heat(self, pixels: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """The score of each class in each cell (n, c, gh, gw), and boxes (n, 4, gh, gw).

        Args:
            pixels: (n, 3, h, w).
            units: (c,) or (1,) confidences that have the score 1.
        """
        assert self.head is not None
        heat, boxes = logits_of(self.backbone, self.head, pixels)
        return positive(heat - units.to(heat.device).logit()[:, None, None]), boxes

    def _decoded(self, heat: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return decoded(heat, boxes, most=self.options.max_boxes, iou=self.options.nms_iou)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        heat, _ = self._heat(pixels, self.units_)
        return heat.flatten(1).amax(dim=1), heat.amax(dim=1)

    def score_with_boxes(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        self.require_fitted()
        heat, boxes = self._heat(pixels, self.units_)
        return heat.flatten(1).amax(dim=1), heat.amax(dim=1), *self._decoded(heat, boxes)

    def forecast(self, batches: Collection[Tensor], context: FitContext = NO_LIMITS) -> Forecast:
        probe = probe_images(batches, lambda batch: self.backbone(batch)[0])
        labelled = require_labelled(context.labelled, "centre_boxes")
        side = min(crop_side(self.options, labelled.fit.boxes), *self.image_size)
        crops = self.options.batch_size * side * side
        start = time.perf_counter()
        with torch.inference_mode():
            self.backbone(torch.zeros(1, 3, side, side, device=self.backbone.mean.device))
        step = 4 * self.options.batch_size * (time.perf_counter() - start)  # forward, backward, and what follows
        n_steps = self.options.epochs * self.options.epoch_steps
        seconds = n_steps * step + self.options.epochs * len(labelled.validate.pixels) * 2 * probe.seconds
        kept = 12 * self.image_size.area * len(batches)
        memory = 1_600 * crops + (kept if kept <= KEPT_BYTES else 0) + 900 * self.image_size.area
        return Forecast(memory, seconds, f"{self.options.batch_size} crops of {side} pixels at a time")

    def fit_facts(self) -> dict[str, str | int | float]:
        self.require_fitted()
        best_epoch, map_50 = self.best_.tolist()
        started: dict[str, list[str]] = json.loads(bytes(self.start_.tolist()))
        return {
            "weights": weights_fact(self.options.weights) if self.options.start_from is None else "a fitted model",
            **{f"classes_{what}": ", ".join(names) or "none" for what, names in started.items()},
            "best_epoch": int(best_epoch),
            "validate_map_50": float(map_50),
            "n_classes": len(self.units_),
        }

    def restore(self, state: dict[str, Tensor]) -> Self:
        if "classes_" not in state:
            raise NotFittedError("the saved CentreBoxes has no classes; fit again")
        self._with_head(len(json.loads(bytes(state["classes_"].tolist()))), seed=0)
        super().restore(state)
        return self.eval().requires_grad_(False)


def logits_of(backbone: Backbone, head: BoxHead, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Heat logits (n, c, gh, gw) and boxes (n, 4, gh, gw) of pixels (n, 3, h, w)."""
    heat, boxes = head(backbone(head.padded(pixels)), *pixels.shape[-2:])
    return heat, boxes


def _averaged(average: Tensor, current: Tensor, number: Tensor | int) -> Tensor:
    """The running average of a weight after `number` steps and this one; a count is none, and is taken over."""
    if not average.is_floating_point():
        return current
    return average.lerp(current, 1 - min(AVERAGING, (1 + int(number)) / (10 + int(number))))


def crop_side(options: CentreBoxesOptions, boxes: Sequence[Tensor]) -> int:
    """The side of the crops: that of the options or, where they leave it open, one that suits the boxes."""
    if options.crop is not None:
        return options.crop
    sides = torch.cat([corners[:, 2:] - corners[:, :2] for corners in boxes]).amax(dim=1)
    wanted = BOX_SIDES * float(sides.quantile(MOST_BOXES))
    return min(max(CROP_STEP * math.ceil(wanted / CROP_STEP), LEAST_CROP), MOST_CROP)


class Crops:
    """Crops of labelled images for training, drawn from one generator."""

    def __init__(
        self, images: LabelledImages, classes: Sequence[str], options: CentreBoxesOptions, stride: int, coarsest: int
    ) -> None:
        """Crops of `crop_side` pixels, or of the image where it is smaller, in whole steps of the coarsest level."""
        self.images, self.options, self.stride, self.coarsest = images, options, stride, coarsest
        self.side = crop_side(options, images.boxes)
        numbers = {name: number for number, name in enumerate(classes)}
        self.classes = [torch.tensor([numbers[label] for label in labels]) for labels in images.labels]
        self.n_classes = len(classes)
        self.with_boxes = [number for number, boxes in enumerate(images.boxes) if len(boxes)]
        self._kept: dict[int, Tensor] | None = None
        if len(images.pixels) * images.pixels[0].numel() * 4 <= KEPT_BYTES:
            self._kept = {}

    def draw(self, generator: torch.Generator) -> tuple[Tensor, list[Targets]]:
        """A batch of crops (b, 3, s, s) and what the network should give for them."""
        drawn = [self._one(generator) for _ in range(self.options.batch_size)]
        return torch.stack([pixels for pixels, _ in drawn]), [targets for _, targets in drawn]

    def _pixels(self, number: int) -> Tensor:
        if self._kept is None:
            return self.images.pixels[number][0].cpu()
        if number not in self._kept:
            self._kept[number] = self.images.pixels[number][0].cpu().clone()
        return self._kept[number]

    def _one(self, generator: torch.Generator) -> tuple[Tensor, Targets]:
        crop, boxes, classes = self.cut(generator)
        rows, columns = crop.shape[1] // self.stride, crop.shape[2] // self.stride
        return crop, Targets(boxes, classes, self.n_classes, rows, columns, self.stride)

    def cut(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One crop (3, s, s), and the boxes (k, 4) in its pixels and classes (k,) of what it shows, if in part."""
        chances: list[float] = torch.rand(7, generator=generator).tolist()
        on_defect, which, where_y, where_x, mirror_x, mirror_y, brightness = chances
        wanted = self.with_boxes if on_defect < ON_A_DEFECT else range(len(self.images.pixels))
        number = wanted[int(which * len(wanted))]
        pixels, boxes, classes = self._pixels(number), self.images.boxes[number].clone(), self.classes[number]
        height, width = pixels.shape[-2:]
        rows, columns = (min(self.side, -(-side // self.coarsest) * self.coarsest) for side in (height, width))
        top, left = int(where_y * (max(0, height - rows) + 1)), int(where_x * (max(0, width - columns) + 1))
        if on_defect < ON_A_DEFECT:
            box = boxes[int(torch.randint(len(boxes), (1,), generator=generator))]
            x, y = ((box[:2] + box[2:]) / 2).tolist()
            top, left = (
                min(max(0, int(centre - share * side)), max(0, length - side))
                for centre, share, side, length in ((y, where_y, rows, height), (x, where_x, columns, width))
            )
        crop = torch.full((3, rows, columns), GREY)
        seen = pixels[:, top : top + rows, left : left + columns]
        crop[:, : seen.shape[1], : seen.shape[2]] = seen
        boxes = boxes - torch.tensor([left, top, left, top])
        near = (boxes[:, 2:] > 0).all(dim=1) & (boxes[:, :2] < torch.tensor([columns, rows])).all(dim=1)
        boxes, classes = boxes[near], classes[near]
        if self.options.flips and mirror_x < 0.5:
            crop, boxes = (
                crop.flip(2),
                torch.stack([columns - boxes[:, 2], boxes[:, 1], columns - boxes[:, 0], boxes[:, 3]], dim=1),
            )
        if self.options.flips and mirror_y < 0.5:
            crop, boxes = (
                crop.flip(1),
                torch.stack([boxes[:, 0], rows - boxes[:, 3], boxes[:, 2], rows - boxes[:, 1]], dim=1),
            )
        return (crop * (1 + BRIGHTNESS * (2 * brightness - 1))).clamp(0, 255), boxes, classes
