"""The tables of docs/benchmarks.md, from the JSON files that the benchmarks write, whose rows are a data frame each.

Every value of a frame is the object that stands in its file, so that whole numbers stay whole, and nan where a row has
none. pandas is imported where it is used: blocks of the README are run also where nothing is installed yet.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Reader = Callable[[str], str]  # the text of a file of this repository
Row = Mapping[str, Any]  # what a row has, by the names of its columns
Cell = str | Callable[[Row], str]  # a template of the row's values, or what makes a text of the row

ABSENT = "Not measured on this commit.\n"
# The rows of the side by side: title, figure of gonogo, figure of anomalib, digits, unit, goal in words.
PEERS: tuple[tuple[Any, ...], ...] = (
    ("features of all fit images", "feature_s", "feature_s", 2, "s", ""),
    ("coreset", "coreset_s", "coreset_s", 2, "s", "100 times"),
    ("its covering radius", "covering_radius", "covering_radius", 3, "", "at most theirs"),
    ("peak memory of the fit", "peak_mb", "peak_mb", 0, "MB", "3 times"),
    ("verdict, against their engine", "verdict_onnx_ms", "verdict_engine_ms", 1, "ms", "8 times"),
    ("verdict, against their network", "verdict_onnx_ms", "verdict_network_ms", 1, "ms", ""),
    ("verdict, against their ONNX file", "verdict_onnx_ms", "verdict_onnx_ms", 1, "ms", "4 times"),
    ("image AUROC", "image_auroc", "image_auroc", 4, "", "at least theirs"),
    ("pixel AUROC", "pixel_auroc", "pixel_auroc", 4, "", "at least theirs"),
    ("AUPRO@0.30", "aupro_30", "aupro_30", 4, "", "at least theirs"),
)
QUICKEST = ("verdict_onnx_ms", "verdict_network_ms", "verdict_engine_ms")  # the way that the frontier shows: the first
# The rows of the table in README.md, as above.
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
# What a point of the growth costs: figure, title, template.
COSTS = (
    ("fit_s", "fit", "{fit_s:,.1f} s"),
    ("fit_mb", "memory of the fit", "{fit_mb:,.0f} MB"),
    ("verdict_ms", "verdict", "{verdict_ms:,.1f} ms"),
    ("onnx_mb", "ONNX file", "{onnx_mb:,.1f} MB"),
)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, n_names: int) -> str:
    """A table whose first `n_names` columns are names and whose others are numbers."""
    ruler = ["---"] * n_names + ["---:"] * (len(head) - n_names)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))


def table_of(rows: "pd.DataFrame", columns: Mapping[str, Cell], *, n_names: int, without: str = "–") -> str:
    """A table with a line for each row and a column for each title; `without` stands where a row lacks a value."""
    return markdown(list(columns), cells(rows, columns, without), n_names=n_names)


def cells(rows: "pd.DataFrame", columns: Mapping[str, Cell], without: str = "–") -> list[list[str]]:
    """The texts of a table, by row."""

    def text(row: Row, cell: Cell) -> str:
        if callable(cell):
            return cell(row)
        try:
            return cell.format_map(row)
        except KeyError:
            return without

    return [[text(row, cell) for cell in columns.values()] for row in records(rows)]


def records(rows: "pd.DataFrame") -> list[Row]:
    """Each row with the values that it has."""
    return [row.dropna().to_dict() for _, row in rows.iterrows()]


def measured(file: str, *keys: str, what: str = "") -> Callable[[Callable[..., str]], Callable[[Reader], str]]:
    """Make a table from what writes the rows of a file, with what they were measured on below it.

    Args:
        file: that a benchmark wrote; without it or without rows, the table says that nothing was measured.
        keys: what else of the file is passed.
        what: the rows of this kind alone.
    """

    def decorate(write: Callable[..., str]) -> Callable[[Reader], str]:
        @wraps(write)
        def written(read: Reader) -> str:
            rows = rows_of(read, file)
            rows = rows[rows.what == what] if what and len(rows) else rows
            if rows.empty:
                return ABSENT
            return f"{write(rows, *(json.loads(read(file))[key] for key in keys))}\n\n{_origin(rows)}"

        return written

    return decorate


def rows_of(read: Reader, file: str) -> "pd.DataFrame":
    """The rows of a benchmark; none where it was not run."""
    try:
        return _frame(json.loads(read(file))["rows"])
    except (OSError, subprocess.CalledProcessError):  # no such file, here or at HEAD
        return _frame([])


def _frame(rows: Sequence[Row]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, dtype=object)


def _together(rows: "pd.DataFrame", *names: str) -> "pd.DataFrame":
    """Rows of the same names one after the other, in the order of the first; a name that stands above is left out."""
    order = rows.groupby(list(names), sort=False).ngroup().sort_values(kind="stable")
    shown = rows.loc[order.index, list(names)]
    above = shown.eq(shown.shift()).cummin(axis="columns")
    return rows.loc[order.index].assign(**shown.mask(above, ""))


def _libraries(rows: "pd.DataFrame") -> tuple[Row, Row]:
    """The row of gonogo and that of anomalib."""
    of = {row["library"]: row for row in records(rows)}
    return of["gonogo"], of["anomalib"]


@measured("benchmarks/anomalib_side_by_side.json")
def peers_table(rows: "pd.DataFrame") -> str:
    """PatchCore in both libraries: one table per part."""
    parts = []
    for (part, side, n_fit), of in rows.groupby(["part", "image_size", "n_fit"], sort=False):
        ours, theirs = _libraries(of)
        lines = [(*_beside(ours, theirs, *line), goal) for *line, goal in PEERS]
        parts += [
            f"**{part}**: {n_fit} fit images of {side} pixels, {ours['n_patches']:,} patches of {ours['dims']} "
            f"dimensions, {ours['n_picks']:,} picks; {ours['n_good']} good and {ours['n_defective']} defective test "
            "images",
            markdown(("", "gonogo", "anomalib", "anomalib / gonogo", "goal"), lines, n_names=1),
        ]
    return "\n\n".join(parts)


@measured("benchmarks/frontier.json")
def frontier_table(rows: "pd.DataFrame") -> str:
    """Accuracy and cost of gauges and of anomalib's models by image size: a picture and a table for each part."""
    columns: dict[str, Cell] = {
        "": "{library}, {label}",
        "pixels": "{image_size}",
        "image AUROC": partial(_figure, name="image_auroc", digits=3),
        "pixel AUROC": partial(_figure, name="pixel_auroc", digits=3),
        "AUPRO@0.30": partial(_figure, name="aupro_30", digits=3),
        "file to verdict": lambda row: _number(next((row[key] for key in QUICKEST if key in row), None), 1, "ms"),
        "ONNX file": "{onnx_mb:,.1f} MB",
        "fit": "{fit_s:,.2f} s",
        "its memory": "{peak_mb:,.0f} MB",
    }
    parts = []
    for name, of in rows.groupby("part", sort=False):
        first = of.iloc[0]
        counts = f"{first.n_fit} fit images; {first.n_good} good and {first.n_defective} defective test images"
        shown = of.sort_values(["label", "library", "image_size"], ascending=[True, False, True])  # gonogo first
        parts += [
            f"**{name}**: {counts}\n\n![Accuracy against cost, {name}](images/frontier-{name}.svg)",
            table_of(shown, columns, n_names=1),
        ]
    return "\n\n".join(parts)


