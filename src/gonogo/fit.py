"""What every fit has in common, whatever the detector."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from gonogo.errors import ConfigError
from gonogo.tiling import Tiling


@dataclass(frozen=True)
class FitParams:
    """The keys of the `fit` section that stand beside any detector's options.

    memory_budget_mb: megabytes (1e6 bytes) that the fitting process may have resident, Python and torch included.
    suspicious: how many fit images to show that are unlike the others; 0 looks at none.
    """

    device: Literal["auto", "cpu", "cuda"]
    memory_budget_mb: Annotated[float, Field(gt=0)] | None
    tiling: Tiling | None
    suspicious: Annotated[int, Field(ge=0)]


def device_of(name: str) -> torch.device:
    """The device that `fit.device` names; auto is CUDA where there is a GPU. On it, no product is rounded to TF32.

    Raises:
        ConfigError: there is no CUDA here.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("fit.device is 'cuda', but torch finds no GPU here; set it to auto or cpu")
    torch.backends.cudnn.allow_tf32 = False  # as torch has it for plain products
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
