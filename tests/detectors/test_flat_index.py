"""FAISS finds the same entries of a memory bank as comparing all of them does."""

import numpy as np
import pytest
import torch

from gonogo.detectors import make_detector
from gonogo.detectors.memory_bank import flat_index
from gonogo.detectors.memory_bank.flat_index import FlatIndex, has_faiss
from gonogo.export.graph import export_onnx
from gonogo.inference.scorer import open_session, run_session
from gonogo.model.inspector import Inspector

pytestmark = pytest.mark.skipif(not has_faiss(), reason="no faiss: pip install 'gonogo[faiss]'")


def compared(patches, bank):
    """By differences, in double precision, one after the other."""
    return [[int(((bank.double() - one.double()) ** 2).sum(dim=1).argmin()) for one in image] for image in patches]


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_nearest_entry_is_that_of_comparing_all_also_far_from_the_origin(offset):
    generator = torch.Generator().manual_seed(4)
    bank = torch.randn(3000, 24, generator=generator) + offset
    patches = torch.randn(2, 40, 24, generator=generator) + offset
    assert FlatIndex(bank).nearest(patches).tolist() == compared(patches, bank)


def test_of_equal_entries_the_first_is_taken_and_an_entry_is_nearest_to_itself():
    bank = torch.randn(500, 8, generator=torch.Generator().manual_seed(1))
    bank[100:120] = bank[7]  # more of them than there are candidates
    found = FlatIndex(bank).nearest(bank[None])[0]
    expected = torch.arange(500)
    expected[100:120] = 7
    assert torch.equal(found, expected)


def test_scores_and_maps_of_patchcore_are_the_same_with_it_and_without(fitted_once, pixels, tmp_path, monkeypatch):
    fitted = fitted_once("patchcore").detector
    detector = make_detector("patchcore", **vars(fitted.options)).restore(fitted.state_dict())
    without = Inspector(detector).inspect(pixels)
    assert detector._index is None
    monkeypatch.setattr("gonogo.detectors.patchcore.FAISS_FROM", 1)
    with_it = Inspector(detector).inspect(pixels)
    assert detector._index is not None
    for ours, theirs in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    export_onnx(Inspector(detector), tmp_path / "gauge.onnx", metadata={}, opset=18)  # which has no FAISS in it
    np.testing.assert_allclose(run_session(open_session(tmp_path / "gauge.onnx"), pixels)[0], without[0], rtol=1e-4)
    monkeypatch.setattr(flat_index.FlatIndex, "nearest", lambda _, patches: 0 * patches[..., 0].long())
    assert (Inspector(detector).inspect(pixels)[0] != without[0]).any()  # it is really asked