def front_table(read: Reader) -> str:
    """The table in README.md: PatchCore of both libraries on the part with most fit images, and pixel metrics."""
    rows, metrics = (rows_of(read, f"benchmarks/{name}.json") for name in ("anomalib_side_by_side", "metrics"))
    if rows.empty:
        return ABSENT
    mine, other = _libraries(rows[rows.n_fit == rows.n_fit.max()])
    lines = [_beside(mine, other, *line) for line in FRONT]
    ours, theirs = (rows[rows.library == library] for library in ("gonogo", "anomalib"))
    for what, key in (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("AUPRO@0.30", "aupro_30")):
        shown = [" / ".join(side[key].map("{:.3f}".format)) for side in (ours, theirs)]
        lines.append((f"{what}: {' / '.join(ours.part)}", *shown, ""))
    if {"gonogo", "anomalib"} <= set(metrics.get("library", ())):
        first, second = _libraries(metrics)
        maps = f"{first['n_images']} maps of {first['side']:,} × {first['side']:,}"
        lines.append(_beside(first, second, f"pixel AUROC and AUPRO of {maps}", "seconds", "seconds", 1, "s"))
        lines.append(_beside(first, second, "peak memory of that", "peak_mb", "peak_mb", 0, "MB"))
    head = (f"PatchCore, {mine['part']}, {mine['n_fit']} fit images", "gonogo", "anomalib", "anomalib / gonogo")
    return f"{markdown(head, lines, n_names=1)}\n\n{_origin(rows)}"


