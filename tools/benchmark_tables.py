"""The tables of docs/benchmarks.md, from the JSON files that the benchmarks write. Standard library only."""

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Reader = Callable[[str], str]  # the text of a file of this repository
Row = Mapping[str, Any]

ABSENT = "Not measured on this commit.\n"
# What a row of the side by side shows: figure of gonogo, figure of anomalib, digits, unit, goal in words.
PEERS = (
    ("feature_s", "feature_s", 2, "s", "features of all fit images", ""),
    ("coreset_s", "coreset_s", 2, "s", "coreset", "100 times"),
    ("covering_radius", "covering_radius", 3, "", "its covering radius", "at most theirs"),
    ("peak_mb", "peak_mb", 0, "MB", "peak memory of the fit", "3 times"),
    ("verdict_onnx_ms", "verdict_engine_ms", 1, "ms", "verdict, against their engine", "8 times"),
    ("verdict_onnx_ms", "verdict_network_ms", 1, "ms", "verdict, against their network", ""),
    ("verdict_onnx_ms", "verdict_onnx_ms", 1, "ms", "verdict, against their ONNX file", "4 times"),
    ("image_auroc", "image_auroc", 4, "", "image AUROC", "at least theirs"),
    ("pixel_auroc", "pixel_auroc", 4, "", "pixel AUROC", "at least theirs"),
    ("aupro_30", "aupro_30", 4, "", "AUPRO@0.30", "at least theirs"),
)
QUICKEST = ("verdict_onnx_ms", "verdict_network_ms", "verdict_engine_ms")  # the way that the frontier shows: the first
# The rows of the table in README.md: title, figure of gonogo, figure of anomalib, digits, unit.
FRONT = (
    ("fit: features and coreset", "fit_s", "fit_s", 1, "s"),
    ("peak memory of the fit", "peak_mb", "peak_mb", 0, "MB"),
    ("file to verdict, as documented", "verdict_onnx_ms", "verdict_engine_ms", 1, "ms"),
    ("file to verdict, ONNX file in onnxruntime", "verdict_onnx_ms", "verdict_onnx_ms", 1, "ms"),
    ("ONNX file", "onnx_mb", "onnx_mb", 1, "MB"),
)
# What a row of the ablation shows: figure, title, digits, unit.
ABLATED = (
    ("image_auroc", "image AUROC", 3, ""),
    ("aupro_30", "AUPRO@0.30", 3, ""),
    ("synthetic_auroc", "AUROC on damaged good images", 3, ""),
    ("covering_radius", "covering radius", 2, ""),
    ("p50_ms", "file to verdict, p50", 1, "ms"),
    ("bundle_mb", "bundle", 1, "MB"),
)
RECIPE_FIGURES = ("image_auroc", "aupro_30", "recall", "false_alarm_rate")
COSTS = (("fit_s", 1, "s"), ("fit_mb", 0, "MB"), ("verdict_ms", 1, "ms"), ("onnx_mb", 1, "MB"))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], *, n_names: int) -> str:
    """A table whose first `n_names` columns are names and whose others are numbers."""
    ruler = ["---"] * n_names + ["---:"] * (len(head) - n_names)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))


def peers_table(read: Reader) -> str:
    """PatchCore in both libraries: one table per part."""
    rows = _measured(read, "benchmarks/anomalib_side_by_side.json")
    if not rows:
        return ABSENT
    parts = []
    for key in dict.fromkeys((row["part"], row["image_size"], row["n_fit"]) for row in rows):
        of = {row["library"]: row for row in rows if (row["part"], row["image_size"], row["n_fit"]) == key}
        ours, theirs = of["gonogo"], of["anomalib"]
        lines = [
            (
                what,
                _figure(ours, mine, digits, unit),
                _figure(theirs, other, digits, unit),
                _ratio(ours.get(mine), theirs.get(other)) if unit else "",
                goal,
            )
            for mine, other, digits, unit, what, goal in PEERS
        ]
        parts.append(
            f"**{key[0]}**: {key[2]} fit images of {key[1]} pixels, {ours['n_patches']:,} patches of {ours['dims']} "
            f"dimensions, {ours['n_picks']:,} picks; {ours['n_good']} good and {ours['n_defective']} defective test "
            "images\n"
        )
        parts.append(markdown(("", "gonogo", "anomalib", "anomalib / gonogo", "goal"), lines, n_names=1) + "\n")
    return "\n".join([*parts, _origin(rows)])


