"""What every fit has in common, whatever the detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from gonogo.errors import ConfigError, DataError
from gonogo.images.dataset import Record
from gonogo.model.finetune import Finetune
from gonogo.model.tiling import Tiling


@dataclass(frozen=True)
class FitParams:
    """The keys of the `fit` section that stand beside any detector's options.

    Attributes:
        device: as in `device_of`.
        cluster: ray, whose workers look at the images, each on one CPU; as in `Cluster`.
        memory_budget_mb: megabytes (1e6 bytes) that the fitting process may have resident, Python and torch included.
        tiling: as in `Inspector`.
        left_out: how many fit images to show that are unlike the others; 0 looks at none.
        shots: as in `draw_shots`.
        rotations: as in `FitImages`.
        finetune: as in `finetune_on_load`.
    """

    device: Literal["auto", "cpu", "cuda"]
    cluster: Literal["ray"] | None
    memory_budget_mb: Annotated[float, Field(gt=0)] | None
    tiling: Tiling | None
    left_out: Annotated[int, Field(ge=0)]
    shots: Annotated[int, Field(ge=1)] | None
    rotations: Annotated[int, Field(ge=1)]
    finetune: Finetune | None

    def __post_init__(self) -> None:
        if self.cluster is None:
            return
        if self.device == "cuda":
            raise ConfigError(
                "fit.device is 'cuda' and fit.cluster is 'ray', whose workers compute on CPUs; set one to auto or null"
            )
        if self.memory_budget_mb is not None:
            raise ConfigError(
                f"fit.memory_budget_mb is {self.memory_budget_mb:,g} and bounds one process; the workers of "
                "fit.cluster are many, and Ray watches their memory: set one of the two to null"
            )


def draw_shots(records: Sequence[Record], shots: int | None, *, seed: int) -> list[Record]:
    """So many of the fit images, in the dataset's order; all of them where `shots` is None.

    They are the first of one order shuffled by `seed`, so that 4 shots are those of 2 and two more.

    Raises:
        DataError: there are fewer images.
    """
    if shots is None:
        return list(records)
    if shots > len(records):
        raise DataError(
            f"fit.shots is {shots}, but there are {len(records)} fit images; ask for at most {len(records)}, or set it "
            "to null to take them all"
        )
    shuffled = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))
    return [records[index] for index in sorted(shuffled[:shots].tolist())]


def device_of(name: str, *, option: str = "fit.device") -> torch.device:
    """The device that `option` names; auto is CUDA where there is a GPU. On it, no product is rounded to TF32.

    Raises:
        ConfigError: there is no CUDA here.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError(f"{option} is 'cuda', but torch finds no GPU here; set it to auto or cpu")
    torch.backends.cudnn.allow_tf32 = False  # as torch has it for plain products
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