def _beside(ours: Row, theirs: Row, what: str, mine: str, other: str, digits: int, unit: str) -> tuple[str, ...]:
    """A figure of both libraries, and the ratio of costs."""
    ratio = _ratio(ours.get(mine), theirs.get(other)) if unit else ""
    return what, _figure(ours, mine, digits, unit), _figure(theirs, other, digits, unit), ratio


@measured("benchmarks/stated_rates.json")
def stated_rates_table(rows: "pd.DataFrame") -> str:
    """Stated and observed false-alarm rates, by data and method."""
    columns: dict[str, Cell] = {
        "good parts of": "{data}",
        "method": "`{method}`",
        "trials": lambda row: "refused" if "refused" in row else f"{row['n_trials']:,}",
        "parts": "{n_groups:,}",
        "stated": "{stated:.1%}",
        "observed, mean": "{measured:.1%}",
        "exceeded": "{exceeded:.1%}",
        "by chance alone": "{expected:.1%}",
    }
    return table_of(rows, columns, n_names=2, without="")


@measured("benchmarks/good_parts.json")
def good_parts_table(rows: "pd.DataFrame") -> str:
    """What each use of so many good parts gives: recall, false alarms and what is stated of them."""
    columns: dict[str, Cell] = {
        "part": "{part}",
        "good parts": "{n}",
        "method": "{method}",
        "stated": lambda row: f"≤ {row['stated']:.1%}" + (" on average" if row["method"].startswith("leave") else ""),
        "false alarms": "{false_alarm_rate:.1%} [{false_alarm_rate_low:.0%}, {false_alarm_rate_high:.0%}]",
        "recall": "{recall:.1%} [{recall_low:.0%}, {recall_high:.0%}]",
        "image AUROC": "{image_auroc:.3f}",
        "entries": "{bank:,.0f}",
    }
    return table_of(_together(rows.assign(n=rows.n.map("{:,}".format)), "part", "n"), columns, n_names=3)


@measured("benchmarks/recipes.json")
def recipes_table(rows: "pd.DataFrame") -> str:
    """What the recipes that tune the backbone change beside the plain one: by part, and over all parts and seeds."""
    head = ("light", "part", "recipe", "seeds", "image AUROC", "AUPRO@0.30", "recall", "false alarms")
    lines = [
        (light, part, f"`{recipe}`", f"{len(of)}", *(_spread(of[key]) for key in RECIPE_FIGURES))
        for (light, part, recipe), of in rows.groupby(["light", "part", "recipe"], sort=False)
    ]
    plain = rows.recipe == "plain"
    pairs = rows[~plain].merge(rows[plain], on=["light", "part", "seed"], suffixes=("", "_plain"))
    steps = pairs.assign(**{key: pairs[key] - pairs[f"{key}_plain"] for key in ("image_auroc", "aupro_30")})
    changes = [
        f"- `{recipe}` under the {light} light: image AUROC {_spread(of.image_auroc, '+')}, AUPRO "
        f"{_spread(of.aupro_30, '+')}, over {len(of)} pairs of a part and a seed. Image AUROC "
        + ", ".join(f"of {part} {_spread(own, '+')}" for part, own in of.groupby("part", sort=False).image_auroc)
        + "."
        for (light, recipe), of in steps.groupby(["light", "recipe"], sort=False)
    ]
    return "\n".join([markdown(head, lines, n_names=3), "", *changes])


def _spread(values: "pd.Series", sign: str = "") -> str:
    """The mean with the least and the largest; a single value alone, but for a change."""
    limits = f" [{values.min():{sign}.3f}, {values.max():{sign}.3f}]" if sign or len(values) > 1 else ""
    return f"{values.mean():{sign}.3f}{limits}"


@measured("benchmarks/routing.json")
def router_table(rows: "pd.DataFrame") -> str:
    """What the router tells apart, by what it sees."""
    columns: dict[str, Cell] = {
        "set": "{set}",
        "seen": "{seen}",
        "good parts to their own": "{accuracy:.1%}",
        "worst category": "{accuracy_low:.1%}",
        "to another": "{wrong_rate:.1%}",
        "strangers found": "{stranger_rate:.1%}",
        "left out": lambda row: f"{len(row['left_out'])} of {row['n_categories']}",
    }
    return table_of(_together(rows, "set"), columns, n_names=2)


