"""Write all bundles as one set, with a router that assigns an image to one of them."""

import entry_point
from gonogo.calibration.threshold import CalibrateParams
from gonogo.compute.memory import keep_freed_memory
from gonogo.export.graph import ExportParams
from gonogo.export.parity import ParityParams
from gonogo.export.router import Router, RouterParams, write_set
from gonogo.files import combined_sha256, write_metrics
from gonogo.images.dataset import read_dataset
from gonogo.params import Params

SAID = ("accuracy", "astray_rate", "wrong_rate", "stranger_rate")


def main(params: Params) -> None:
    keep_freed_memory()
    router = params.values("router", RouterParams)
    routed = router.routed(params.categories)
    datasets = {name: read_dataset(entry_point.path("prepared", name), params.raw) for name in routed}
    written = write_set(
        entry_point.path("set"),
        Router(router).fit(datasets),
        datasets,
        {name: entry_point.path("bundles", name) for name in params.categories},
        params.values("calibrate", CalibrateParams),
        tolerance=params.values("parity", ParityParams).tolerance,
        opset=params.values("export", ExportParams).opset,
    )
    data = combined_sha256({name: dataset.fingerprint for name, dataset in datasets.items()})
    write_metrics(entry_point.path("metrics", "router.json"), written.metrics | {"data_fingerprint": data})
    for sentence in [one.sentence for one in written.categories] + [one.sentence for one in written.left_out]:
        entry_point.say(sentence)
    shares = [f"{name} {written.metrics[name]:.1%}" for name in SAID if name in written.metrics]
    n_categories, folder = len(written.categories), entry_point.path("set")
    entry_point.say(f"router of {n_categories} categories: {', '.join(shares)}; {folder} written")


if __name__ == "__main__":
    entry_point.guard(lambda: main(Params(entry_point.PARAMS)), label="router")