def frontier_table(read: Reader) -> str:
    """Accuracy and cost of gauges and of anomalib's models by image size: a picture and a table for each part."""
    rows = _measured(read, "benchmarks/frontier.json")
    if not rows:
        return ABSENT
    head = (
        "",
        "pixels",
        "image AUROC",
        "pixel AUROC",
        "AUPRO@0.30",
        "file to verdict",
        "ONNX file",
        "fit",
        "its memory",
    )
    parts = []
    for name in dict.fromkeys(row["part"] for row in rows):
        of = sorted(
            (row for row in rows if row["part"] == name),
            key=lambda row: (row["label"], row["library"] == "anomalib", row["image_size"]),
        )
        lines = [
            (
                f"{row['library']}, {row['label']}",
                f"{row['image_size']}",
                *(_figure(row, key, 3, "") for key in ("image_auroc", "pixel_auroc", "aupro_30")),
                _number(next((row[key] for key in QUICKEST if key in row), None), 1, "ms"),
                _number(row.get("onnx_mb"), 1, "MB"),
                _number(row.get("fit_s"), 2, "s"),
                _number(row["peak_mb"], 0, "MB"),
            )
            for row in of
        ]
        counts = f"{of[0]['n_fit']} fit images; {of[0]['n_good']} good and {of[0]['n_defective']} defective test images"
        parts.append(f"**{name}**: {counts}\n\n![Accuracy against cost, {name}](images/frontier-{name}.svg)\n")
        parts.append(markdown(head, lines, n_names=1) + "\n")
    return "\n".join([*parts, _origin(rows)])


def front_table(read: Reader) -> str:
    """The table in README.md: PatchCore of both libraries on the part with most fit images, and pixel metrics."""
    rows = _measured(read, "benchmarks/anomalib_side_by_side.json")
    if not rows:
        return ABSENT
    largest = max(row["n_fit"] for row in rows)
    ours, theirs = ([row for row in rows if row["library"] == name] for name in ("gonogo", "anomalib"))
    mine, other = (next(row for row in side if row["n_fit"] == largest) for side in (ours, theirs))
    lines = [
        (
            what,
            _figure(mine, key, digits, unit),
            _figure(other, their_key, digits, unit),
            _ratio(mine[key], other[their_key]),
        )
        for what, key, their_key, digits, unit in FRONT
    ]
    parts = " / ".join(row["part"] for row in ours)
    for what, key in (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("AUPRO@0.30", "aupro_30")):
        ours_of_key, theirs_of_key = (" / ".join(f"{row[key]:.3f}" for row in side) for side in (ours, theirs))
        lines.append((f"{what}: {parts}", ours_of_key, theirs_of_key, ""))
    metrics = {row["library"]: row for row in _measured(read, "benchmarks/metrics.json")}
    if {"gonogo", "anomalib"} <= metrics.keys():
        mine, other = metrics["gonogo"], metrics["anomalib"]
        maps = f"{mine['n_images']} maps of {mine['side']:,} × {mine['side']:,}"
        for title, key, unit, digits in (
            (f"pixel AUROC and AUPRO of {maps}", "seconds", "s", 1),
            ("peak memory of that", "peak_mb", "MB", 0),
        ):
            first, second = (_figure(row, key, digits, unit) for row in (mine, other))
            lines.append((title, first, second, _ratio(mine[key], other[key])))
    part = next(row["part"] for row in ours if row["n_fit"] == largest)
    head = (f"PatchCore, {part}, {largest} fit images", "gonogo", "anomalib", "anomalib / gonogo")
    return f"{markdown(head, lines, n_names=1)}\n\n{_origin(rows)}"


def stated_rates_table(read: Reader) -> str:
    """Stated and observed false-alarm rates, by data and method."""
    rows = _measured(read, "benchmarks/stated_rates.json")
    if not rows:
        return ABSENT
    head = ("good parts of", "method", "trials", "parts", "stated", "observed, mean", "exceeded", "by chance alone")
    lines = []
    for row in rows:
        if "refused" in row:
            lines.append((row["data"], f"`{row['method']}`", "refused", *[""] * 5))
            continue
        figures = [f"{row['n_trials']:,}", f"{row['n_groups']:,}"]
        figures += [f"{row[key]:.1%}" if key in row else "" for key in ("stated", "measured", "exceeded", "expected")]
        lines.append((row["data"], f"`{row['method']}`", *figures))
    return markdown(head, lines, n_names=2) + "\n\n" + _origin(rows)