@measured("benchmarks/search_trials.json")
def search_trials_table(rows: "pd.DataFrame") -> str:
    """Ways to search the bank: their time beside the one in use, and what they lose."""
    columns: dict[str, Cell] = {
        "part": "{part}",
        "bank": "{bank:,}",
        "search": "{search}",
        "time": "{ms:.2f} ms",
        "ratio": lambda row: f"{row['share_left']:.0%} of the blocks" if "share_left" in row else f"{row['ratio']:.2f}",
        "a score rises by, at most": "{largest_rise:.2%}",
        "found otherwise": "{n_moved} of {n_patches:,}",
        "image AUROC": "{image_auroc:.3f}",
    }
    return table_of(_together(rows, "part"), columns, n_names=3, without="")


@measured("benchmarks/drift.json")
def drift_table(rows: "pd.DataFrame") -> str:
    """Withdrawals in vain and delays of the certificate's watch, by simulation."""
    columns: dict[str, Cell] = {
        "what comes": _coming,
        "scores": "{scores}",
        "missed share": "{missed_share:.0%}",
        "calibrate parts": "{n:,}",
        "runs": "{valid:,}",
        "parts": "{parts:,}",
        "withdrawn in vain": "{share:.1%} [{share_low:.1%}, {share_high:.1%}]",
        "found": "{found:.0%}",
        "after parts, median": lambda row: _number(row.get("delay"), 0) if "found" in row else "",
    }
    rows = rows.assign(changes=rows.found.notna()).sort_values(["missed_share", "changes"])
    return table_of(rows, columns, n_names=3, without="")


def _coming(row: Row) -> str:
    if "found" not in row:
        return f"good parts with {row['defects']:.0%} defects" if row["defects"] else "good parts"
    what = f"shift of {row['shift']:+g} standard deviations" if row["shift"] else f"spread × {row['spread']:g}"
    return f"{what}, after {row['before']:,} parts"


@measured("benchmarks/drift_cost.json")
def drift_cost_table(rows: "pd.DataFrame") -> str:
    """What a part costs that is watched."""
    columns: dict[str, Cell] = {
        "tested": "the score{and_statistics}",
        "parts seen before": "{seen:,}",
        "CPU time of a part": "{part_us:,.0f} µs",
    }
    more = [f" and {number} statistics of the image" if number else "" for number in rows.statistics]
    return table_of(rows.assign(and_statistics=more), columns, n_names=1)


@measured("benchmarks/drift_images.json")
def drift_images_table(rows: "pd.DataFrame") -> str:
    """How soon changed images withdraw a certificate, by kind, share of the parts and severity."""
    told = records(rows)
    rows = rows.assign(
        cell=[_found_in(row) for row in told],
        moved=rows.score_shift.map("{:+.1f}".format),
        defect_rate=[row.get("defect_rate", 0.0) for row in told],
    )
    severities = sorted(rows.severity.unique())
    lines = []
    for (category, kind), of in rows.groupby(["category", "kind"], sort=False):
        found = of.pivot(index=["share", "defect_rate"], columns="severity", values="cell").reindex(columns=severities)
        for (share, rate), by_severity in found.sort_index(ascending=[False, True]).fillna("").iterrows():
            changed = f"{share:.0%}" + (f", {rate:.0%} defects expected" if rate else "")
            lines.append((category, kind, changed, *by_severity))
        moved = of.drop_duplicates("severity", keep="last").set_index("severity").moved
        lines.append((category, kind, "score moves by, sd", *moved.reindex(severities, fill_value="")))
    head = ("good parts of", "what changes", "parts changed", *(f"severity {severity}" for severity in severities))
    in_vain = sorted({f"{row['withdrawn_in_vain']:,} of {row['runs']:,}" for row in told})
    said = (
        f"Before any change, {' or '.join(in_vain)} runs were withdrawn in vain. Of the {len(rows)} cases, "
        f"{(rows.found < 1).sum()} were missed in some runs or all."
    )
    return f"{markdown(head, lines, n_names=3)}\n\n{said}"


def _found_in(row: Row) -> str:
    """The share of runs in which a change was found and the median of the parts that it took."""
    return f"{row['found']:.0%}" + (f" in {row['delay']:.0f}" if "delay" in row else "")


