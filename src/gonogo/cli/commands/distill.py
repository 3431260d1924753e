"""gonogo distill: a teacher for the detector efficientad from any images."""

import sys
from argparse import Namespace
from collections.abc import Callable

from gonogo.cli.answer import Answer
from gonogo.detectors.training.checkpoints import Checkpoints
from gonogo.detectors.training.image_folder import ImageFolder
from gonogo.model.distill import Distillation, distil, origin_of, save_teacher
from gonogo.model.fitting import device_of


def run(arguments: Namespace) -> Answer:
    """Distil, or go on where a killed start left off, and say what to write into params.yaml."""
    wanted = Distillation(
        backbone=arguments.backbone,
        layers=tuple(arguments.layers),
        weights=arguments.weights,
        weights_sha256=arguments.weights_sha256,
        size=arguments.size,
        image_size=arguments.image_size,
        backbone_size=arguments.backbone_size,
        steps=arguments.steps,
        batch_size=arguments.batch,
        epoch_steps=arguments.epoch_steps,
        seed=arguments.seed,
    )
    device = device_of(arguments.device, option="--device")
    images = ImageFolder(arguments.folder, option="FOLDER")
    checkpoints = Checkpoints(
        arguments.out.with_name(arguments.out.name + ".checkpoint"), origin_of(images, wanted, device)
    )
    print(f"distilling {wanted.backbone} over {len(images)} images on {device}", file=sys.stderr, flush=True)
    pdn = distil(images, wanted, device=device, checkpoints=checkpoints, progress=_progress(wanted.epoch_steps))
    sha256 = save_teacher(pdn, arguments.out, wanted, len(images))
    checkpoints.remove()
    lines = {"detector": "efficientad", "teacher": str(arguments.out), "teacher_sha256": sha256, "size": wanted.size}
    text = "\n".join(["fit:", *(f"  {key}: {value}" for key, value in lines.items())])
    return Answer({"ok": True, "n_images": len(images), "device": str(device), "fit": lines}, text)


def _progress(epoch_steps: int) -> Callable[[str, int, int, dict[str, float]], None]:
    """Say on standard error how far a training is: each epoch on a line, of what comes before it a hundredth."""

    def say(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
        if values or n_done == n_total or n_done % max(1, n_total // 100) == 0:
            figures = "".join(f"  {name} {value:.4g}" for name, value in values.items())
            place = f" (of {epoch_steps} steps)" if what == "epochs" else ""
            print(f"  {what} {n_done}/{n_total}{place}{figures}", file=sys.stderr, flush=True)

    return say