def _together(rows: Sequence[Mapping[str, Any]], *keys: str) -> list[Mapping[str, Any]]:
    """Rows of the same values at `keys` one after the other, in the order in which these were first measured."""
    places = list(dict.fromkeys(tuple(row[key] for key in keys) for row in rows))
    return sorted(rows, key=lambda row: places.index(tuple(row[key] for key in keys)))


def good_parts_table(read: Reader) -> str:
    """What each use of so many good parts gives: recall, false alarms and what is stated of them."""
    rows = _measured(read, "benchmarks/good_parts.json")
    if not rows:
        return ABSENT
    head = ("part", "good parts", "method", "stated", "false alarms", "recall", "image AUROC", "entries")

    def share(row: Mapping[str, Any], key: str) -> str:
        low, high = row[f"{key}_low"], row[f"{key}_high"]
        return f"{row[key]:.1%} [{low:.0%}, {high:.0%}]"

    lines, above = [], ("", "")
    for row in _together(rows, "part", "n"):
        place = (row["part"], f"{row['n']:,}")
        names = [name if place[: number + 1] != above[: number + 1] else "" for number, name in enumerate(place)]
        stated = f"≤ {row['stated']:.1%}" + (" on average" if row["method"].startswith("leave") else "")
        figures = (share(row, "false_alarm_rate"), share(row, "recall"), f"{row['image_auroc']:.3f}")
        lines.append((*names, row["method"], stated, *figures, f"{row['bank']:,.0f}"))
        above = place
    return markdown(head, lines, n_names=3) + "\n\n" + _origin(rows)


def recipes_table(read: Reader) -> str:
    """What the recipes that tune the backbone change beside the plain one: by part, and over all parts and seeds."""
    rows = _measured(read, "benchmarks/recipes.json")
    if not rows:
        return ABSENT
    head = ("light", "part", "recipe", "seeds", "image AUROC", "AUPRO@0.30", "recall", "false alarms")
    by_gauge: dict[tuple[str, str, str], list[Row]] = {}
    for row in _together(rows, "light", "part", "recipe"):
        by_gauge.setdefault((row["light"], row["part"], row["recipe"]), []).append(row)
    lines = [
        (light, part, f"`{recipe}`", str(len(of)), *(_mean_of(of, key) for key in RECIPE_FIGURES))
        for (light, part, recipe), of in by_gauge.items()
    ]
    plain = {(row["light"], row["part"], row["seed"]): row for row in rows if row["recipe"] == "plain"}
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for row in rows:
        before = plain.get((row["light"], row["part"], row["seed"]))
        if before is not None and before is not row:
            pairs.setdefault((row["light"], row["recipe"]), []).append((row, before))
    changes = [
        f"- `{recipe}` under the {light} light: image AUROC {_mean_step(of, 'image_auroc')}, AUPRO "
        f"{_mean_step(of, 'aupro_30')}, over {len(of)} pairs of a part and a seed. Image AUROC {_by_part(of)}."
        for (light, recipe), of in pairs.items()
    ]
    return "\n".join([markdown(head, lines, n_names=3), "", *changes, "", _origin(rows)])


def _mean_of(rows: Sequence[Row], key: str) -> str:
    """The mean of the seeds with the least and the largest."""
    values = [row[key] for row in rows]
    spread = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _by_part(pairs: Sequence[tuple[Row, Row]]) -> str:
    """The change of image AUROC of each part, over its seeds."""
    by_part: dict[str, list[tuple[Row, Row]]] = {}
    for pair in pairs:
        by_part.setdefault(pair[0]["part"], []).append(pair)
    return ", ".join(f"of {part} {_mean_step(of, 'image_auroc')}" for part, of in by_part.items())


def _mean_step(pairs: Sequence[tuple[Row, Row]], key: str) -> str:
    steps = [after[key] - before[key] for after, before in pairs]
    return f"{statistics.fmean(steps):+.3f} [{min(steps):+.3f}, {max(steps):+.3f}]"


