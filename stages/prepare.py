"""Read every image of one category, give each a role, and write the dataset and the facts of its data card."""

import entry_point
from gonogo.calibration.threshold import CalibrateParams
from gonogo.data import SOURCES
from gonogo.data.prepare.accepted import read_history
from gonogo.data.prepare.card import card_facts
from gonogo.data.prepare.params import PrepareParams
from gonogo.data.prepare.prepare import prepare, shares_of
from gonogo.data.unused import unused_files
from gonogo.files import require_raw, write_json, write_metrics
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    chosen = params.variant("prepare", SOURCES, PrepareParams)
    source, values = chosen.made, chosen.values
    require_raw(params.raw)
    samples = list(source.samples(category, params.raw, shares_of(values, params.seed)))
    prepared = prepare(
        samples,
        values,
        params.values("calibrate", CalibrateParams),
        category=category,
        folder=entry_point.path("prepared", category),
        raw=params.raw,
        seed=params.seed,
        progress=lambda n_done, n_total: entry_point.show_progress("images", n_done, n_total, {}),
        accepted=[event for event in read_history(entry_point.path("accepted")) if event.category == category],
        unused=unused_files(source, category, params.raw, samples),
    )
    card = card_facts(prepared, category=category, source=chosen.name, options=vars(source))
    counts = card["counts"]
    write_metrics(entry_point.path("metrics", "prepare", f"{category}.json"), counts)
    write_json(entry_point.path("cards", f"{category}.json"), card)
    entry_point.say(
        f"{category}: {counts['n_fit']} fit, {counts['n_calibrate']} calibrate, "
        f"{counts['n_test_good']} good and {counts['n_test_defective']} defective test images"
        + (f"; {counts['n_accepted']} of them accepted as good by a person" if counts["n_accepted"] else "")
    )
    for problem in prepared.warnings:
        entry_point.say(f"{category}: warning: {problem}")
    if prepared.has_errors:
        entry_point.say(f"to look at the images: python stages/report.py --category {category} --data-card")
    prepared.require_no_error()


if __name__ == "__main__":
    entry_point.run(main)
