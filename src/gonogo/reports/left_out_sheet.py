"""A picture of the fit images that are least like the others."""

from pathlib import Path

from gonogo.images.dataset import Dataset
from gonogo.model.left_out import LeftOutScores
from gonogo.reports.drawing import image_tile, map_tile, tile_size
from gonogo.reports.sheet_layout import Sheet

SIDE = 150  # pixels of a square tile


def write_left_out_sheet(
    path: Path, left_out: LeftOutScores, dataset: Dataset, *, category: str, threshold: float
) -> None:
    """Draw the fit images with the highest scores, each beside its map, on the colour scale of the picture sheet."""
    records = {record.path: record for record in dataset.records}
    shown = [records[left_out.images[position]] for position in left_out.shown]
    columns = 3 if left_out.maps else 6
    sheet = Sheet(
        title=f"{category}: fit images to look at",
        tile=tile_size(((record.width, record.height) for record in shown), SIDE),
        tiles_per_cell=2 if left_out.maps else 1,
        lines=2,
        columns=columns,
        rows=-(-len(shown) // columns),
    )
    if not shown:
        sheet.note(left_out.sentence)
    else:
        sheet.note(f"the {len(shown)} of {len(left_out.images)} that are least like the others, without themselves")
    if left_out.maps:
        sheet.draw_scale(threshold)
    for number, (position, record) in enumerate(zip(left_out.shown, shown, strict=True)):
        row, column = divmod(number, columns)
        if column == 0:
            sheet.start_row(row)
        tiles = [image_tile(dataset.pixels_of(record), sheet.tile)]
        if left_out.maps:
            tiles.append(map_tile(left_out.maps[number], threshold, sheet.tile))
        sheet.put(row, column, *tiles)
        score = float(left_out.scores[position])
        times = f" ({score / left_out.median:.2f} x median)" if left_out.median > 0 else ""
        sheet.caption(row, column, 0, record.path, keep_end=True)
        sheet.caption(row, column, 1, f"{score:.4g}{times}")
    sheet.save(path)
