"""gonogo distill: train a teacher for the detector efficientad on any images."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import count, image_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Distil a backbone of timm into a teacher for fit.detector: efficientad. If it is killed, the next start "
        "continues from FILE.checkpoint and ends with the same file."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="any images, at any depth; more of them are better")
    parser.add_argument(
        "--backbone", default="tf_efficientnet_lite0", metavar="NAME", help="a model of timm; tf_efficientnet_lite0"
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 3], metavar="N", help="its feature levels; 2 3")
    parser.add_argument("--weights", default="pretrained", help="pretrained, random or the path of a state dict")
    parser.add_argument("--weights-sha256", metavar="HEX", help="SHA-256 of that file")
    parser.add_argument(
        "--size", choices=["small", "medium", "tiny"], default="small", help="size of the teacher, as fit.size; small"
    )
    parser.add_argument(
        "--image-size",
        type=image_size,
        default=256,
        metavar="N",
        help="input of the teacher, pixels: a square, or HEIGHTxWIDTH; 256",
    )
    parser.add_argument(
        "--backbone-size", type=image_size, default=512, metavar="N", help="input of the backbone, likewise; 512"
    )
    parser.add_argument("--steps", type=count, default=60_000, metavar="N", help="steps of the training; 60,000")
    parser.add_argument("--batch", type=count, default=16, metavar="N", help="images per step; 16")
    parser.add_argument("--epoch-steps", type=count, default=200, metavar="N", help="steps between checkpoints; 200")
    parser.add_argument("--seed", type=int, default=17, metavar="N", help="of all random numbers; 17")
    parser.add_argument(
        "--out", type=Path, default=Path("teacher.safetensors"), metavar="FILE", help="teacher.safetensors"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")


def run(arguments: argparse.Namespace) -> Answer:
    """Train the teacher, or continue a training that was killed; the text is what to write into params.yaml."""
    from gonogo.detectors.training.checkpoints import Checkpoints
    from gonogo.detectors.training.image_folder import ImageFolder
    from gonogo.model.distill import Distillation, distil, origin_of, save_teacher
    from gonogo.model.fitting import device_of

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
    """Prints how far a training is on standard error: a line for each epoch and each percent of its preparation."""

    def show(what: str, n_done: int, n_total: int, values: dict[str, float]) -> None:
        if values or n_done == n_total or n_done % max(1, n_total // 100) == 0:
            figures = "".join(f"  {name} {value:.4g}" for name, value in values.items())
            length = f" (of {epoch_steps} steps)" if what == "epochs" else ""
            print(f"  {what} {n_done}/{n_total}{length}{figures}", file=sys.stderr, flush=True)

    return show
