"""Draw one category from the records of the other stages: its data card, pages, picture sheets and strip of parts."""

import argparse
from typing import Any

import numpy as np

import entry_point
from gonogo.calibration.highest_parts import highest_parts
from gonogo.evaluation.accuracy.operating_points import ScoresByKind
from gonogo.evaluation.accuracy.summary import headline
from gonogo.files import read_json, read_rows, write_json, write_metrics
from gonogo.images.dataset import Dataset, read_dataset
from gonogo.inference.scorer import Scorer
from gonogo.model.left_out import load_left_out
from gonogo.params import Params
from gonogo.reports.data_card import write_data_card
from gonogo.reports.left_out_sheet import write_left_out_sheet
from gonogo.reports.operating_page import measured_record, write_operating_page
from gonogo.reports.pages import write_calibration_page
from gonogo.reports.parts import PartImages, parts_with_role
from gonogo.reports.sheet import ReportParams, write_sheet
from gonogo.reports.strip import overlays_of, strip_of
from gonogo.reports.worst_boxes import write_worst_boxes


def draw_data_card(category: str, card: dict[str, Any], dataset: Dataset) -> None:
    page = entry_point.path("reports", category, "data_card.html")
    write_data_card(page, card, dataset)
    entry_point.say(f"{category}: data card in {page}")


def main(category: str, params: Params, *, data_card_alone: bool) -> None:
    dataset = read_dataset(entry_point.path("prepared", category), params.raw)
    card = read_json(entry_point.path("cards", f"{category}.json"))
    draw_data_card(category, card, dataset)
    if data_card_alone:
        return
    values = params.values("report", ReportParams)
    scorer = Scorer(entry_point.path("bundles", category))
    rows = read_rows(entry_point.path("plots", "records", f"{category}.csv"))
    parts, images = parts_with_role("test", rows), PartImages(dataset, scorer)
    folder = entry_point.path("reports", category)
    measured = measured_record(scorer.record, rows)
    good = [row for row in rows if row["role"] == "calibrate"]
    highest = highest_parts(
        [row["image"] for row in good],
        [row["group_id"] for row in good],
        np.array([float(row["score"]) for row in good]),
        measured,
    )
    pictures = overlays_of([part.image for part in highest.parts], parts_with_role("calibrate", rows), images)
    write_calibration_page(
        folder / "calibration.html",
        scorer.record,
        category=category,
        highest=highest,
        pictures=pictures,
        excluded=card["excluded"],
    )
    evaluate = read_json(entry_point.path("metrics", "evaluate", f"{category}.json"))
    write_metrics(entry_point.path("metrics", "headline", f"{category}.json"), headline(evaluate, scorer.record))
    write_operating_page(folder / "operating_points.html", ScoresByKind.from_rows(rows), measured, category=category)
    strip = strip_of(parts, images) | {"warning": highest.warning}
    write_json(entry_point.path("plots", "parts", f"{category}.json"), strip)
    sheet = entry_point.path("plots", "sheets", f"{category}.png")
    write_sheet(
        sheet, parts, images, category=category, cases=values.sheet_cases, finds_boxes=scorer.box_classes is not None
    )
    if scorer.box_classes is not None:
        boxes = read_rows(entry_point.path("plots", "regions", f"{category}.csv"))
        write_worst_boxes(folder / "worst_boxes.html", boxes, dataset, category=category)
    left_out = load_left_out(entry_point.path("left_out", f"{category}.npz"))
    sheet = entry_point.path("plots", "left_out", f"{category}.png")
    write_left_out_sheet(sheet, left_out, dataset, category=category, threshold=measured.threshold)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--category", required=True, help="one of the categories in params.yaml")
    parser.add_argument("--data-card", action="store_true", help="draw the data card alone, which needs only prepare")
    given = parser.parse_args()
    entry_point.guard(
        lambda: main(given.category, Params(entry_point.PARAMS, given.category), data_card_alone=given.data_card),
        label=f"report@{given.category}",
    )
