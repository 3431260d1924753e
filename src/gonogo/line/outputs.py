"""Where rows are written (a line of text, JSON lines, CSV, Parquet), and the pictures of a verdict."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from gonogo.calibration.boxes import FoundBox
from gonogo.calibration.regions import dilated
from gonogo.errors import ConfigError, DataError, MissingExtraError
from gonogo.images.colours import FOUND_BOX, OUTLINE, PictureScale, scaled_colours
from gonogo.images.draw_boxes import DrawnBox, enlarged, with_boxes
from gonogo.images.reading import QUICK, write_png
from gonogo.inference.scorer import PASS, UNCERTAIN, UNKNOWN, Verdict
from gonogo.line.inputs import Item
from gonogo.line.journal import Row
from gonogo.line.names import as_cell, fitting
from gonogo.text import in_utf8, printable

MAP_UNIT = 10_000  # the value of the threshold in a map of 16 bits
CROP_SHARE, LEAST_CROP = 0.25, 32  # of the shorter side; pixels
GROUP = 4096  # rows of a row group of Parquet
VERDICT_COLUMNS = {  # of any table of verdicts; the columns before them say of which image
    "score": "float64",
    "threshold": "float64",
    "verdict": "string",
    "p_value": "float64",
    "probability": "float64",
    "uncertain": "bool_",
    "n_regions": "int32",
    "boxes": "string",
    "box_model": "string",
    "error": "string",
    "bundle": "string",
}
COLUMNS = {"file": "string", "category": "string"} | VERDICT_COLUMNS | {"leaning": "string", "given": "string"}
AS_JSON = ("boxes", "box_model", "given")  # columns whose text is what the row has under this name, as JSON


class Sink(Protocol):
    """Takes rows, one after the other."""

    def write(self, row: Row) -> None:
        """Write a row."""

    def close(self) -> None:
        """Finish the output; a file gets its name now."""


class TextLines:
    """A line of text for each row: verdicts on standard output, errors on standard error.

    localises: whether the gauges localise, so that a reject without a region is worth saying.
    verdicts: False: only errors are printed, since verdicts are written elsewhere.
    """

    def __init__(self, *, localises: bool, verdicts: bool = True) -> None:
        self.localises, self.verdicts = localises, verdicts

    def write(self, row: Row) -> None:
        if "error" in row:
            _print(row["error"], sys.stderr)
        elif self.verdicts:
            _print(line_of(row, localises=self.localises), sys.stdout)

    def close(self) -> None:
        """Nothing is left to write."""


class JsonLines:
    """A JSON object for each row on standard output."""

    def write(self, row: Row) -> None:
        print(json.dumps(row, allow_nan=False), flush=True)

    def close(self) -> None:
        """Nothing is left to write."""


class RowList:
    """Rows in memory, for the one JSON object of `--json`."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def write(self, row: Row) -> None:
        self.rows.append(row)

    def close(self) -> None:
        """Nothing is left to write; the rows are in `rows`."""


class Csv:
    """A CSV file with COLUMNS, texts as `as_cell` writes them. Until the end of the run its name ends in `.partial`."""

    def __init__(self, path: Path) -> None:
        self.path, self._partial = path, path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
        self._writer = csv.DictWriter(self._file, list(COLUMNS), lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: Row) -> None:
        flat = columns_of(row, COLUMNS)
        self._writer.writerow({key: as_cell(value) if isinstance(value, str) else value for key, value in flat.items()})

    def close(self) -> None:
        self._file.close()
        self._partial.replace(self.path)


