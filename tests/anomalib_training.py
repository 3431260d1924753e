"""Run by the interpreter that has anomalib: trains PaDiM and PatchCore, and writes checkpoints and what they give.

Arguments: a folder of good images under `good`, the side that they are resized to, a folder for the results.
The expected scores and maps are those of the networks in memory, normalised by hand: no checkpoint takes part.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from gonogo.detectors.backbones.torchvision_schema import import_torchvision

sys.path.pop(0)


def main(images: Path, size: int, folder: Path) -> None:
    import_torchvision()
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Padim, Patchcore

    options = {"backbone": "resnet18", "layers": ["layer1", "layer2"], "pre_trained": False}
    models = {
        "padim": Padim(n_features=20, pre_processor=Padim.configure_pre_processor((size, size)), **options),
        "patchcore": Patchcore(
            coreset_sampling_ratio=0.02,
            pre_processor=Patchcore.configure_pre_processor((size, size)),
            **options,
        ),
    }
    pixels = np.random.default_rng(3).uniform(0, 255, (3, 3, size, size)).astype(np.float32)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = {"pixels": pixels}
    for name, model in models.items():
        data = Folder(
            name=name, root=images, normal_dir="good", num_workers=0, test_split_mode="none", val_split_mode="none"
        )
        settings = {"accelerator": "cpu", "devices": 1, "logger": False, "limit_val_batches": 0}
        engine = Engine(default_root_dir=folder / "runs", **settings)
        engine.fit(model, datamodule=data)
        engine.trainer.save_checkpoint(folder / f"{name}.ckpt", weights_only=False)
        with torch.inference_mode():
            output = model.eval().model(torch.from_numpy((pixels / 255 - mean) / std))
        expected[f"{name}_score"] = output.pred_score.flatten().numpy()
        expected[f"{name}_map"] = output.anomaly_map.reshape(3, size, size).numpy()
    np.savez(folder / "expected.npz", **expected)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
