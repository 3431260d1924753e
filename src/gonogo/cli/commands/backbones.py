"""gonogo backbones: the values of fit.backbone, which weights are on this machine, and the feature levels of one."""

import argparse
from fnmatch import fnmatchcase
from typing import Any

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.detectors.backbones.weights import weights_here
from gonogo.errors import UsageError
from gonogo.text import meant

DOWNLOADED = "downloaded by the first fit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name or pattern."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a backbone, or a pattern such as 'resnet*'; default: list those whose weights are on this machine",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """List the backbones whose weights are here or whose names match a pattern, or describe one."""
    names, here, wanted = backbone_names(), weights_here(), arguments.name
    if wanted in names:
        return _description(wanted, here.get(wanted))
    shown = [name for name in names if (name in here if wanted is None else fnmatchcase(name, wanted))]
    if wanted is not None and not shown:
        hint = meant(wanted, names, 5) or "a pattern such as 'resnet*' lists names"
        raise UsageError(f"timm has no backbone {wanted!r}; {hint}", command="gonogo backbones")
    listed = [{"name": name, "weights": here.get(name)} for name in shown]
    lines = [in_columns([(name, here.get(name, DOWNLOADED)) for name in shown])] if shown else []
    if wanted is None:
        rest = len(names) - len(shown)
        lines.append(f"{rest:,} more that timm builds, weights {DOWNLOADED}: gonogo backbones 'resnet*' lists some")
    return Answer({"ok": True, "n_known": len(names), "backbones": listed}, "\n".join(lines))


def backbone_names() -> list[str]:
    """The names of all models that the installed timm can build, sorted."""
    from gonogo.detectors.backbones.torchvision_schema import import_torchvision

    import_torchvision()
    import timm

    return sorted(timm.list_models())


def _description(name: str, weights: str | None) -> Answer:
    """The feature levels of one backbone, which fit.layers picks from; no weight is made."""
    import timm
    import torch

    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False)
    size, license_ = model.pretrained_cfg.get("input_size"), model.pretrained_cfg.get("license")
    levels = [
        {"layer": layer, "channels": int(level["num_chs"]), "stride": int(level["reduction"])}
        for layer, level in enumerate(getattr(model, "feature_info", []))
    ]
    report = {
        "ok": True,
        "name": name,
        "weights": weights,
        "license": license_,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_on_size": size[-1] if size else None,
        "layers": levels,
    }
    lines = [
        f"{name}: {report['parameters'] / 1e6:.1f} million parameters, head included; trained on "
        f"{report['trained_on_size']} pixels; licence of the weights: {license_ or 'unknown'}",
        f"weights: {weights or DOWNLOADED}",
        in_columns(
            [("layer", "channels", "stride"), *(tuple(map(str, level.values())) for level in levels)], head=True
        ),
    ]
    return Answer(report, "\n".join(lines))
