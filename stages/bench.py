"""Measure how long a bundle takes from encoded file to verdict on this machine."""

import entry_point
from gonogo.evaluation.speed.bench import BenchParams, measure
from gonogo.files import write_metrics
from gonogo.images.dataset import read_dataset
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    values = params.values("bench", BenchParams)
    dataset = read_dataset(entry_point.path("prepared", category), params.raw)
    images = [dataset.path_of(record) for record in dataset.with_role("test")]
    figures = measure(entry_point.path("bundles", category), images, values)
    figures["data_fingerprint"] = dataset.fingerprint
    write_metrics(entry_point.path("metrics", "bench", f"{category}.json"), figures)
    entry_point.say(
        f"{category}: p50 {figures['p50_ms']:.1f} ms, p95 {figures['p95_ms']:.1f} ms from file to verdict "
        f"on {figures['threads']} threads"
    )


if __name__ == "__main__":
    entry_point.run(main)
