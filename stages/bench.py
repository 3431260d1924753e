"""Time a bundle from encoded file to verdict on this machine."""

import door
from gonogo.evaluation.speed.bench import BenchParams, measure
from gonogo.files import write_metrics
from gonogo.images.dataset import read_manifest
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    values = params.values("bench", BenchParams)
    manifest = read_manifest(door.path("prepared", category), params.raw)
    images = [manifest.path_of(record) for record in manifest.with_role("test")]
    figures = measure(door.path("bundles", category), images, values)
    figures["data_fingerprint"] = manifest.fingerprint
    write_metrics(door.path("metrics", "bench", f"{category}.json"), figures)
    door.say(
        f"{category}: p50 {figures['p50_ms']:.1f} ms, p95 {figures['p95_ms']:.1f} ms from file to verdict "
        f"on {figures['threads']} threads"
    )


if __name__ == "__main__":
    door.run(main)
