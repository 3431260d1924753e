"""A picture of the fit images that look least like the others."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from gonogo.files import write_rows
from gonogo.images.colours import FAINT, INK, PAPER, PASS, REJECT, RULE, map_colours
from gonogo.images.dataset import Dataset
from gonogo.model.left_out import COLUMNS, LeftOutScores
from gonogo.reports.drawing import GAP, draw_scale, fitted_text, scaled

SIDE, HEADER, CAPTION = 150, 50, 36


def left_out_sheet(looked: LeftOutScores, dataset: Dataset, title: str, threshold: float) -> Image.Image:
    """The images with the highest scores, each beside its map, on the colour scale of the picture sheet."""
    bold, small = ImageFont.load_default(15), ImageFont.load_default(12)
    n_tiles, columns = (2, 3) if looked.maps else (1, 6)
    case_width, case_height = n_tiles * (SIDE + GAP), SIDE + CAPTION + GAP
    rows = -(-len(looked.shown) // columns)
    width = GAP + columns * (case_width + GAP)
    canvas = Image.new("RGB", (width, HEADER + rows * case_height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 5), title, fill=INK, font=bold)
    said = looked.sentence(threshold)
    if looked.shown:
        n_rejected = looked.n_rejected(threshold)
        said = f"scored without themselves: {n_rejected} of {len(looked.images)} at or above the threshold"
    draw.text((GAP, 27), said, fill=FAINT, font=small)
    if looked.maps:
        draw_scale(canvas, draw, small, width, threshold)
    by_path = {record.path: record for record in dataset.records}
    for number, position in enumerate(looked.shown):
        row, column = divmod(number, columns)
        left, top = GAP + column * (case_width + GAP), HEADER + row * case_height
        if column == 0:
            draw.line((GAP, top - GAP // 2, width - GAP, top - GAP // 2), fill=RULE)
        record, score = by_path[looked.images[position]], float(looked.scores[position])
        canvas.paste(scaled(dataset.pixels_of(record), SIDE), (left, top))
        if looked.maps:
            colours = map_colours(looked.maps[number], threshold)
            canvas.paste(scaled(colours, SIDE), (left + SIDE + GAP, top))
        name = fitted_text(draw, record.path, small, case_width - GAP, keep_end=True)
        draw.text((left, top + SIDE + 2), name, fill=INK, font=small)
        times = f" ({score / looked.median:.2f} x median)" if looked.median > 0 else ""
        verdict, colour = ("reject", REJECT) if score >= threshold else ("pass", PASS)
        draw.text((left, top + SIDE + 17), f"{verdict}  {score:.4g}{times}", fill=colour, font=small)
    return canvas


def write_left_out(folder: Path, looked: LeftOutScores, dataset: Dataset, *, category: str, threshold: float) -> None:
    """Write all scores to `category`.csv in the folder, and draw the highest to `category`.png."""
    write_rows(folder / f"{category}.csv", looked.rows(threshold), COLUMNS)
    sheet = left_out_sheet(looked, dataset, f"{category}: fit images to look at", threshold)
    sheet.save(folder / f"{category}.png", format="PNG", optimize=True)
