"""The metrics that the stages write: what each is called, its unit, and which direction is better.

All code that lists, compares, averages or draws metrics takes its names from this table. It imports the standard
library alone. A metric that is neither in the table nor derived from one in it is a fact that a detector reports about
itself, such as the number of patches in its memory bank; it has no direction.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SHARE, COUNT, MILLISECONDS, MEGABYTES, MILLIONTHS = "share", "count", "ms", "MB", "millionths"
RATE = "images per second"
GAUGE, BASELINE, CHANCE = "gauge", "mean image", "chance"  # whose curve a point of a plot is on


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title: its name for people.
        unit: of its value; empty where it has none, and for text. A share lies in [0, 1].
        better: whether more or less of it is better; None: it is a fact, and no value is better than another.
        headline: whether it is one of the few numbers by which a person compares runs.
        kind: for an accuracy on the labelled test images, what it is computed from: the ranks of the image scores, the
            verdicts at a threshold, or the pixels of the maps. None for every other metric.
        has_interval: whether a bootstrap interval is written beside it, as NAME_low and NAME_high.
        digits: decimal places that a table shows.
        column: its name in a headline file, where its own is too wide for a column.
    """

    title: str
    unit: str = ""
    better: Literal["more", "less"] | None = None
    headline: bool = False
    kind: Literal["ranks", "verdicts", "pixels"] | None = None
    has_interval: bool = False
    digits: int = 3
    column: str = ""


