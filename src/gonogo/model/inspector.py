"""One inference path: raw pixels in, score and anomaly map out. Evaluation, export and parity all go through it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from gonogo.calibration.boxes import BOXES, Boxes, boxes_of
from gonogo.calibration.regions import cell_of
from gonogo.detectors.anomaly_map import resize, upsample
from gonogo.detectors.contract import NEAREST, Detector
from gonogo.errors import ConfigError
from gonogo.images.reading import require_pixels
from gonogo.images.size import ImageSize
from gonogo.model.fit_params import Preprocess, Tiling
from gonogo.model.preprocessing import Preprocessing
from gonogo.model.tiling import Tiles

MOST_AT_ONCE, PIXELS_AT_ONCE = 8, 1 << 18  # of images that go through the network together
GREY = 127.5  # replaces pixels outside the inspected region


class Inspector(nn.Module):
    """A detector between the resize of the pixels and the upsampling of its map.

    With a tiling, it takes the tiles of the resized image one after another, so that memory does not grow with their
    number; the score is that of the most anomalous tile, and the map is blended from theirs.

    Outside the inspected region, pixels are replaced by grey before the resize and the map is 0, so that neither score
    nor map can depend on them.
    """

    inside: Tensor | None

    def __init__(
        self,
        detector: Detector,
        inside: np.ndarray | None = None,
        *,
        tiling: Tiling | None = None,
        preprocess: Preprocess | None = None,
    ) -> None:
        """Combine the detector with the inspected region and the tiling.

        Args:
            detector: of each image, or of each tile.
            inside: that of `RegionParams`: a mask of cells, True where the gauge inspects; None: everywhere.
            tiling: how an image is cut into tiles; None: it is not.
            preprocess: what is done to the resized pixels, before they are cut into tiles; None: nothing.

        Raises:
            ConfigError: the tiling does not go with the detector's image size, or the preprocessing with its frame.
        """
        super().__init__()
        self.detector = detector
        self.tiles: Tiles | None = None
        if tiling is not None:
            self.tiles = Tiles(
                tiling, image_size=detector.image_size, stride=detector.stride, smoothing=detector.smoothing
            )
        if preprocess is not None and preprocess.flat_field and detector.frame is not None:
            raise ConfigError(
                "fit.preprocess.flat_field goes with images that fill what the detector sees, and fit.fitting puts "
                "bars beside them; set fit.fitting to stretch, or leave the flat field out"
            )
        self.preprocessing = None if preprocess is None else Preprocessing(preprocess, self.input_size)
        self.register_buffer("inside", None if inside is None else torch.from_numpy(inside), persistent=False)
        self.eval()

    def roi_mask(self, height: int, width: int) -> Tensor | None:
        """(height, width) bool, as `RegionParams.inspected`; None where the gauge inspects everything."""
        if self.inside is None:
            return None
        rows, columns = (cell_of(torch.arange(length, device=self.inside.device), length) for length in (height, width))
        return self.inside[rows][:, columns]

    @property
    def input_size(self) -> ImageSize:
        """What an image is resized to: the size of a tiling's canvas, or the detector's."""
        if self.tiles is None:
            return self.detector.image_size
        return ImageSize(self.tiles.tiling.height, self.tiles.tiling.width)

    def resized(self, pixels: Tensor) -> Tensor:
        """What the detector sees, (n, 3, *input_size) in [0, 255], of uint8 pixels (n, h, w, 3): preprocessed too."""
        planes = pixels.permute(0, 3, 1, 2).float()
        inspected = self.roi_mask(pixels.shape[1], pixels.shape[2])
        if inspected is not None:
            planes = torch.where(inspected, planes, GREY)
        if (frame := self.detector.frame) is not None:
            planes = frame.drawn(planes, self.input_size)
        resized = resize(planes, *self.input_size)
        if self.preprocessing is None:
            return resized
        levelled: Tensor = self.preprocessing(resized, self._shown(pixels.shape[1], pixels.shape[2], inspected))
        return levelled

    def _shown(self, height: int, width: int, inspected: Tensor | None) -> Tensor | None:
        """(1, 1, *input_size) in [0, 1]: how much of each resized pixel is of the image, and inspected; None: all."""
        frame = self.detector.frame
        if inspected is None and frame is None:
            return None
        shown = torch.ones(1, 1, height, width) if inspected is None else inspected.float()[None, None]
        if frame is not None:
            shown = replace(frame, fill=0.0).drawn(shown, self.input_size)
        return resize(shown, *self.input_size)

    def framed(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width: where an image lies in what is resized, as `Frame.around`, in its pixels."""
        frame = self.detector.frame
        return (0, 0, height, width) if frame is None else frame.around(height, width, self.input_size)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and anomaly map (n, h, w), higher more anomalous, of uint8 RGB pixels (n, h, w, 3).

        Raises:
            NotFittedError: the detector was not fitted.
        """
        scores, grids = self._per_tile(self.detector, pixels)
        return self.to_image(scores, grids, pixels)

    def outputs(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The results of `forward`, and those that `Detector.output_names` lists.

        `nearest` is (n, ch, cw) int64, `features` (n, d, ch, cw): cells of one size cover the image, with and without
        tiles. Boxes are those of `FindsBoxes`, in pixels of the image, and do not reach beyond it.

        Raises:
            NotFittedError: the detector was not fitted.
        """
        scores, grids, *others = self._per_tile(self.detector.outputs, pixels)
        return *self.to_image(scores, grids, pixels), *self.further(others, pixels)

    def further(self, others: Sequence[Tensor], pixels: Tensor) -> list[Tensor]:
        """What `Detector.output_names` lists, of the image `pixels` (n, h, w, 3), from what the detector gives."""
        named = zip(self.detector.output_names(), others, strict=True)
        return [self._in_image(given, pixels) if name == BOXES[0] else self.to_canvas(given) for name, given in named]

    def _in_image(self, boxes: Tensor, pixels: Tensor) -> Tensor:
        """Boxes (n, k, 4) in pixels of the image, from those in pixels of what the detector sees."""
        height, width = pixels.shape[1], pixels.shape[2]
        top, left, down, across = self.framed(height, width)
        x, y = boxes[..., 0::2] * (across / self.input_size.width), boxes[..., 1::2] * (down / self.input_size.height)
        if self.detector.frame is not None:
            x, y = x - left, y - top
        x, y = x.clamp(min=0).clamp(max=width), y.clamp(min=0).clamp(max=height)
        return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)

    def to_canvas(self, cells: Tensor) -> Tensor:
        """Cells of the image (n, ..., ch, cw) from those of the detector; with a tiling (t, n, ..., gh, gw)."""
        return cells if self.tiles is None else self.tiles.assembled(cells)

    def _per_tile(self, function: Callable[[Tensor], tuple[Tensor, ...]], pixels: Tensor) -> tuple[Tensor, ...]:
        """The results of `function` for the resized image or, with a tiling, for its tiles, stacked."""
        resized = self.resized(pixels)
        if self.tiles is None:
            return function(resized)
        results = [function(self.tiles.tile(resized, number)) for number in range(len(self.tiles))]
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True))

    def to_image(self, scores: Tensor, grids: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and map (n, h, w) from the detector's results for `pixels` (n, h, w, 3).

        Args:
            scores: the detector's, (n,); with a tiling (t, n).
            grids: the detector's, (n, gh, gw); with a tiling (t, n, gh, gw).
            pixels: their height and width are those of the map; their values are not used.
        """
        height, width = pixels.shape[1], pixels.shape[2]
        if self.tiles is None:
            top, left, down, across = self.framed(height, width)
            anomaly_map = upsample(grids, self.detector.image_size, self.detector.smoothing, down, across)
            if self.detector.frame is not None:
                anomaly_map = anomaly_map[:, top : top + height, left : left + width]
        else:
            scores = scores.amax(dim=0)
            anomaly_map = resize(self.tiles.blended(grids)[:, None], height, width)[:, 0]
        inspected = self.roi_mask(height, width)
        return scores, anomaly_map if inspected is None else torch.where(inspected, anomaly_map, 0.0)

    def at_once(self, height: int, width: int) -> int:
        """How many images of one size to inspect together: several small ones take less time than one by one."""
        pixels = max(height * width, self.input_size.area)
        return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // pixels))

    @torch.inference_mode()
    def inspect(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`forward` on arrays: scores (n,) float32 and maps (n, h, w) float32.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        require_pixels(pixels)
        score, anomaly_map = self(torch.from_numpy(pixels))
        return score.numpy(), anomaly_map.numpy()

    def inspect_with_boxes(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Boxes]]:
        """The results of `inspect`, and the boxes of each image, best first, of a detector that `FindsBoxes`.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        given = self.inspect_all(pixels)
        return given["score"], given["anomaly_map"], boxes_of(*(given[name] for name in BOXES))

    @torch.inference_mode()
    def inspect_without(self, pixels: np.ndarray, part_images: range) -> tuple[np.ndarray, np.ndarray]:
        """The results of `inspect` for fit images as if the detector had not been fitted on their part.

        Args:
            pixels: (n, h, w, 3) uint8 of the part.
            part_images: as in `Detector.score_without`, which says too how near to the truth the results are.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        require_pixels(pixels)
        images = torch.from_numpy(pixels)
        scores, grids = self._per_tile(lambda tile: self.detector.score_without(tile, part_images), images)
        score, anomaly_map = self.to_image(scores, grids, images)
        return score.numpy(), anomaly_map.numpy()

    @torch.inference_mode()
    def inspect_all(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """`outputs` on arrays, by their names in the exported graph.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        require_pixels(pixels)
        names = ["score", "anomaly_map", *self.detector.output_names()]
        return {
            name: result.numpy() for name, result in zip(names, self.outputs(torch.from_numpy(pixels)), strict=True)
        }

    def inspect_with_nearest(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The results of `inspect`, and the index of each cell's nearest entry in the detector's bank, (n, ch, cw).

        The detector must be one that `HasMemoryBank`.

        Raises:
            ShapeError: `pixels` is not (n, h, w, 3) uint8.
        """
        results = self.inspect_all(pixels)
        return results["score"], results["anomaly_map"], results[NEAREST]
