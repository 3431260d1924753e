"""Write all bundles as one set, with a router that assigns an image to one of them."""

import entry_point
from gonogo.calibration.threshold import CalibrateParams
from gonogo.export.graph import ExportParams
from gonogo.export.parity import ParityParams
from gonogo.export.router import Router, RouterParams, write_set
from gonogo.files import write_metrics
from gonogo.images.dataset import read_dataset
from gonogo.params import Params


def main(params: Params) -> None:
    datasets = {name: read_dataset(entry_point.path("prepared", name), params.raw) for name in params.categories}
    categories, metrics = write_set(
        entry_point.path("set"),
        Router(params.values("router", RouterParams)).fit(datasets),
        datasets,
        {name: entry_point.path("bundles", name) for name in params.categories},
        params.values("calibrate", CalibrateParams),
        tolerance=params.values("parity", ParityParams).tolerance,
        opset=params.values("export", ExportParams).opset,
    )
    write_metrics(entry_point.path("metrics", "router.json"), metrics)
    for one in categories:
        entry_point.say(one.sentence)
    shares = [f"{name} {metrics[name]:.1%}" for name in ("accuracy", "wrong_rate", "stranger_rate") if name in metrics]
    entry_point.say(f"router of {len(categories)} categories: {', '.join(shares)}; {entry_point.path('set')} written")


if __name__ == "__main__":
    entry_point.guard(lambda: main(Params(entry_point.PARAMS)), label="router")