METRICS: Mapping[str, Metric] = {
    # evaluate: accuracy on the test images, in the order in which tables show it
    "image_auroc": Metric("image AUROC", SHARE, "more", headline=True, kind="ranks", has_interval=True),
    "image_ap": Metric("image AP", SHARE, "more", kind="ranks", has_interval=True),
    "pixel_auroc": Metric("pixel AUROC", SHARE, "more", kind="pixels", has_interval=True),
    "pixel_ap": Metric("pixel AP", SHARE, "more", kind="pixels", has_interval=True),
    "aupro_30": Metric("AUPRO@0.30", SHARE, "more", headline=True, kind="pixels", has_interval=True),
    "aupro_05": Metric("AUPRO@0.05", SHARE, "more", kind="pixels", has_interval=True),
    "seg_f1": Metric("F1 of marked pixels", SHARE, "more", kind="pixels", has_interval=True),
    "pixel_false_positive_rate": Metric(
        "pixel false-positive rate", SHARE, "less", kind="pixels", has_interval=True, digits=5
    ),
    "recall": Metric("recall", SHARE, "more", headline=True, kind="verdicts", has_interval=True),
    "false_alarm_rate": Metric("false-alarm rate", SHARE, "less", headline=True, kind="verdicts", has_interval=True),
    "precision": Metric("precision", SHARE, "more", kind="verdicts"),
    "f1": Metric("F1", SHARE, "more", kind="verdicts"),
    "f1_oracle": Metric("F1 at the best threshold in hindsight", SHARE, "more", kind="ranks"),
    **{
        f"false_alarm_rate_at_recall_{percent}": Metric(
            f"false-alarm rate at {percent} % recall, in hindsight", SHARE, "less", kind="ranks", has_interval=True
        )
        for percent in (90, 95, 99)
    },
    # evaluate: of a gauge that finds boxes, on the boxes of the test images
    "map_50": Metric("mAP of boxes at an overlap of 0.5", SHARE, "more"),
    "map_75": Metric("mAP of boxes at an overlap of 0.75", SHARE, "more"),
    "map_50_95": Metric("mAP of boxes at overlaps of 0.5 to 0.95", SHARE, "more"),
    "box_precision": Metric("precision of boxes at the threshold", SHARE, "more"),
    "box_recall": Metric("recall of boxes at the threshold", SHARE, "more"),
    "max_detections": Metric("boxes of an image that count at most", COUNT),
    "n_labelled_boxes": Metric("labelled boxes", COUNT),
    "n_found_boxes": Metric("boxes at or above the threshold", COUNT),
    # evaluate: the certificate, and what the accuracy was measured on
    "certified_false_alarm_rate": Metric(
        "certified bound of the false-alarm rate", SHARE, "less", headline=True, column="certified_rate"
    ),
    "certified": Metric("certified at the target", better="more"),
    "more_groups_needed": Metric("good parts lacking for the target", COUNT, "less"),
    "calibrate_method": Metric("calibration method"),
    "threshold": Metric("threshold"),
    "pixel_threshold": Metric("pixel threshold"),
    "uncertain_rate": Metric("test images with an uncertain verdict", SHARE),
    "n_good": Metric("good test images", COUNT),
    "n_defective": Metric("defective test images", COUNT),
    "n_false_alarms": Metric("false alarms", COUNT, "less"),
    "n_misses": Metric("missed defective images", COUNT, "less"),
    "false_alarm_rate_exact_high": Metric("exact upper limit of the false-alarm rate", SHARE),
    "recall_exact_low": Metric("exact lower limit of the recall", SHARE),
    "interval_confidence": Metric("confidence of the intervals", SHARE),
    "synthetic_auroc": Metric("image AUROC on damaged good images", SHARE),
    "validation_auroc": Metric("image AUROC on the validate images", SHARE),
    "probability_brier": Metric("Brier score of the stated probabilities"),
    "probability_ece": Metric("expected calibration error", SHARE),
    "absent": Metric("metrics without a value on these images"),
    "detector": Metric("detector"),
    "data_fingerprint": Metric("data fingerprint"),
    # prepare
    "n_fit": Metric("fit images", COUNT),
    "n_fit_defective": Metric("defective fit images", COUNT),
    "n_calibrate": Metric("calibrate images", COUNT),
    "n_calibrate_groups": Metric("calibrate parts", COUNT),
    "n_validate": Metric("validate images", COUNT),
    "n_accepted": Metric("images accepted as good by a person", COUNT),
    "n_test_good": Metric("good test images", COUNT),
    "n_test_defective": Metric("defective test images", COUNT),
    "n_masks": Metric("masks", COUNT),
    "n_left_out": Metric("images left out", COUNT),
    "n_excluded": Metric("images excluded by params.yaml", COUNT),
    "n_rejects": Metric("unreadable images", COUNT),
    "n_warnings": Metric("warnings about the data", COUNT),
    # fit
    "fit_s": Metric("time of the fit", "s"),
    "forecast_mb": Metric("forecast of the peak memory", MEGABYTES, digits=0),
    # parity, also of the graph in eight bits
    "passed": Metric("parity holds", better="more"),
    "n_comparisons": Metric("comparisons", COUNT),
    "n_images": Metric("images compared", COUNT),
    "n_flips": Metric("flipped verdicts", COUNT, "less"),
    "n_beyond_tolerance": Metric("comparisons beyond the tolerance", COUNT, "less"),
    "score_max_diff_e6": Metric("largest difference of scores", MILLIONTHS),
    "map_max_diff_e6": Metric("largest difference of maps", MILLIONTHS),
    "nearest_max_diff_e6": Metric("largest difference of distances to the nearest patch", MILLIONTHS),
    "features_max_diff_e6": Metric("largest difference of the features", MILLIONTHS),
    "rank_agreement": Metric("rank correlation of both runtimes", better="more"),
    "n_boxes": Metric("boxes compared", COUNT),
    "n_boxes_unmatched": Metric("boxes without a partner in the other runtime", COUNT, "less"),
    "box_max_diff_px": Metric("largest difference of a box's corner", "pixels"),
    "box_score_max_diff_e6": Metric("largest difference of a box's score", MILLIONTHS),
    "worst_image": Metric("image with the largest difference"),
    "int8_auroc_change": Metric("change of image AUROC in eight bits"),
    "int8_flips": Metric("flipped verdicts in eight bits", COUNT),
    "int8_flip_share": Metric("share of flipped verdicts in eight bits", SHARE),
    "int8_threshold": Metric("threshold in eight bits"),
    "int8_score_change": Metric("median relative change of scores in eight bits"),
    # robustness
    "worst_false_alarm_rate": Metric("worst false-alarm rate under changed conditions", SHARE, "less"),
    "worst_recall": Metric("worst recall under changed conditions", SHARE, "more"),
    "worst_false_alarm_rate_corruption": Metric("corruption with the most false alarms"),
    "worst_recall_corruption": Metric("corruption with the lowest recall"),
    # router, over all categories
    "accuracy": Metric("good images routed to their category", SHARE),
    "defective_accuracy": Metric("defective images routed to their category", SHARE),
    "astray_rate": Metric("defective images routed to another category", SHARE, "less"),
    "n_categories_left_out": Metric("categories left out of the set, since their images go astray", COUNT, "less"),
    "wrong_rate": Metric("images routed to another category", SHARE),
    "stranger_rate": Metric("images of an unknown category that are called unknown", SHARE),
    "distance_max_diff_e6": Metric("largest difference of the router's distances", MILLIONTHS),
    # bench
    "p50_ms": Metric("median time from file to verdict", MILLISECONDS, "less", digits=1),
    "p95_ms": Metric("95th percentile of that time", MILLISECONDS, "less", digits=1),
    "mean_ms": Metric("mean of that time", MILLISECONDS, "less", digits=1),
    "decode_p50_ms": Metric("median time of decoding", MILLISECONDS, "less"),
    "model_p50_ms": Metric("median time in the model", MILLISECONDS, "less", digits=1),
    "regions_p50_ms": Metric("median time of the regions", MILLISECONDS, "less"),
    "rest_p50_ms": Metric("median time of everything else", MILLISECONDS, "less"),
    "cold_start_ms": Metric("time from process start to first verdict", MILLISECONDS, "less", digits=0),
    "images_per_second": Metric("throughput at the params' threads", RATE, "more", digits=1),
    "best_images_per_second": Metric("best throughput", RATE, "more", digits=1),
    "best_workers": Metric("workers of the best throughput", COUNT),
    "best_worker_threads": Metric("threads of each of those workers", COUNT),
    "best_batch_size": Metric("batch size of the best throughput", COUNT),
    "times_roofline": Metric("median time over the machine's least", "", "less", digits=2),
    "roofline_ms": Metric("least time on this machine", MILLISECONDS, digits=1),
    "roofline_model_ms": Metric("least time in the model", MILLISECONDS, digits=1),
    "roofline_decode_ms": Metric("least time of decoding", MILLISECONDS),
    "gflop_per_image": Metric("work of an image", "GFLOP", digits=2),
    "mb_per_image": Metric("memory traffic of an image", MEGABYTES, digits=1),
    "matmul_gflops": Metric("speed of a plain matrix product", "GFLOP per second", digits=0),
    "copy_gb_per_s": Metric("speed of a plain copy", "GB per second", digits=0),
    "bundle_mb": Metric("size of the bundle", MEGABYTES, digits=1),
    "peak_memory_mb": Metric("peak memory", MEGABYTES, "less", digits=0),
    "openvino_p50_ms": Metric("median time with OpenVINO", MILLISECONDS, digits=1),
    "onnxruntime_beside_openvino_p50_ms": Metric("median time with onnxruntime beside it", MILLISECONDS, digits=1),
    "openvino_score_max_diff_e6": Metric("largest difference of scores with OpenVINO", MILLIONTHS),
    "openvino_n_flips": Metric("flipped verdicts with OpenVINO", COUNT),
    "runs": Metric("timed runs", COUNT),
    "threads": Metric("threads", COUNT),
    "cores": Metric("cores", COUNT),
    "image_width": Metric("image width", "pixels"),
    "image_height": Metric("image height", "pixels"),
    "cpu": Metric("processor"),
    "os": Metric("operating system"),
    "python": Metric("Python"),
    "pillow": Metric("Pillow"),
    "onnxruntime": Metric("onnxruntime"),
    "openvino": Metric("OpenVINO"),
    "n_seeds": Metric("seeds of the fits", COUNT),
    # retrieve: similar cases among the defects of other parts, by type
    "p_at_1": Metric("the most similar case is of the same type", SHARE, "more", has_interval=True),
    "p_at_5": Metric("share of the same type among the five most similar", SHARE, "more", has_interval=True),
    "mrr": Metric("reciprocal rank of the first case of the same type", SHARE, "more", has_interval=True),
    "flat_p_at_1": Metric("the same among the defects of all categories", SHARE, "more", has_interval=True),
    "flat_p_at_5": Metric("share of five among those of all categories", SHARE, "more", has_interval=True),
    "flat_mrr": Metric("reciprocal rank among those of all categories", SHARE, "more", has_interval=True),
    "n_queries": Metric("defects that were looked for", COUNT),
    "not_measured": Metric("why similar cases could not be measured"),
    # summary, over all categories
    "n_categories": Metric("categories", COUNT),
    "n_with_pixel_metrics": Metric("categories with pixel metrics", COUNT),
    "n_certified": Metric("categories certified at their target", COUNT),
    "n_parity_passed": Metric("categories whose parity holds", COUNT),
}