@measured("benchmarks/coreset.json")
def coreset_table(rows: "pd.DataFrame") -> str:
    """The coreset of many patches, exact and composable."""
    columns: dict[str, Cell] = {
        "choice": lambda row: (
            "{method}, {n_parts} parts in {room_mb:,.0f} MB" if "room_mb" in row else "{method}"
        ).format_map(row),
        "patches": "{n_patches:,} × {dims}",
        "picks": "{n_picks:,}",
        "time": "{seconds:,.1f} s",
        "peak memory": "{peak_mb:,.0f} MB",
        "of which before": "{before_mb:,.0f} MB",
        "covering radius": "{covering_radius:,.4f}",
        "promised": lambda row: (
            "≤ " + _number(row.get("covering_radius_at_most", row.get("covering_radius_reported")), 4)
        ),
    }
    return table_of(rows, columns, n_names=1)


@measured("benchmarks/metrics.json")
def pixel_metrics_table(rows: "pd.DataFrame") -> str:
    """The pixel metrics of the three libraries."""
    columns: dict[str, Cell] = {
        "": lambda row: f"{row['library']}: " + ", ".join(name for key, name in _FOUND.items() if key in row),
        "images": "{n_images} of {side:,} × {side:,}",
        "time": "{seconds:,.1f} s",
        "times gonogo's": "{times:.1f}",
        "peak memory": "{peak_mb:,.0f} MB",
        "of which before": "{before_mb:,.0f} MB",
    }
    ours = rows.loc[rows.library == "gonogo", ["n_images", "side", "seconds"]]
    beside = rows.merge(ours, how="left", on=["n_images", "side"], suffixes=("", "_ours"), validate="many_to_one")
    costs = table_of(beside.assign(times=beside.seconds / beside.seconds_ours), columns, n_names=1)
    values = {"": "{library}"} | {title: f"{{{key}:,.9f}}" for key, title in _FOUND.items()}
    return f"{costs}\n\n{table_of(rows, values, n_names=1)}"


@measured("benchmarks/growth.json", "exponents")
def growth_table(rows: "pd.DataFrame", exponents: Sequence[Row]) -> str:
    """Costs against the number of fit images and against their size, and the exponents of the curves."""
    parts = ["![Each cost against the number of fit images and against their side](images/growth.svg)"]
    costs: dict[str, Cell] = {title: template for _, title, template in COSTS}
    costs["fit"] = lambda row: "skipped" if "skipped" in row else COSTS[0][2].format_map(row)
    for along, title in (("n_images", "fit images"), ("side", "side, pixels")):
        on_curve = rows[[along in curves for curves in rows.curves]].sort_values(["detector", along])
        columns = {"detector": "{detector}", title: f"{{{along}:,}}"} | costs
        parts.append(table_of(on_curve, columns, n_names=1, without=""))
    fitted: dict[str, Cell] = {
        "detector": "{detector}",
        "along": lambda row: (
            f"{'fit images' if row['along'] == 'n_images' else 'side'}, {row['from']:,} to {row['to']:,}"
        ),
    }
    for key, title, _ in COSTS:
        fitted[title] = f"{{{key}[slope]:.2f}} [{{{key}[least]:.2f}}, {{{key}[largest]:.2f}}]"
    parts.append("The exponents, and the least and the largest between neighbouring points:")
    parts.append(table_of(_frame(exponents), fitted, n_names=2))
    if "skipped" in rows:
        said = "- {detector}, {n_images:,} images of {side}: {skipped}"
        parts += ["Skipped:", "\n".join(said.format_map(row) for row in records(rows.dropna(subset="skipped")))]
    return "\n\n".join(parts)


@measured("benchmarks/service.json")
def service_table(rows: "pd.DataFrame") -> str:
    """The service under load, what it adds to the scorer, and what became of malformed requests and of kills."""
    columns: dict[str, Cell] = {
        "workers × threads": "{workers} × {machine[threads]}",
        "connections": "{concurrency}",
        "requests per second": "{per_s:,.1f}",
        "p50": "{p50_ms:,.1f} ms",
        "p95": "{p95_ms:,.1f} ms",
        "p99": "{p99_ms:,.1f} ms",
        "errors": lambda row: f"{row['n_errors'] + row['n_refused']} of {row['n_requests']:,}",
        "memory": "{memory_start_mb:,.0f} MB",
        "at the end": "{memory_end_mb:,.0f} MB",
    }
    loads = table_of(rows[rows.what == "load"].sort_values(["workers", "concurrency"]), columns, n_names=2)
    found = [(_SAID[row["what"]], row) for row in records(rows) if row["what"] in _SAID]
    said = [say.format_map(row) if isinstance(say, str) else say(row) for say, row in found]
    return "\n\n".join([loads, "\n".join(said)])