def router_table(read: Reader) -> str:
    """What the router tells apart, by what it sees."""
    rows = _measured(read, "benchmarks/routing.json")
    if not rows:
        return ABSENT
    head = ("set", "seen", "good parts to their own", "worst category", "to another", "strangers found", "left out")
    lines, above = [], ""
    for row in _together(rows, "set"):
        shares = [f"{row[key]:.1%}" for key in ("accuracy", "accuracy_low", "wrong_rate", "stranger_rate")]
        left_out = f"{len(row['left_out'])} of {row['n_categories']}"
        lines.append((row["set"] if row["set"] != above else "", row["seen"], *shares, left_out))
        above = row["set"]
    return markdown(head, lines, n_names=2) + "\n\n" + _origin(rows)


def search_trials_table(read: Reader) -> str:
    """Ways to search the bank: their time beside the one in use, and what they lose."""
    rows = _measured(read, "benchmarks/search_trials.json")
    if not rows:
        return ABSENT
    head = ("part", "bank", "search", "time", "ratio", "a score rises by, at most", "found otherwise", "image AUROC")
    lines, above = [], ""
    for row in rows:
        names = (row["part"] if row["part"] != above else "", f"{row['bank']:,}", row["search"])
        above = row["part"]
        if "share_left" in row:
            lines.append((*names, "", f"{row['share_left']:.0%} of the blocks", "", "", ""))
            continue
        moved = f"{row['n_moved']} of {row['n_patches']:,}"
        figures = (f"{row['ms']:.2f} ms", f"{row['ratio']:.2f}", f"{row['largest_rise']:.2%}", moved)
        lines.append((*names, *figures, f"{row['image_auroc']:.3f}"))
    return markdown(head, lines, n_names=3) + "\n\n" + _origin(rows)


def drift_table(read: Reader) -> str:
    """Withdrawals in vain and delays of the certificate's watch, by simulation."""
    rows = _measured(read, "benchmarks/drift.json")
    if not rows:
        return ABSENT
    head = (
        "what comes", "scores", "missed share", "calibrate parts", "runs", "parts", "withdrawn in vain", "found",
        "after parts, median",
    )  # fmt: skip
    lines = []
    for row in sorted(rows, key=lambda row: (row["missed_share"], "found" in row)):
        changes = "found" in row
        if changes:
            what = f"shift of {row['shift']:+g} standard deviations" if row["shift"] else f"spread × {row['spread']:g}"
            what += f", after {row['before']:,} parts"
        else:
            what = f"good parts with {row['defects']:.0%} defects" if row["defects"] else "good parts"
        share = f"{row['share']:.1%} [{row['share_low']:.1%}, {row['share_high']:.1%}]"
        found = (f"{row['found']:.0%}", _number(row["delay"], 0, "")) if changes else ("", "")
        counts = [f"{row[key]:,}" for key in ("n", "valid", "parts")]
        lines.append((what, row["scores"], f"{row['missed_share']:.0%}", *counts, share, *found))
    return markdown(head, lines, n_names=3) + "\n\n" + _origin(rows)


def drift_cost_table(read: Reader) -> str:
    """What a part costs that is watched."""
    rows = _measured(read, "benchmarks/drift_cost.json")
    if not rows:
        return ABSENT
    head = ("tested", "parts seen before", "CPU time of a part")
    lines = [
        (
            f"the score and {row['statistics']} statistics of the image" if row["statistics"] else "the score",
            f"{row['seen']:,}",
            _number(row["part_us"], 0, "µs"),
        )
        for row in rows
    ]
    return f"{markdown(head, lines, n_names=1)}\n\n{_origin(rows)}"


