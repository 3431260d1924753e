"""Put the proven gauges into one set, with a router that says which of them an image is for."""

import door
from gonogo.calibration.threshold import CalibrateParams
from gonogo.export.graph import ExportParams
from gonogo.export.parity import ParityParams
from gonogo.export.router import Router, RouterParams, write_set
from gonogo.files import write_metrics
from gonogo.images.dataset import read_manifest
from gonogo.params import Params


def main(params: Params) -> None:
    manifests = {name: read_manifest(door.path("prepared", name), params.raw) for name in params.categories}
    categories, metrics = write_set(
        door.path("set"),
        Router(params.values("router", RouterParams)).fit(manifests),
        manifests,
        {name: door.path("bundles", name) for name in params.categories},
        params.values("calibrate", CalibrateParams),
        tolerance=params.values("parity", ParityParams).tolerance,
        opset=params.values("export", ExportParams).opset,
    )
    write_metrics(door.path("metrics", "router.json"), metrics)
    for one in categories:
        door.say(one.sentence)
    shares = [f"{name} {metrics[name]:.1%}" for name in ("accuracy", "wrong_rate", "stranger_rate") if name in metrics]
    door.say(f"router of {len(categories)} categories: {', '.join(shares)}; {door.path('set')} written")


if __name__ == "__main__":
    door.guard(lambda: main(Params(door.PARAMS)), label="router")