@measured("benchmarks/pages.json", what="pages")
def pages_table(rows: "pd.DataFrame") -> str:
    """What the pages of a full store take: the service, the browser to its first paint, and a key to the next part."""
    columns: dict[str, Cell] = {
        "page": "{page}",
        "response": "{server_ms:,.0f} ms",
        "slowest": "{slowest_ms:,.0f} ms",
        "of it computing": "{cpu_ms:,.0f} ms",
        "first paint": "{first_paint_ms:,.0f} ms",
        "key to the next part": "{key_ms:,.0f} ms",
    }
    (row,) = records(rows)
    pages = _frame([{"page": name, **figures} for name, figures in row["pages"].items()])
    return f"{table_of(pages, columns, n_names=1, without='')}\n\n{row['inspections']:,} inspections in the store."


def _fuzz(row: Row) -> str:
    statuses = ", ".join(f"{n:,} times {status}" for status, n in row["by_status"].items())
    return f"- {row['n_requests']:,} malformed requests of {len(row['by_kind'])} kinds: {statuses}."


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


# What is said of a row of the service that is no load.
_SAID: Mapping[str, Cell] = {
    "overhead": (
        "- Over one connection, {workers} × {machine[threads]}: {service_ms:.1f} ms to a verdict; the scorer alone "
        "takes {scorer_ms:.1f} ms, so the service adds {overhead_ms:.1f} ms: {stages_ms[keep]:.1f} ms to commit the "
        "row, {overhead_without_disk_ms:.1f} ms all else. This disk takes {disk_ms:.1f} ms to synchronise a file and "
        "its folder."
    ),
    "mixed": _mixed,
    "cache": (
        "- With `--cache`, an image that was seen before: {repeated_p50_ms:.1f} ms, and a new one {new_p50_ms:.1f} ms; "
        "without it {scored_p50_ms:.1f} ms, each the median of {n_turns}."
    ),
    "fuzz": _fuzz,
    "kill": "- {n_kills} kills under load: {n_lost} of {n_acknowledged:,} acknowledged inspections lost.",
    "watch_kill": (
        "- {n_kills} kills of a watched folder while files arrive: of {n_files:,} files {n_lost} lost, "
        "{n_judged_twice} judged twice, {n_without_verdict} sorted without a verdict."
    ),
}


@measured("benchmarks/ablation.json", "rank_correlation")
def ablation_table(rows: "pd.DataFrame", correlation: Mapping[str, float]) -> str:
    """Of each part, a table per factor; of seeds their mean and standard deviation too."""
    figures: dict[str, Cell] = {
        title: partial(_with_interval, name=name, digits=digits, unit=unit) for name, title, digits, unit in ABLATED
    }
    parts = []
    for part, of in rows.groupby("part", sort=False):
        parts.append(f"**{part}**")
        for factor in sorted({factor for factors in of.factors for factor in factors}):
            at = of.factors.str.get(factor).dropna()
            shown = (
                of.loc[at.index]
                .assign(label=at.str.get("label"), place=at.str.get("place"))
                .sort_values("place", kind="stable")
            )
            columns = {factor: _label} | figures
            lines = cells(shown, columns)
            if factor == "seed" and len(shown) > 1:
                spreads = (_deviation(shown, name, digits, unit) for name, _, digits, unit in ABLATED)
                lines.append(["mean ± standard deviation", *spreads])
            parts.append(markdown(list(columns), lines, n_names=1))
        parts.append(f"![Each figure by each factor, {part}](images/ablation-{part}.svg)")
        if part in correlation:
            parts.append(
                f"Over these {len(of)} points the rank correlation of the AUROC on damaged good images with that on "
                f"the test's defects is {correlation[part]:.2f}."
            )
    return "\n\n".join(parts)


def _label(row: Row) -> str:
    return f"{row['label']}{'' if row['settings'] else ', as in `params.yaml`'}"


def _with_interval(row: Row, name: str, digits: int, unit: str) -> str:
    interval = f" [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]" if f"{name}_low" in row else ""
    return _number(row.get(name), digits, unit) + interval