ACCURACY: Mapping[str, Metric] = {name: metric for name, metric in METRICS.items() if metric.kind is not None}
# The exact limit on the side that costs, of accuracies that a small test set often finds without fault.
EXACT_LIMITS: Mapping[str, str] = {"recall": "recall_exact_low", "false_alarm_rate": "false_alarm_rate_exact_high"}
HEADLINES: Mapping[str, Metric] = {name: metric for name, metric in METRICS.items() if metric.headline}
SUMMARISED = (
    *ACCURACY,
    "certified_false_alarm_rate",
    "map_50",
)  # the metrics whose mean and worst category a summary has

_ACCURACY = "|".join(map(re.escape, ACCURACY))
DERIVED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"({_ACCURACY}|threshold)_seeds_(low|high)",  # evaluate: of fits with several seeds
        rf"({_ACCURACY})_(low|high|baseline|lift|random)",  # evaluate: interval, baselines, lift
        r"(map_50|map_50_95|box_precision|box_recall)_(low|high)",  # evaluate: interval
        r"map_50_(baseline|lift)",  # evaluate: regions of the mean-image baseline, distance to them
        r"(ap_50|ap_50_95|box_recall|box_recall_low|box_recall_high|confidence)\..+",  # evaluate: of a class of boxes
        r"map_50_size\.(small|medium|large)",  # evaluate: by COCO's sizes
        r"confusion\..+",  # evaluate: labelled and found class
        rf"({'|'.join(map(re.escape, SUMMARISED))})\.(mean|std|worst|worst_category)",  # summary
        rf"({_ACCURACY})\.(mean|worst)_(low|high)",  # summary: interval
        r"n_test\..+",  # prepare: defective test images of a type
        r"(false_alarm_rate|recall)\.\w+",  # robustness: under a corruption, by severity
        r"(flat_)?(p_at_1|p_at_5|mrr)(_low|_high)?\..+",  # retrieve: of a category
        r"(n_queries|not_measured)\..+",
        r"images_per_second_w\d+_t\d+_b\d+",  # bench: by workers, threads of each and batch size
        r"(accuracy|defective_accuracy|astray_rate|wrong_rate|stranger_rate)\..+",  # router: of a category
    )
)


def metric_of(name: str) -> Metric | None:
    """The metric of that name; of NAME.mean and NAME.worst that of NAME; None for other derived names and for facts."""
    return METRICS.get(name.removesuffix(".mean").removesuffix(".worst"))


def is_known(name: str) -> bool:
    """Whether the table has the metric, or one that it is derived from."""
    return name in METRICS or any(pattern.fullmatch(name) for pattern in DERIVED)
