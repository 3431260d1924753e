"""The picture sheet: for each defect type the worst and the best judged images, with mask, map and regions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes

from gonogo.calibration.regions import defect_mask
from gonogo.evaluation.accuracy.evaluate import Evaluation
from gonogo.images.colours import FAINT, INK, OUTLINE, PAPER, PASS, REJECT, RULE, map_colours
from gonogo.images.dataset import Dataset
from gonogo.model.saved import Model
from gonogo.reports.drawing import GAP, TILE, Font, draw_scale, fitted_text, on_square, scaled

HEADER, CAPTION, LABEL = 46, 18, 96
AROUND = (0, 0, 0)  # a region: black stands out from every colour that a map has near its threshold


def write_sheet(
    path: Path, evaluation: Evaluation, model: Model, dataset: Dataset, *, category: str, cases: int
) -> None:
    """Draw, per defect type and for good parts, the `cases` worst and best test images as image, mask and map.

    Worst are the good parts that score highest and the defects that score lowest. All maps share one colour scale,
    anchored at the threshold; black lines on them enclose the regions found. Types stand in alphabetical order, good
    parts first. The few images that are drawn are inspected anew, so that no map has to be kept until then.
    """
    by_type: dict[str, list[int]] = {}
    for position, record in enumerate(evaluation.test.records):
        by_type.setdefault(record.defect_type, []).append(position)
    types = sorted(by_type, key=lambda name: (name != "good", name))
    columns = 2 * cases
    case_width = 3 * TILE + 2 * GAP
    width = LABEL + columns * (case_width + 2 * GAP) + GAP
    row_height = TILE + CAPTION + 2 * GAP
    canvas = Image.new("RGB", (width, HEADER + len(types) * row_height + GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    bold, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((GAP, 5), f"{category}: image, mask, anomaly map with regions", fill=INK, font=bold)
    draw_scale(canvas, draw, small, width, evaluation.threshold)
    for number in range(columns):
        title = f"worst {number + 1}" if number < cases else f"best {number - cases + 1}"
        draw.text((LABEL + number * (case_width + 2 * GAP), 27), title, fill=FAINT, font=small)

    for row, defect_type in enumerate(types):
        top = HEADER + row * row_height
        draw.line((GAP, top - GAP // 2, width - GAP, top - GAP // 2), fill=RULE)
        draw.text(
            (GAP, top + TILE // 2 - 8), fitted_text(draw, defect_type, small, LABEL - 2 * GAP), fill=INK, font=small
        )
        good = defect_type == "good"
        ordered = sorted(by_type[defect_type], key=lambda p: float(evaluation.test.scores[p]), reverse=good)
        for column, chosen in enumerate(_ends(ordered, cases)):
            if chosen is not None:
                left = LABEL + column * (case_width + 2 * GAP)
                _draw_case(canvas, draw, small, (left, top), evaluation, model, dataset, chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, format="PNG", optimize=True)


def _ends(ordered: Sequence[int], cases: int) -> list[int | None]:
    """Of `ordered`, worst first: the `cases` worst, then the `cases` best with the best first; none twice."""
    worst = list(ordered[:cases])
    best = list(reversed(ordered[max(cases, len(ordered) - cases) :]))
    return worst + [None] * (cases - len(worst)) + best + [None] * (cases - len(best))


def _draw_case(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: Font,
    corner: tuple[int, int],
    evaluation: Evaluation,
    model: Model,
    dataset: Dataset,
    position: int,
) -> None:
    left, top = corner
    record = evaluation.test.records[position]
    score = float(evaluation.test.scores[position])
    pixels = dataset.pixels_of(record)
    _, (anomaly_map,) = model.inspector.inspect(pixels[None])
    tiles = [
        scaled(pixels),
        scaled(_mask_tile(pixels, dataset.mask_of(record))),
        _outlined(scaled(map_colours(anomaly_map, evaluation.threshold)), defect_mask(anomaly_map, model.rule)),
    ]
    for number, tile in enumerate(tiles):
        canvas.paste(tile, (left + number * (TILE + GAP), top))
    verdict, colour = ("reject", REJECT) if score >= evaluation.threshold else ("pass", PASS)
    caption = f"{verdict}  {score:.4g}"
    if evaluation.threshold > 0:
        caption += f" ({score / evaluation.threshold:.2f} x threshold)"
    draw.text((left, top + TILE + 2), caption, fill=colour, font=font)


def _mask_tile(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The image in pale grey with the mask's outline; plain paper where there is no mask to show."""
    if mask is None:
        return np.full((*pixels.shape[:2], 3), 240, dtype=np.uint8)
    pale = np.repeat((200 + pixels.mean(axis=2, keepdims=True) / 5).astype(np.uint8), 3, axis=2)
    scale = max(1, round(min(mask.shape) / TILE))
    pale[mask] = (pale[mask] * 0.5 + np.array(OUTLINE) * 0.2).astype(np.uint8)
    pale[mask & ~binary_erosion(binary_fill_holes(mask), iterations=scale)] = OUTLINE
    return pale


def _outlined(tile: Image.Image, defect_mask: np.ndarray) -> Image.Image:
    """The tile of a map with a line of one pixel around each region, however small; none where the image ends."""
    shares = on_square(Image.fromarray(defect_mask.astype(np.float32)), Image.Resampling.BOX, paper=0)
    marked = np.asarray(shares) > 0
    pixels = np.array(tile)
    pixels[binary_dilation(marked) & ~marked] = AROUND
    return Image.fromarray(pixels)