def _deviation(rows: "pd.DataFrame", name: str, digits: int, unit: str) -> str:
    values = rows.reindex(columns=[name])[name].dropna().astype(float)
    return "–" if len(values) < 2 else f"{values.mean():,.{digits}f} ± {values.std():,.{digits}f} {unit}".rstrip()


@measured("benchmarks/tuning.json", what="ranks")
def tuning_ranks_table(rows: "pd.DataFrame") -> str:
    """Of each part, how the criterion of a search ranks gauges beside the test's defects."""
    columns: dict[str, Cell] = {
        "part": "{part}",
        "good parts": "{n_parts}",
        "gauges": "{n}",
        "rank correlation with image AUROC": "{rank_image_auroc:.2f}",
        "with pixel AP": "{rank_pixel_ap:.2f}",
        "with image AUROC, all layers": "{rank_image_auroc_all_layers:.2f}",
        "image AUROC of the gauges": "{image_auroc_range[0]:.3f} to {image_auroc_range[1]:.3f}",
        "of the criterion's choice": "{image_auroc_of_best:.3f}",
        "criterion's standard error": "{median_error:.3f}",
    }
    return table_of(rows, columns, n_names=1)


@measured("benchmarks/tuning.json", what="gains")
def tuning_gains_table(rows: "pd.DataFrame") -> str:
    """Of each part, the gauge of params.yaml and the one that a search chose."""
    head = ("part", "options", "image AUROC", "pixel AP", "recall", "false alarms", "verdict", "criterion", "search")
    lines = []
    for row in records(rows):
        lines.append((row["part"], "as in `params.yaml`", *_gauge(row, "before"), ""))
        changes = ", ".join(f"`{name}: {value}`" for name, value in row["changes"].items()) or "no change"
        lines.append(("", changes, *_gauge(row, "after"), _number(row["search_s"], 0, "s")))
    return markdown(head, lines, n_names=2)


def _gauge(row: Row, when: str) -> tuple[str, ...]:
    of = row[when]
    digits = (("image_auroc", 3), ("pixel_ap", 3), ("recall", 2), ("false_alarm_rate", 2))
    figures = (_number(of.get(name), places) for name, places in digits)
    return *figures, _number(of["verdict_ms"], 1, "ms"), _number(row[f"criterion_{when}"], 3)


@measured("benchmarks/attribution.json")
def attribution_table(rows: "pd.DataFrame") -> str:
    """What each map finds of masked defects."""
    columns: dict[str, Cell] = {
        "part": "{part}",
        "detector": "{detector}",
        "map": "{method}",
        "defects": "{n:,}",
        "mass in the mask over chance": "{mass_over_chance:.1f} [{mass_low:.1f}, {mass_high:.1f}]",
        "its highest place is in the mask": "{points:.0%}",
    }
    largest = rows.largest_sum_error_e9.max()
    error = f"The terms by feature of these images lack at most {largest:.0f} parts in 10⁹ of their score."
    return f"{table_of(rows, columns, n_names=3)}\n\n{error}"


_FOUND = {"pixel_auroc": "pixel AUROC", "pixel_ap": "pixel AP", "aupro_30": "AUPRO@0.30"}


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.{digits}f} {unit}".rstrip()


def _figure(row: Row, name: str, digits: int, unit: str = "") -> str:
    """A figure, and where it is a mean of several that differ, the least and the largest of them."""
    low, high = (_number(row.get(f"{name}_{end}"), digits, unit) for end in ("least", "largest"))
    return _number(row.get(name), digits, unit) + (f" [{low}, {high}]" if low != high else "")


def _ratio(ours: float | None, theirs: float | None) -> str:
    return "–" if not ours or theirs is None else f"{theirs / ours:,.1f}"


def _origin(rows: "pd.DataFrame") -> str:
    """What the rows were measured on."""
    machines = {
        f"{of['cpu']}, {of['cores']} cores, {of['memory_mb'] / 1e3:.0f} GB, {of['threads']} threads"
        for of in rows.machine
    }
    versions = {f"{name} {version}" for of in rows.versions for name, version in of.items()}
    commits = {commit[:10] + ("-dirty" if commit.endswith("-dirty") else "") for commit in rows.commit}
    return (
        f"Measured on {'; '.join(sorted(machines))}; {', '.join(sorted(versions))}; commit "
        f"{', '.join(sorted(commits))}.\n"
    )
