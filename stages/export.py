"""Write a fitted gauge as one ONNX file. It is a candidate: only the parity stage makes a bundle of it."""

import entry_point
from gonogo.export.graph import INT8_FILE, ExportParams, export_onnx
from gonogo.export.quantise import calibration_images, quantise
from gonogo.images.dataset import read_dataset
from gonogo.inference.scorer import ONNX_FILE
from gonogo.model.saved import bundle_facts, load_model
from gonogo.params import Params


def main(category: str, params: Params) -> None:
    values = params.values("export", ExportParams)
    model = load_model(entry_point.path("models", category))
    onnx_path = entry_point.path("exported", category, ONNX_FILE)
    export_onnx(model.inspector, onnx_path, metadata=bundle_facts(model), opset=values.opset)
    if values.int8:
        dataset = read_dataset(entry_point.path("prepared", category), params.raw)
        quantise(onnx_path, onnx_path.with_name(INT8_FILE), calibration_images(dataset))
    entry_point.say(
        f"{category}: {onnx_path} ({onnx_path.stat().st_size / 2**20:.1f} MiB), a candidate until parity holds"
    )


if __name__ == "__main__":
    entry_point.run(main)
