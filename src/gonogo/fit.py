"""What every fit has in common, whatever the detector."""

from dataclasses import dataclass
from typing import Literal

import torch

from gonogo.errors import ConfigError


@dataclass(frozen=True)
class FitParams:
    """The keys of the `fit` section that stand beside any detector's options."""

    device: Literal["auto", "cpu", "cuda"]


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
