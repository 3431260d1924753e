"""The layout of a picture sheet: a title, a note, the scale of the maps, and rows of cells on white paper."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gonogo.images.colours import FAINT, INK, PAPER, PASS, REJECT, RULE, map_colours
from gonogo.reports.drawing import Size, on_paper

GAP, HEADER, LINE = 6, 46, 15  # pixels: between tiles, above the first row, of one line of text
SCALE_WIDTH, SCALE_MARGIN = 160, 40

Colour = tuple[int, int, int]


class Sheet:
    """A canvas with a grid of cells. A cell is a row of tiles, all of one size, with lines of text below them."""

    def __init__(
        self,
        *,
        title: str,
        tile: Size,
        tiles_per_cell: int = 1,
        lines: int,
        columns: int,
        rows: int,
        left: int = 0,
        least: Size = (0, 0),
    ) -> None:
        """An empty sheet.

        Args:
            title: in the first line.
            tile: width and height of each tile.
            lines: of text below the tiles of a cell.
            left: width of what stands to the left of the cells, such as the names of the rows.
            least: the canvas is at least so wide and high.
        """
        self.tile, self.left = tile, left
        self.cell = (tiles_per_cell * (tile[0] + GAP) + GAP, tile[1] + lines * LINE + 2 * GAP)
        width = max(left + columns * self.cell[0] + GAP, least[0])
        self.canvas = Image.new("RGB", (width, max(HEADER + rows * self.cell[1] + GAP, least[1])), PAPER)
        self.draw = ImageDraw.Draw(self.canvas)
        self.font = ImageFont.load_default(12)
        self.draw.text((GAP, 5), title, fill=INK, font=ImageFont.load_default(15))

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The left and top of a cell's first tile."""
        return self.left + GAP + column * self.cell[0], HEADER + row * self.cell[1]

    def note(self, text: str, *, column: int = 0) -> None:
        """Write a note or a column's title above the cells."""
        self.draw.text((self.corner(0, column)[0], 27), text, fill=FAINT, font=self.font)

    def start_row(self, row: int, name: str = "") -> None:
        """Draw a line above a row, and write the row's name to the left of its cells."""
        _, top = self.corner(row, 0)
        self.draw.line((GAP, top - GAP // 2, self.canvas.width - GAP, top - GAP // 2), fill=RULE)
        if name:
            self.draw.text(
                (GAP, top + self.tile[1] // 2 - 8), self.fitted(name, self.left - GAP), fill=INK, font=self.font
            )

    def put(self, row: int, column: int, *tiles: np.ndarray) -> None:
        """Draw the tiles of a cell from left to right, each in the middle of its place."""
        left, top = self.corner(row, column)
        for number, tile in enumerate(tiles):
            self.canvas.paste(on_paper(tile, self.tile), (left + number * (self.tile[0] + GAP), top))

    def caption(
        self, row: int, column: int, line: int, text: str, colour: Colour = INK, *, keep_end: bool = False
    ) -> None:
        """Write a line of text below a cell's tiles; what does not fit is cut at the end, or at the beginning."""
        left, top = self.corner(row, column)
        place = (left, top + self.tile[1] + 2 + line * LINE)
        self.draw.text(place, self.fitted(text, self.cell[0] - GAP, keep_end=keep_end), fill=colour, font=self.font)

    def fitted(self, text: str, width: int, *, keep_end: bool = False) -> str:
        """The text, or as much of its beginning, or of its end, as is no wider than `width` pixels."""
        while len(text) > 2 and self.draw.textlength(text, font=self.font) > width:
            text = "…" + text[2:] if keep_end else text[:-2] + "…"
        return text

    def draw_scale(self, threshold: float) -> None:
        """Draw the colour scale of the maps at the top right."""
        bar = np.tile(np.linspace(0, 2 * threshold, SCALE_WIDTH), (10, 1))
        left = self.canvas.width - SCALE_WIDTH - SCALE_MARGIN
        self.canvas.paste(Image.fromarray(map_colours(bar, threshold)), (left, 5))
        for fraction, label in ((0.0, "0"), (0.5, f"threshold {threshold:.4g}"), (1.0, "2 x")):
            x = left + fraction * SCALE_WIDTH - self.draw.textlength(label, font=self.font) / 2
            self.draw.text((x, 17), label, fill=FAINT, font=self.font)

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.canvas.save(path, format="PNG", compress_level=6)


def verdict_text(rejected: bool) -> tuple[str, Colour]:
    """The word for a verdict, and its colour on a sheet."""
    return ("reject", REJECT) if rejected else ("pass", PASS)