class Parquet:
    r"""A Parquet file with COLUMNS. Until the end of the run its name ends in `.partial`.

    Texts are exact, but for bytes that are not UTF-8, which Parquet does not have: `\udcff` stands for the byte FF.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtraError(f"Parquet needs pyarrow ({error}); pip install 'gonogo[parquet]'") from error
        self._arrow: Any = pyarrow
        self.path, self._partial = path, path.with_name(path.name + ".partial")
        self._schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pyarrow.parquet.ParquetWriter(self._partial, self._schema)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(parquet_columns(row, COLUMNS))
        if len(self._rows) == GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._partial.replace(self.path)

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def warn(text: str) -> None:
    """Print a line on standard error, beside the rows."""
    _print(f"gonogo: {text}", sys.stderr)


def columns_of(row: Row, names: Iterable[str]) -> Row:
    """The columns of a table that say what a row does: None where it says nothing, text that is JSON for `AS_JSON`."""
    regions: Sequence[Any] | None = row.get("regions")
    known = row | {"n_regions": None if regions is None else len(regions)}
    known |= {name: _as_json(row[name]) for name in AS_JSON if name in row}
    return {name: known.get(name) for name in names}


def _as_json(value: Any) -> str:
    """JSON that is a cell as it is: what cannot be printed is an escape of JSON, and needs none of `as_cell`."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def parquet_columns(row: Row, names: Iterable[str]) -> Row:
    """As `columns_of`, for Parquet, which has texts of UTF-8 alone."""
    columns = columns_of(row, names)
    return {name: in_utf8(value) if isinstance(value, str) else value for name, value in columns.items()}


def _print(text: str, stream: TextIO) -> None:
    """Print one line; what a terminal would not show, or the stream cannot encode, is escaped."""
    encoding = stream.encoding or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def line_of(row: Row, *, localises: bool) -> str:
    """A row as text: verdict, score and file; for a reject also the number of its regions and the box of the first.

    Boxes that were found are told too, those of a box model beside the gauge whatever the verdict.
    """
    if row["verdict"] == UNKNOWN:
        return f"{UNKNOWN:18}  {row['file']}  {_nearest(row)}"
    is_abstained = row["verdict"] == UNCERTAIN
    word = row["verdict"] + ("?" if row["uncertain"] and not is_abstained else "")
    text = f"{word:7} {row['score']:<10.6g}  {row['file']}"
    if "nearest_category" in row:
        text += f"  {row['category']}"
    if row["probability"] is not None:
        text += f"  defective with {row['probability']:.1%}"
    if is_abstained:
        text += f"  leaning to {row['leaning']}"
    boxes = _boxes_of(row["boxes"]) if row.get("boxes") else ""
    if boxes and "box_model" not in row:
        return text + boxes
    if PASS in (row["verdict"], row.get("leaning")) or not (localises or row["regions"]):
        return text + boxes
    return text + (_regions_of(row["regions"]) if row["regions"] else "  no region") + boxes


def _boxes_of(boxes: Sequence[dict[str, Any]]) -> str:
    best = box_text(FoundBox(**boxes[0]))
    return f"  1 box, {best}" if len(boxes) == 1 else f"  {len(boxes)} boxes, best {best}"


def box_text(box: FoundBox) -> str:
    """A box as one line of text has it: its class, its confidence, its size and where it is."""
    return (
        f"{printable(box.label)} {box.confidence:.0%}, {box.width:.0f} x {box.height:.0f} at ({box.x:.0f}, {box.y:.0f})"
    )


def _regions_of(regions: Sequence[dict[str, Any]]) -> str:
    x, y, width, height = regions[0]["box"]
    where = f"{width} x {height} at ({x}, {y})"
    return f"  1 region, {where}" if len(regions) == 1 else f"  {len(regions)} regions, highest {where}"


def _nearest(row: Row) -> str:
    return f"nearest is {row['nearest_category']}, at {row['relative_distance']:.3g} times its limit"


@dataclass(frozen=True)
class Pictures:
    """Folders into which pictures of each verdict are written as PNG; None: no such pictures.

    A file is called `NAME-KEY.png`, by the image's name and twelve digits of its key, so that no two images share it. A
    name that would be too long is cut off before the key.

    maps: as `map_16_bit` gives them.
    masks: (h, w), 255 inside regions and 0 elsewhere.
    overlays: as `overlay` gives them, on `overlay_scale`.
    crops: as `crop_at_peak` gives them.
    """

    maps: Path | None = None
    masks: Path | None = None
    overlays: Path | None = None
    crops: Path | None = None
    overlay_scale: PictureScale = "threshold"

    def require_unit(self, threshold: float) -> None:
        """Do nothing if maps can be written as multiples of the threshold, or are not written.

        Raises:
            ConfigError: maps are to be written, and the threshold is not above 0.
        """
        if self.maps is not None and threshold <= 0:
            raise ConfigError(f"--maps writes multiples of the threshold, which is {threshold:g}; it must be above 0")

    def draw(self, item: Item, pixels: np.ndarray, verdict: Verdict) -> dict[str, str]:
        """Write the pictures; their paths, by what they show: `map`, `mask`, `overlay`, `crop`.

        Raises:
            DataError: a folder cannot be written.
        """
        name = fitting(item.within.name, f"-{item.key[:12]}.png")
        wanted: list[tuple[str, Path | None, Callable[[], np.ndarray]]] = [
            ("map", self.maps, lambda: map_16_bit(verdict)),
            ("mask", self.masks, lambda: verdict.defect_mask),
            ("overlay", self.overlays, lambda: overlay(pixels, verdict, scale=self.overlay_scale)),
            ("crop", self.crops, lambda: crop_at_peak(pixels, verdict)),
        ]
        written = {}
        for shows, folder, drawn in wanted:
            if folder is None:
                continue
            written[shows] = str(folder / name)
            try:
                write_png(folder / name, drawn(), compress_level=QUICK)
            except OSError as error:
                raise DataError(f"{folder / name} cannot be written: {error.strerror or error}") from error
        return written


