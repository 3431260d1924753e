"""The manifest: roles are disjoint by content, masks fit, and the fingerprint notices every change."""

from dataclasses import replace

import numpy as np
import pytest

from gonogo.errors import DataError
from gonogo.manifest import count_metrics, read_manifest, write_samples
from gonogo.sample import Sample


def samples():
    rng = np.random.default_rng(5)

    def sample(name, role, label=0, mask=None):
        pixels = rng.integers(0, 255, (6, 5, 3), dtype=np.uint8)
        return Sample(name, role, label, "scratch" if label else "good", name, pixels, mask)

    mask = np.zeros((6, 5), bool)
    mask[1, 2] = True
    return [
        sample("a", "fit"),
        sample("b", "calibrate"),
        sample("c", "test"),
        sample("d", "test", 1, mask),
        sample("e", "test", 1),
    ]


def test_what_is_written_is_read_back(tmp_path):
    written = write_samples(tmp_path, "brick", samples())
    manifest = read_manifest(tmp_path)
    assert manifest.records == written.records
    assert [record.path for record in manifest.with_role("fit", "calibrate")] == ["images/a.png", "images/b.png"]
    good, masked, unmasked = manifest.with_role("test")
    assert not manifest.mask_of(good).any()
    assert manifest.mask_of(masked).sum() == 1
    assert manifest.mask_of(unmasked) is None
    assert (masked.width, masked.height) == (5, 6)


def test_the_fingerprint_changes_with_a_pixel_a_mask_a_role_and_a_group(tmp_path):
    def fingerprint(number, changed):
        return write_samples(tmp_path / str(number), "brick", changed).fingerprint

    base = samples()
    pixel = [replace(base[0], pixels=base[0].pixels ^ 1), *base[1:]]
    mask = [*base[:3], replace(base[3], mask=~base[3].mask), base[4]]
    role = [*base, replace(base[2], name="f", pixels=base[2].pixels ^ 1, role="calibrate")]
    group = [replace(base[0], group_id="other"), *base[1:]]
    prints = [fingerprint(i, s) for i, s in enumerate([base, pixel, mask, role, group])]
    assert len(set(prints)) == 5
    assert fingerprint("again", base) == prints[0]


def test_the_order_of_the_samples_does_not_matter(tmp_path):
    forward = write_samples(tmp_path / "a", "brick", samples()).fingerprint
    assert write_samples(tmp_path / "b", "brick", samples()[::-1]).fingerprint == forward


def test_a_duplicate_across_roles_is_an_error_that_names_both_files(tmp_path):
    base = samples()
    twin = replace(base[1], pixels=base[0].pixels)
    with pytest.raises(DataError, match=r"a\.png \(fit, good\) and .*b\.png \(calibrate, good\) show the same pixels"):
        write_samples(tmp_path, "brick", [base[0], twin, *base[2:]])


def test_a_defect_that_looks_exactly_like_a_good_test_image_is_an_error(tmp_path):
    base = samples()
    with pytest.raises(DataError, match="show the same pixels"):
        write_samples(tmp_path, "brick", [*base[:3], replace(base[3], pixels=base[2].pixels), base[4]])


def test_a_defective_image_may_only_be_test(tmp_path):
    base = samples()
    with pytest.raises(DataError, match="has the role fit; only test may"):
        write_samples(tmp_path, "brick", [replace(base[4], role="fit"), *base[:4]])


def test_two_samples_of_one_name_a_missing_role_and_a_wrong_mask_are_errors(tmp_path):
    base = samples()
    with pytest.raises(DataError, match="two samples have the name"):
        write_samples(tmp_path / "a", "brick", [base[0], base[0], *base[1:]])
    with pytest.raises(DataError, match="no image has the role calibrate"):
        write_samples(tmp_path / "b", "brick", [base[0], *base[2:]])
    with pytest.raises(DataError, match="does not fit"):
        write_samples(tmp_path / "c", "brick", [*base[:3], replace(base[3], mask=np.ones((3, 3), bool))])


def test_counts_say_how_many_images_have_which_role(tmp_path):
    counts = count_metrics(write_samples(tmp_path, "brick", samples()))
    assert (counts["n_fit"], counts["n_calibrate"], counts["n_test_good"], counts["n_test_defective"]) == (1, 1, 1, 2)
    assert counts["n_masks"] == 1
    assert counts["n_test.scratch"] == 2


def test_a_manifest_that_is_not_there_or_broken_is_an_error(tmp_path):
    with pytest.raises(DataError, match="run the prepare stage"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"path": 1}\n')
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(tmp_path)
