"""Check that the ONNX file computes what the model computes, and write the bundle only if it does."""

import entry_point
from gonogo.compute.memory import keep_freed_memory
from gonogo.export.graph import INT8_FILE
from gonogo.export.int8 import judge_int8
from gonogo.export.model_card import CategoryResults
from gonogo.export.parity import ParityParams, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.files import read_json, read_rows, write_metrics
from gonogo.images.dataset import read_dataset
from gonogo.inference.scorer import ONNX_FILE
from gonogo.model.saved import load_model
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    keep_freed_memory()
    values = params.values("parity", ParityParams)
    dataset = read_dataset(entry_point.path("prepared", category), params.raw)
    model = load_model(entry_point.path("models", category))
    onnx_path = entry_point.path("exported", category, ONNX_FILE)
    parity = check_parity(model, onnx_path, dataset, values)
    int8_path = onnx_path.with_name(INT8_FILE)
    int8 = judge_int8(model, onnx_path, int8_path, dataset, values) if int8_path.is_file() else None
    metrics = parity.metrics() | (int8.metrics() if int8 else {}) | {"data_fingerprint": dataset.fingerprint}
    write_metrics(entry_point.path("metrics", "parity", f"{category}.json"), metrics)
    results = CategoryResults(
        prepare=read_json(entry_point.path("metrics", "prepare", f"{category}.json")),
        evaluate=read_json(entry_point.path("metrics", "evaluate", f"{category}.json")),
        rows=read_rows(entry_point.path("plots", "records", f"{category}.csv")),
    )
    chosen = onnx_path if int8 is None else int8_path
    write_bundle(entry_point.path("bundles", category), chosen, model, parity, dataset, results, int8)
    if int8 is not None:
        entry_point.say(f"{category}: in eight bits {metrics['int8_flips']} of {len(int8.images)} test verdicts flip")
    scores, maps = metrics["score_max_diff_e6"], metrics["map_max_diff_e6"]
    entry_point.say(
        f"{category}: {metrics['n_comparisons']} comparisons, no verdict flips, "
        f"scores within {scores:.3g} and maps within {maps:.3g} millionths; bundle written"
    )


if __name__ == "__main__":
    entry_point.run(main)