def map_16_bit(verdict: Verdict) -> np.ndarray:
    """(h, w) uint16: the anomaly map, where MAP_UNIT is the threshold, which must be above 0; values end at 65,535."""
    relative = np.clip(verdict.anomaly_map / verdict.threshold * MAP_UNIT, 0, 65535)
    return np.asarray(relative.round().astype(np.uint16))


def overlay(
    pixels: np.ndarray,
    verdict: Verdict,
    *,
    scale: PictureScale = "threshold",
    labelled: Sequence[DrawnBox] = (),
    factor: int = 1,
) -> np.ndarray:
    """(h, w, 3) uint8: the image under the colours of its map with a line around each region, or with its boxes.

    On the scale of the threshold, unless another is asked for: see `PictureScale`. Boxes that a box model found beside
    the gauge are drawn over its map, and boxes that are `labelled` below those that were found.
    Before boxes are drawn, the picture is `enlarged` by the factor.
    """
    boxes = [*labelled, *drawn_boxes(verdict.boxes or ())]
    return with_boxes(enlarged(coloured(pixels, verdict, scale=scale), factor), boxes, scale=factor)


def coloured(pixels: np.ndarray, verdict: Verdict, *, scale: PictureScale = "threshold") -> np.ndarray:
    """(h, w, 3) uint8: what `overlay` draws the boxes on; where these decide, the image itself."""
    if verdict.boxes_decide:
        return pixels
    mixed: np.ndarray = pixels // 2 + scaled_colours(verdict.anomaly_map, verdict.threshold, scale) // 2
    mixed[dilated(verdict.defect_mask, 1) & ~verdict.defect_mask] = OUTLINE
    return mixed


def crop_at_peak(pixels: np.ndarray, verdict: Verdict) -> np.ndarray:
    """The square of the image (h, w, 3) uint8 around the place that differs most, or around the best box that decides.

    Its side is CROP_SHARE of the image's shorter side, and LEAST_CROP pixels or more; it is moved to lie inside. Of a
    gauge that does not localise it is the whole image, since nothing says where.
    """
    height, width = pixels.shape[:2]
    if verdict.boxes is not None and verdict.boxes_decide:
        if not verdict.boxes:
            return pixels
        best = verdict.boxes[0]
        x, y, extent = best.x + best.width / 2, best.y + best.height / 2, max(best.width, best.height)
    elif verdict.rule.threshold is None:
        return pixels
    else:
        row, column = np.unravel_index(verdict.anomaly_map.argmax(), verdict.anomaly_map.shape)
        x, y, extent = float(column), float(row), 0.0
    side = max(LEAST_CROP, round(CROP_SHARE * min(height, width)), round(extent))
    top, left = (
        min(max(0, round(centre - side / 2)), max(0, length - side)) for centre, length in ((y, height), (x, width))
    )
    return pixels[top : top + side, left : left + side]


def drawn_boxes(boxes: Sequence[FoundBox]) -> list[DrawnBox]:
    """The boxes that a gauge found, each with its class and its confidence in percent; the best is drawn last."""
    return [
        DrawnBox(
            (box.x, box.y, box.x + box.width, box.y + box.height),
            printable(f"{box.label} {box.confidence:.0%}"),
            FOUND_BOX,
        )
        for box in reversed(boxes)
    ]
