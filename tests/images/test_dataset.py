"""The dataset: what prepare saw is what every later stage reads, and the fingerprint notices every change."""

from dataclasses import replace

import numpy as np
import pytest

from conftest import manifest_of
from gonogo.data.sample import Sample
from gonogo.errors import DataError, IntegrityError
from gonogo.images.dataset import read_dataset
from gonogo.images.reading import write_png


def samples():
    rng = np.random.default_rng(5)

    def sample(name, role, label=0, mask=None):
        return Sample(
            name=name,
            image=rng.integers(0, 255, (6, 5, 3), dtype=np.uint8),
            label=label,
            defect_type="scratch" if label else "good",
            roles=(role,),
            mask=mask,
        )

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
    written = manifest_of(samples(), tmp_path)
    dataset = read_dataset(tmp_path, tmp_path / "raw")
    assert dataset.records == written.records
    assert [record.path for record in dataset.with_role("fit", "calibrate")] == ["images/a.png", "images/b.png"]
    good, masked, unmasked = dataset.with_role("test")
    assert not dataset.mask_of(good).any()
    assert np.argwhere(dataset.mask_of(masked)).tolist() == [[1, 2]]
    assert dataset.mask_of(unmasked) is None
    assert (masked.width, masked.height) == (5, 6)
    assert np.array_equal(dataset.pixels_of(masked), samples()[3].image)


def test_the_fingerprint_changes_with_a_pixel_a_mask_a_role_and_a_group(tmp_path):
    def fingerprint(number, changed):
        return manifest_of(changed, tmp_path / str(number)).fingerprint

    base = samples()
    pixel = [replace(base[0], image=base[0].image ^ 1), *base[1:]]
    mask = [*base[:3], replace(base[3], mask=~base[3].mask), base[4]]
    role = [*base, replace(base[2], name="f", image=base[2].image ^ 1, roles=("calibrate",))]
    group = [replace(base[0], group_id="other"), *base[1:]]
    prints = [fingerprint(i, s) for i, s in enumerate([base, pixel, mask, role, group])]
    assert len(set(prints)) == 5
    assert fingerprint("again", base) == prints[0]


def test_the_order_of_the_samples_does_not_matter(tmp_path):
    forward = manifest_of(samples(), tmp_path / "a").fingerprint
    assert manifest_of(samples()[::-1], tmp_path / "b").fingerprint == forward


@pytest.fixture
def raw(tmp_path):
    """A raw folder with the image of sample a and the mask of sample d."""
    write_png(tmp_path / "raw" / "set" / "a.png", samples()[0].image)
    write_png(tmp_path / "raw" / "set" / "d_mask.png", samples()[3].mask)
    return tmp_path / "raw"


def from_files(raw):
    base = samples()
    first = replace(base[0], name="set/a.png", image=raw / "set" / "a.png")
    return [first, *base[1:3], replace(base[3], mask=raw / "set" / "d_mask.png"), base[4]]


def test_raw_files_stay_where_they_are_and_are_read_there(raw, tmp_path):
    dataset = manifest_of(from_files(raw), tmp_path / "prepared", raw=raw)
    [record] = dataset.with_role("fit")
    masked = next(record for record in dataset.records if record.mask)
    assert (record.path, masked.mask) == ("raw/set/a.png", "raw/set/d_mask.png")
    assert np.array_equal(dataset.pixels_of(record), samples()[0].image)
    assert np.array_equal(dataset.mask_of(masked), samples()[3].mask)
    written = [path.name for path in (tmp_path / "prepared").rglob("*") if path.is_file()]
    assert sorted(written) == ["b.png", "c.png", "d.png", "e.png", "manifest.jsonl"]


def test_the_manifest_of_raw_files_does_not_tell_where_the_raw_folder_lies(raw, tmp_path):
    here = manifest_of(from_files(raw), tmp_path / "one", raw=raw)
    there = raw.rename(tmp_path / "elsewhere")
    assert manifest_of(from_files(there), tmp_path / "two", raw=there).fingerprint == here.fingerprint


def test_a_raw_file_that_changed_after_prepare_is_refused(raw, tmp_path):
    dataset = manifest_of(from_files(raw), tmp_path / "prepared", raw=raw)
    write_png(raw / "set" / "a.png", samples()[0].image ^ 1)
    write_png(raw / "set" / "d_mask.png", ~samples()[3].mask)
    with pytest.raises(IntegrityError, match=r"a\.png has changed since the prepare stage saw it"):
        dataset.pixels_of(dataset.with_role("fit")[0])
    with pytest.raises(IntegrityError, match=r"d_mask\.png is not the mask that the prepare stage saw"):
        dataset.mask_of(next(record for record in dataset.records if record.mask))


def test_a_manifest_that_is_not_there_or_broken_is_an_error(tmp_path):
    with pytest.raises(DataError, match="run the prepare stage"):
        read_dataset(tmp_path, tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"path": 1}\n')
    with pytest.raises(DataError, match="cannot be read as a dataset"):
        read_dataset(tmp_path, tmp_path)