def drift_images_table(read: Reader) -> str:
    """How soon changed images withdraw a certificate, by kind, share of the parts and severity."""
    rows = _measured(read, "benchmarks/drift_images.json")
    if not rows:
        return ABSENT
    severities = sorted({row["severity"] for row in rows})
    head = ("good parts of", "what changes", "parts changed", *(f"severity {severity}" for severity in severities))
    lines = []
    for category, kind in dict.fromkeys((row["category"], row["kind"]) for row in rows):
        of = [row for row in rows if (row["category"], row["kind"]) == (category, kind)]
        ways = sorted({(-row["share"], row.get("defect_rate") or 0.0) for row in of})
        for share, rate in ways:
            at = {row["severity"]: row for row in of if (-row["share"], row.get("defect_rate") or 0.0) == (share, rate)}
            changed = f"{-share:.0%}" + (f", {rate:.0%} defects expected" if rate else "")
            lines.append((category, kind, changed, *(_found_in(at.get(severity)) for severity in severities)))
        moved = {row["severity"]: f"{row['score_shift']:+.1f}" for row in of}
        lines.append((category, kind, "score moves by, sd", *(moved.get(severity, "") for severity in severities)))
    in_vain = sorted({f"{row['withdrawn_in_vain']:,} of {row['runs']:,}" for row in rows})
    missed = [row for row in rows if row["found"] < 1]
    told = (
        f"Before any change, {' or '.join(in_vain)} runs were withdrawn in vain. Of the {len(rows)} cases, "
        f"{len(missed)} were missed in some runs or all."
    )
    return f"{markdown(head, lines, n_names=3)}\n\n{told}\n\n{_origin(rows)}"


def _found_in(row: Row | None) -> str:
    """The share of runs in which a change was found and the median of the parts that it took."""
    if row is None:
        return ""
    return f"{row['found']:.0%}" + ("" if row["delay"] is None else f" in {row['delay']:.0f}")


def coreset_table(read: Reader) -> str:
    """The coreset of many patches, exact and composable."""
    rows = _measured(read, "benchmarks/coreset.json")
    if not rows:
        return ABSENT
    head = ("choice", "patches", "picks", "time", "peak memory", "of which before", "covering radius", "promised")
    lines = [
        (
            row["method"] + (f", {row['n_parts']} parts in {row['room_mb']:,.0f} MB" if "room_mb" in row else ""),
            f"{row['n_patches']:,} × {row['dims']}",
            f"{row['n_picks']:,}",
            _number(row["seconds"], 1, "s"),
            _number(row["peak_mb"], 0, "MB"),
            _number(row["before_mb"], 0, "MB"),
            _number(row["covering_radius"], 4, ""),
            "≤ " + _number(row.get("covering_radius_at_most", row.get("covering_radius_reported")), 4, ""),
        )
        for row in rows
    ]
    return f"{markdown(head, lines, n_names=1)}\n\n{_origin(rows)}"


def pixel_metrics_table(read: Reader) -> str:
    """The pixel metrics of the three libraries."""
    rows = _measured(read, "benchmarks/metrics.json")
    if not rows:
        return ABSENT
    ours = {(row["n_images"], row["side"]): row for row in rows if row["library"] == "gonogo"}
    head = ("", "images", "time", "times gonogo's", "peak memory", "of which before")
    lines = []
    for row in rows:
        beside = ours.get((row["n_images"], row["side"]))
        lines.append(
            (
                f"{row['library']}: " + ", ".join(name for key, name in _FOUND.items() if key in row),
                f"{row['n_images']} of {row['side']:,} × {row['side']:,}",
                _number(row["seconds"], 1, "s"),
                "–" if beside is None else f"{row['seconds'] / beside['seconds']:.1f}",
                _number(row["peak_mb"], 0, "MB"),
                _number(row["before_mb"], 0, "MB"),
            )
        )
    values = [(row["library"], *(_number(row.get(key), 9, "") for key in _FOUND)) for row in rows]
    return (
        f"{markdown(head, lines, n_names=1)}\n\n{markdown(('', *_FOUND.values()), values, n_names=1)}\n\n"
        f"{_origin(rows)}"
    )


def growth_table(read: Reader) -> str:
    """Costs against the number of fit images and against their size, and the exponents of the curves."""
    rows = _measured(read, "benchmarks/growth.json")
    if not rows:
        return ABSENT
    parts = ["![Each cost against the number of fit images and against their side](images/growth.svg)\n"]
    costs = ("fit", "memory of the fit", "verdict", "ONNX file")
    for along, title in (("n_images", "fit images"), ("side", "side, pixels")):
        on_curve = [row for row in rows if along in row["curves"]]
        on_curve.sort(key=lambda row: (str(row["detector"]), float(row[along])))
        lines = [(row["detector"], f"{row[along]:,}", *_costs(row)) for row in on_curve]
        parts.append(markdown(("detector", title, *costs), lines, n_names=1) + "\n")
    fitted = json.loads(read("benchmarks/growth.json"))["exponents"]
    lines = [
        (
            row["detector"],
            f"{'fit images' if row['along'] == 'n_images' else 'side'}, {row['from']:,} to {row['to']:,}",
            *(_exponent(row.get(figure)) for figure, _, _ in COSTS),
        )
        for row in fitted
    ]
    parts.append("The exponents, and the least and the largest between neighbouring points:\n")
    parts.append(markdown(("detector", "along", *costs), lines, n_names=2) + "\n")
    skipped = [row for row in rows if "skipped" in row]
    said = [f"- {row['detector']}, {row['n_images']:,} images of {row['side']}: {row['skipped']}" for row in skipped]
    if said:
        parts.append("\n".join(["Skipped:", "", *said, ""]))
    return "\n".join([*parts, _origin(rows)])


