"""Put the proven gauges into one set, with a router that says which of them an image is for."""

import shutil
from collections.abc import Sequence

import numpy as np
from onnxruntime import InferenceSession

import door
from gonogo.config import Params
from gonogo.errors import ConfigError
from gonogo.export import PIXELS, ExportParams
from gonogo.files import sha256_of, write_manifest, write_metrics
from gonogo.manifest import Manifest, Record, read_manifest
from gonogo.parity import ParityParams
from gonogo.router import Router, RouterParams, export_router, require_same, routing_metrics
from gonogo.router_record import ROUTER, ROUTER_FILE, CategoryRecord
from gonogo.scorer import open_session
from gonogo.threshold import CalibrateParams, certify


def main(params: Params) -> None:
    values = params.values("router", RouterParams)
    calibrate, parity = params.values("calibrate", CalibrateParams), params.values("parity", ParityParams)
    if ROUTER in params.categories:
        raise ConfigError(f"params.yaml: a category is called {ROUTER!r}, as the router in the set is; rename it")
    manifests = {name: read_manifest(door.path("prepared", name), params.raw) for name in params.categories}
    router = Router(values).fit({name: (one, fit_images(one)) for name, one in manifests.items()})

    folder = door.path("set")
    categories = []
    for number, (name, manifest) in enumerate(manifests.items()):
        records = manifest.with_role("calibrate")
        record = certify(
            router.of(manifest, records)[:, number].numpy(),
            [one.group_id for one in records],
            false_alarm_rate=calibrate.false_alarm_rate,
            confidence=calibrate.confidence,
            margin=calibrate.margin,
        )
        shutil.copytree(door.path("bundles", name), folder / name)
        bundle = sha256_of(folder / name / "manifest.json")
        categories.append(CategoryRecord(name, bundle, values.slack * record.threshold, record))
        rate = f"at most {record.certified_false_alarm_rate:.1%} of its good parts are called unknown"
        door.say(f"{name}: {rate}, with {record.confidence:.0%} confidence")

    limits = np.array([one.limit for one in categories])
    tests = {name: manifest.with_role("test") for name, manifest in manifests.items()}
    distances = {name: router.of(manifests[name], records).numpy() for name, records in tests.items()}
    content = {"kind": ROUTER, "categories": [one.to_dict() for one in categories]}
    exported = folder / ROUTER / ROUTER_FILE
    export_router(router, exported, metadata=content, opset=params.values("export", ExportParams).opset)
    session = open_session(exported)
    got = {name: answers(session, manifests[name], records) for name, records in tests.items()}
    difference = require_same(
        np.concatenate(list(distances.values())), np.concatenate(list(got.values())), limits, tolerance=parity.tolerance
    )
    write_manifest(folder / ROUTER, content, [ROUTER_FILE])
    labels = {name: np.array([one.label for one in records]) for name, records in tests.items()}
    metrics = routing_metrics(distances, labels, limits) | {"distance_max_diff_e6": difference * 1e6}
    write_metrics(door.path("metrics", "router.json"), metrics)
    shares = ", ".join(
        f"{key} {metrics[key]:.1%}" for key in ("accuracy", "wrong_rate", "stranger_rate") if key in metrics
    )
    door.say(f"router of {len(categories)} categories: {shares}; {folder} written")


def fit_images(manifest: Manifest) -> list[Record]:
    return [record for record in manifest.with_role("fit") if record.label == 0]


def answers(session: InferenceSession, manifest: Manifest, records: Sequence[Record]) -> np.ndarray:
    """The exported router's distances (n, k) of the records' images."""
    return np.concatenate([session.run(None, {PIXELS: manifest.pixels_of(one)[None]})[0] for one in records])


if __name__ == "__main__":
    door.guard(lambda: main(Params(door.PARAMS)), label="router")
