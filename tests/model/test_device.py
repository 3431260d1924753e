"""A fit on a GPU: the same gauge, within the rounding of another machine."""

import numpy as np
import pytest
import torch

from conftest import FROM_GOOD, OPTIONS, made
from gonogo.errors import ConfigError
from gonogo.model.fit_images import FitImages
from gonogo.model.fitting import device_of
from gonogo.model.inspector import Inspector

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused():
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="finds no GPU here; set it to auto or cpu"):
        device_of("cuda")


@gpu
@pytest.mark.parametrize("name", FROM_GOOD)
def test_a_fit_on_a_gpu_scores_as_one_on_the_cpu(name, digits, pixels):
    scores = {}
    for wanted in ("cpu", "cuda"):
        device = device_of(wanted)
        inspector = Inspector(made(name, **OPTIONS[name])).to(device)
        records = digits.with_role("fit")[:40]
        inspector.detector.fit(FitImages(inspector, digits, records, device=device), seed=17)
        assert all(buffer.device.type == "cpu" for buffer in inspector.cpu().buffers())
        scores[wanted], _ = inspector.inspect(pixels)
    np.testing.assert_allclose(scores["cuda"], scores["cpu"], rtol=0.05 if "net" in name or "ad" in name else 1e-3)