def service_table(read: Reader) -> str:
    """The service under load, what it adds to the scorer, and what became of malformed requests and of kills."""
    rows = _measured(read, "benchmarks/service.json")
    if not rows:
        return ABSENT
    head = (
        "workers × threads",
        "connections",
        "requests per second",
        "p50",
        "p95",
        "p99",
        "errors",
        "memory",
        "at the end",
    )
    loads = [
        (
            f"{row['workers']} × {row['machine']['threads']}",
            f"{row['concurrency']}",
            _number(row["per_s"], 1, ""),
            *(_number(row[f"{name}_ms"], 1, "ms") for name in ("p50", "p95", "p99")),
            f"{row['n_errors'] + row['n_refused']} of {row['n_requests']:,}",
            *(_number(row[f"memory_{when}_mb"], 0, "MB") for when in ("start", "end")),
        )
        for row in sorted(rows, key=lambda row: (row.get("workers", 0), row.get("concurrency", 0)))
        if row["what"] == "load"
    ]
    said = [sentence(row) for row in rows for what, sentence in _SAID.items() if row["what"] == what]
    return "\n\n".join([markdown(head, loads, n_names=2), "\n".join(said), _origin(rows)])


def pages_table(read: Reader) -> str:
    """What the pages of a full store take: the service, the browser to its first paint, and a key to the next part."""
    rows = _measured(read, "benchmarks/pages.json")
    if not rows:
        return ABSENT
    (row,) = [each for each in rows if each["what"] == "pages"]
    heads = {
        "server_ms": "response",
        "slowest_ms": "slowest",
        "cpu_ms": "of it computing",
        "first_paint_ms": "first paint",
        "key_ms": "key to the next part",
    }
    told = [
        (name, *(_number(figures[key], 0, "ms") if key in figures else "" for key in heads))
        for name, figures in row["pages"].items()
    ]
    counted = f"{row['inspections']:,} inspections in the store."
    return "\n\n".join([markdown(("page", *heads.values()), told, n_names=1), counted, _origin(rows)])


def _overhead(row: Row) -> str:
    return (
        f"- Over one connection, {row['workers']} × {row['machine']['threads']}: {row['service_ms']:.1f} ms to a "
        f"verdict; the scorer alone takes {row['scorer_ms']:.1f} ms, so the service adds {row['overhead_ms']:.1f} ms: "
        f"{row['stages_ms']['keep']:.1f} ms to commit the row, {row['overhead_without_disk_ms']:.1f} ms all else. "
        f"This disk takes {row['disk_ms']:.1f} ms to synchronise a file and its folder."
    )


def _fuzz(row: Row) -> str:
    statuses = ", ".join(f"{n:,} times {status}" for status, n in row["by_status"].items())
    return f"- {row['n_requests']:,} malformed requests of {len(row['by_kind'])} kinds: {statuses}."


def _kills(row: Row) -> str:
    found = f"{row['n_lost']} of {row['n_acknowledged']:,} acknowledged inspections lost"
    return f"- {row['n_kills']} kills under load: {found}."


def _watch_kills(row: Row) -> str:
    return (
        f"- {row['n_kills']} kills of a watched folder while files arrive: of {row['n_files']:,} files {row['n_lost']} "
        f"lost, {row['n_judged_twice']} judged twice, {row['n_without_verdict']} sorted without a verdict."
    )


