"""Makes `import timm` work beside a CPU build of torch.

timm imports torchvision, whose ordinary wheel is linked against CUDA; beside a CPU build its compiled operators
cannot load, and the import fails with "operator torchvision::nms does not exist". Declaring the schemas of the
two operators that the import mentions is enough for everything that timm needs.
"""

import torch

_declared: list[torch.library.Library] = []  # a library's operators vanish with it, so it is kept


def import_torchvision() -> None:
    """Import torchvision, declaring its missing operators first if, and only if, the plain import fails for them."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)
        import torchvision  # noqa: F401