def _mixed(row: Row) -> str:
    statuses = ", ".join(f"{n:,} times {status}" for status, n in row["by_status"].items())
    took = [
        f"{name} images: p50 {row[f'{name}_p50_ms']:,.0f} ms, p99 {row[f'{name}_p99_ms']:,.0f} ms"
        for name in ("small", "large")
        if row[f"n_{name}"]
    ]
    clients = "1 client" if row["concurrency"] == 1 else f"{row['concurrency']} clients"
    return (
        f"- {clients}, each tenth image of 24 megapixels, beside slow clients: {statuses}; "
        f"{'; '.join(took)}; at most {row['memory_most_mb']:,.0f} of {row['memory_mb']:,} MB."
    )


def _cache(row: Row) -> str:
    return (
        f"- With `--cache`, an image that was seen before: {row['repeated_p50_ms']:.1f} ms, and a new one "
        f"{row['new_p50_ms']:.1f} ms; without it {row['scored_p50_ms']:.1f} ms, each the median of {row['n_turns']}."
    )


_SAID = {
    "overhead": _overhead,
    "mixed": _mixed,
    "cache": _cache,
    "fuzz": _fuzz,
    "kill": _kills,
    "watch_kill": _watch_kills,
}


def ablation_table(read: Reader) -> str:
    """Of each part, a table per factor; of seeds their mean and standard deviation too."""
    rows = _measured(read, "benchmarks/ablation.json")
    if not rows:
        return ABSENT
    correlation = json.loads(read("benchmarks/ablation.json"))["rank_correlation"]
    parts = []
    for part in dict.fromkeys(row["part"] for row in rows):
        of = [row for row in rows if row["part"] == part]
        parts.append(f"**{part}**\n")
        for factor in sorted({factor for row in of for factor in row["factors"]}):
            shown = sorted(
                (row for row in of if factor in row["factors"]), key=lambda row: int(row["factors"][factor]["place"])
            )
            lines = [_ablated(row, factor) for row in shown]
            if factor == "seed" and len(shown) > 1:
                lines.append(("mean ± standard deviation", *(_spread(shown, *one) for one in ABLATED)))
            parts.append(markdown((factor, *(title for _, title, _, _ in ABLATED)), lines, n_names=1) + "\n")
        parts.append(f"![Each figure by each factor, {part}](images/ablation-{part}.svg)\n")
        if part in correlation:
            parts.append(
                f"Over these {len(of)} points the rank correlation of the AUROC on damaged good images with that on "
                f"the test's defects is {correlation[part]:.2f}.\n"
            )
    return "\n".join([*parts, _origin(rows)])


def tuning_ranks_table(read: Reader) -> str:
    """Of each part, how the criterion of a search ranks gauges beside the test's defects."""
    rows = [row for row in _measured(read, "benchmarks/tuning.json") if row["what"] == "ranks"]
    if not rows:
        return ABSENT
    head = (
        "part",
        "good parts",
        "gauges",
        "rank correlation with image AUROC",
        "with pixel AP",
        "with image AUROC, all layers",
        "image AUROC of the gauges",
        "of the criterion's choice",
        "criterion's standard error",
    )
    lines = [
        (
            row["part"],
            str(row["n_parts"]),
            str(row["n"]),
            _number(row["rank_image_auroc"], 2, ""),
            _number(row["rank_pixel_ap"], 2, ""),
            _number(row["rank_image_auroc_all_layers"], 2, ""),
            " to ".join(_number(end, 3, "") for end in row["image_auroc_range"]),
            _number(row["image_auroc_of_best"], 3, ""),
            _number(row["median_error"], 3, ""),
        )
        for row in rows
    ]
    return "\n\n".join([markdown(head, lines, n_names=1), _origin(rows)])


def tuning_gains_table(read: Reader) -> str:
    """Of each part, the gauge of params.yaml and the one that a search chose."""
    rows = [row for row in _measured(read, "benchmarks/tuning.json") if row["what"] == "gains"]
    if not rows:
        return ABSENT
    head = ("part", "options", "image AUROC", "pixel AP", "recall", "false alarms", "verdict", "criterion", "search")
    lines = []
    for row in rows:
        lines.append((row["part"], "as in `params.yaml`", *_gauge(row, "before"), ""))
        changes = ", ".join(f"`{name}: {value}`" for name, value in row["changes"].items()) or "no change"
        lines.append(("", changes, *_gauge(row, "after"), _number(row["search_s"], 0, "s")))
    return "\n\n".join([markdown(head, lines, n_names=2), _origin(rows)])


def _gauge(row: Row, when: str) -> tuple[str, ...]:
    of = row[when]
    digits = (("image_auroc", 3), ("pixel_ap", 3), ("recall", 2), ("false_alarm_rate", 2))
    figures = (_number(of.get(name), places, "") for name, places in digits)
    return *figures, _number(of["verdict_ms"], 1, "ms"), _number(row[f"criterion_{when}"], 3, "")


def _ablated(row: Row, factor: str) -> tuple[str, ...]:
    label = row["factors"][factor]["label"] + ("" if row["settings"] else ", as in `params.yaml`")
    figures = []
    for name, _, digits, unit in ABLATED:
        interval = (
            f" [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]" if f"{name}_low" in row else ""
        )
        figures.append(_number(row.get(name), digits, unit) + interval)
    return (label, *figures)


def _spread(rows: Sequence[Row], name: str, _: str, digits: int, unit: str) -> str:
    values = [row[name] for row in rows if name in row]
    if len(values) < 2:
        return "–"
    return f"{statistics.fmean(values):,.{digits}f} ± {statistics.stdev(values):,.{digits}f} {unit}".rstrip()


_FOUND = {"pixel_auroc": "pixel AUROC", "pixel_ap": "pixel AP", "aupro_30": "AUPRO@0.30"}


def _measured(read: Reader, name: str) -> list[Row]:
    """The rows of a benchmark; none where it was not run."""
    try:
        return list(json.loads(read(name))["rows"])
    except (OSError, subprocess.CalledProcessError):  # no such file, here or at HEAD
        return []


def _number(value: float | None, digits: int, unit: str) -> str:
    return "–" if value is None else f"{value:,.{digits}f} {unit}".rstrip()


def _figure(row: Row, name: str, digits: int, unit: str) -> str:
    """A figure, and where it is a mean of several that differ, the least and the largest of them."""
    low, high = (_number(row.get(f"{name}_{end}"), digits, unit) for end in ("least", "largest"))
    return _number(row.get(name), digits, unit) + (f" [{low}, {high}]" if low != high else "")


def _ratio(ours: float | None, theirs: float | None) -> str:
    return "–" if not ours or theirs is None else f"{theirs / ours:,.1f}"


def _costs(row: Row) -> tuple[str, ...]:
    if "skipped" in row:
        return ("skipped",) + ("",) * (len(COSTS) - 1)
    return tuple(_number(row[figure], digits, unit) for figure, digits, unit in COSTS)


def _exponent(fitted: Row | None) -> str:
    return "–" if fitted is None else f"{fitted['slope']:.2f} [{fitted['least']:.2f}, {fitted['largest']:.2f}]"


def _origin(rows: Sequence[Row]) -> str:
    """What the rows were measured on."""
    machines = {
        f"{row['machine']['cpu']}, {row['machine']['cores']} cores, {row['machine']['memory_mb'] / 1e3:.0f} GB, "
        f"{row['machine']['threads']} threads"
        for row in rows
    }
    versions = {f"{name} {version}" for row in rows for name, version in row["versions"].items()}
    commits = {row["commit"][:10] + ("-dirty" if row["commit"].endswith("-dirty") else "") for row in rows}
    return (
        f"Measured on {'; '.join(sorted(machines))}; {', '.join(sorted(versions))}; commit "
        f"{', '.join(sorted(commits))}.\n"
    )


def attribution_table(read: Reader) -> str:
    """What each map finds of masked defects."""
    rows = _measured(read, "benchmarks/attribution.json")
    if not rows:
        return ABSENT
    head = ("part", "detector", "map", "defects", "mass in the mask over chance", "its highest place is in the mask")
    lines = [
        (
            row["part"],
            row["detector"],
            row["method"],
            f"{row['n']:,}",
            f"{row['mass_over_chance']:.1f} [{row['mass_low']:.1f}, {row['mass_high']:.1f}]",
            f"{row['points']:.0%}",
        )
        for row in rows
    ]
    largest = max(row["largest_sum_error_e9"] for row in rows)
    error = f"The terms by feature of these images lack at most {largest:.0f} parts in 10⁹ of their score."
    return f"{markdown(head, lines, n_names=3)}\n\n{error}\n\n{_origin(rows)}"
