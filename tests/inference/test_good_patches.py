"""Good patches to compare with: which the network names, where they are from, their pictures, and what explain says."""

import io
import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from conftest import MEASURED, OPTIONS, TINY, fitted, modelled
from gonogo.cli.main import main
from gonogo.detectors.contract import FitContext, HasMemoryBank
from gonogo.detectors.options import PatchCoreOptions
from gonogo.detectors.patchcore import PatchCore
from gonogo.detectors.softpatch import SoftPatch
from gonogo.errors import DataError, IntegrityError, ParityError
from gonogo.export.bank_pictures import Views, bank_files, views_of
from gonogo.export.graph import export_onnx
from gonogo.export.parity import Parity, ParityParams, ParityResult, check_parity
from gonogo.export.write_bundle import write_bundle
from gonogo.files import read_sealed, seal
from gonogo.images.dataset import Dataset, Record
from gonogo.images.reading import read_image, write_png
from gonogo.images.size import ImageSize
from gonogo.inference.bundle import pack
from gonogo.inference.good_patches import BESIDE, GoodPatches, picture_around
from gonogo.inference.scorer import Scorer, open_session, run_matched
from gonogo.line.explain import Cell, cells_apart
from gonogo.line.picture import CAPTION, GAP, HEADER, PANEL, TILE
from gonogo.model.fit_images import FitImages
from gonogo.model.fit_params import Tiling
from gonogo.model.inspector import Inspector
from gonogo.model.saved import bundle_facts
from gonogo.model.tiling import Tiles

ONCE = ParityParams(1e-4, [1], [[9, 9], [30, 20]], 64, 0.01, 0.02)


@pytest.fixture(scope="module", params=["patchcore", "softpatch", "knn"])
def remembering(request, digits):
    """An inspector of each detector with a bank, fitted."""
    return fitted(request.param, digits)


def rows_of(detector, images):
    """(n, p, d) float64: what the bank's entries are compared with."""
    if not isinstance(detector, (PatchCore, SoftPatch)):
        return detector.rows(images)[:, None].double().numpy(), detector.rows_.double().numpy()
    rows = detector.patch_features(images).flatten(1, 2) - detector.mean_
    return rows.double().numpy(), detector.memory_bank_.double().numpy()


def weights_of(detector):
    """(m,) what distances to the bank's entries are multiplied by."""
    weights = getattr(detector, "bank_weights_", None)
    return np.ones(len(detector.bank_places())) if weights is None else weights.double().numpy()


# Which


def test_the_nearest_entry_is_that_of_brute_force(remembering, pixels):
    with torch.inference_mode():
        rows, bank = rows_of(remembering.detector, remembering.resized(torch.from_numpy(pixels[:3])))
    for image, entries in zip(rows, remembering.inspect_with_nearest(pixels[:3])[2].reshape(3, -1), strict=True):
        for row, entry in zip(image, entries, strict=True):
            distances = np.sqrt(((bank - row) ** 2).sum(axis=1)) * weights_of(remembering.detector)
            assert distances[entry] <= distances.min() * (1 + 1e-5)


def test_the_distance_to_an_entry_is_that_of_brute_force(remembering, pixels):
    resized = remembering.resized(torch.from_numpy(pixels[:2]))
    with torch.inference_mode():
        rows, bank = rows_of(remembering.detector, resized)
        entries = remembering.detector.score_with_nearest(resized)[2].flip(0)
        told = remembering.detector.distance_to(resized, entries).flatten(1).numpy()
    weights = weights_of(remembering.detector)
    expected = [
        [np.linalg.norm(r - bank[e]) * weights[e] for r, e in zip(*of, strict=True)]
        for of in zip(rows, entries.flatten(1), strict=True)
    ]
    np.testing.assert_allclose(told, expected, rtol=1e-4)


def test_a_detector_without_a_bank_names_nothing(digits_model, bundle, pixels):
    assert not isinstance(digits_model.inspector.detector, HasMemoryBank)
    scorer = Scorer(bundle)
    assert (scorer.run_matched(pixels)[2], scorer.good_patches) == (None, None)
    assert sorted(path.name for path in bundle.iterdir()) == [
        "gauge.onnx",
        "manifest.json",
        "model_card.md",
        "parity.json",
    ]


# Where from

SMALL = {"image_size": 64, "coreset_ratio": 0.02, "layers": [1]} | TINY
KEPT = {
    "all at once": {},
    "in parts": {"room": 300_000},
    "few of many": {"bank_patches": 30, "coreset_ratio": None},
    "reduced": {"reduction": "pca", "reduced_dims": 8},
    "turned": {"rotations": 3},
    "in tiles": {"tiling": Tiling(70, 100, 16)},
    "the part alone": {"foreground": "pca"},
}


@pytest.mark.parametrize("kind", KEPT)
def test_each_entry_of_the_bank_is_the_patch_of_the_view_and_cell_that_it_says(kind, digits):
    options = dict(KEPT[kind])
    room, rotations, tiling = (
        options.pop(name, default) for name, default in (("room", None), ("rotations", 1), ("tiling", None))
    )
    detector = PatchCore(PatchCoreOptions(**SMALL | options))
    images = FitImages(Inspector(detector, tiling=tiling), digits, digits.with_role("fit")[:10], rotations=rotations)
    detector.fit(images, seed=3, context=FitContext(room=room))
    assert detector.covering_radius_.ndim == (kind == "in parts")
    with torch.inference_mode():
        rows = torch.cat([detector._reduced(detector.patch_features(image)) for image in images])  # (views, p, d)
    views, cells = detector.bank_places().long().T
    assert len(set(views.tolist())) > 3
    torch.testing.assert_close(rows[views, cells], detector.memory_bank_, atol=1e-4, rtol=1e-4)


def test_softpatch_and_knn_know_their_entries_too(digits):
    for name in ("softpatch", "knn"):
        inspector = fitted(name, digits)
        images = torch.cat(list(FitImages(inspector, digits, digits.with_role("fit")[:40])))
        with torch.inference_mode():
            rows, bank = rows_of(inspector.detector, images)
        views, cells = inspector.detector.bank_places().numpy().T
        np.testing.assert_allclose(rows[views, cells], bank, atol=1e-4)


def coloured(width, height, number):
    """(h, w, 3) uint8: each pixel's red says how far right it is, its green how far down, its blue which image."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.stack([40 + 160 * x, 40 + 160 * y, np.full_like(x, 40 * number)], axis=2).round().astype(np.uint8)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """A dataset of four such images, two of them wide."""
    folder = tmp_path_factory.mktemp("gradients")
    records = []
    for number, (width, height) in enumerate([(160, 96), (96, 96), (160, 96), (96, 96)]):
        write_png(folder / f"{number}.png", coloured(width, height, number))
        about = {
            "category": "parts",
            "role": "fit",
            "label": 0,
            "defect_type": "good",
            "mask": None,
            "mask_sha256": None,
        }
        records.append(Record(path=f"{number}.png", sha256="", group_id="", width=width, height=height, **about))
    return Dataset(folder, folder, tuple(records))


@pytest.mark.parametrize("tiling", [None, Tiling(72, 100, 16)])
@pytest.mark.parametrize("rotations", [1, 4, 6])
@pytest.mark.parametrize("n_columns", [8, 11])
def test_a_place_is_where_the_view_has_its_colour_from(gradients, rotations, tiling, n_columns):
    resized = ImageSize(64, 8 * n_columns)
    inspector = Inspector(PatchCore(PatchCoreOptions(image_size=resized, **TINY)), tiling=tiling)
    images = FitImages(inspector, gradients, gradients.records, rotations=rotations)
    views = Views(inspector, rotations, (8, n_columns), (8, n_columns))
    assert views.of_record == len(images) // 4
    for view in range(len(images)):
        record = gradients.records[view // views.of_record]
        for cell in range(n_columns + 1, 7 * n_columns - 1, 5):
            row, column = divmod(cell, n_columns)
            seen = images[view][0, :, 8 * row + 3 : 8 * row + 5, 8 * column + 3 : 8 * column + 5].mean(dim=(1, 2))
            centre, size, turned = views.place(view, cell, (record.width, record.height))
            told = np.array([40 + 160 * centre[0] / record.width, 40 + 160 * centre[1] / record.height])
            np.testing.assert_allclose(seen[:2], told, atol=4)  # 4 of 160: a fortieth of the image
            canvas = resized[::-1] if tiling is None else (100, 72)
            assert size == pytest.approx((8 * record.width / canvas[0], 8 * record.height / canvas[1]))
            step = view % views.of_record // (views.of_record // rotations)
            assert turned == pytest.approx(360 * step / rotations)


@pytest.mark.parametrize("step", range(6))
def test_a_picture_is_turned_as_the_gauge_saw_the_image(step, gradients):
    inspector = Inspector(PatchCore(PatchCoreOptions(image_size=96, **TINY)))
    images = FitImages(inspector, gradients, gradients.records[1:2], rotations=6)
    row, column = 5, 7
    centre, _, turned = Views(inspector, 6, (12, 12), (12, 12)).place(step, 12 * row + column, (96, 96))
    picture = picture_around(gradients.pixels_of(gradients.records[1]), centre, share=1 / 3, side=32, turned=turned)
    seen = images[step][0, :, 8 * row + 4 - 16 : 8 * row + 4 + 16, 8 * column + 4 - 16 : 8 * column + 4 + 16]
    assert np.abs(picture - seen.permute(1, 2, 0).numpy()).mean() < 2


def test_a_picture_shows_so_large_a_share_around_its_centre_and_nothing_where_the_image_ends(gradients):
    pixels = gradients.pixels_of(gradients.records[0])  # 160 x 96
    inside = picture_around(pixels, (80, 48), share=0.2, side=32)
    np.testing.assert_array_equal(inside, pixels[32:64, 64:96])
    corner = picture_around(pixels, (0, 96), share=0.2, side=32)
    np.testing.assert_array_equal(corner[:16, 16:], pixels[80:, :16])
    assert (corner[16:] == BESIDE).all()
    assert (corner[:, :16] == BESIDE).all()


def test_pieced_tiles_give_each_cell_that_of_the_tile_in_which_it_lies_deepest():
    tiles = Tiles(Tiling(70, 130, 16), image_size=ImageSize(64, 64), stride=8, smoothing=0.0)
    grids = torch.arange(len(tiles) * 64).view(len(tiles), 1, 8, 8)
    pieced = tiles.assembled(grids)[0]
    assert pieced.shape == (9, 16)
    for row, column in np.ndindex(9, 16):
        y, x = (row + 0.5) * 70 / 9, (column + 0.5) * 130 / 16
        depths = {}
        for number, (top, left) in enumerate(product(tiles.row_starts, tiles.column_starts)):
            across = [y - top, top + 64 - y, x - left, left + 64 - x]
            if min(across) > 0:
                cell = int((y - top) / 8) * 8 + int((x - left) / 8)
                depths[64 * number + cell] = (min(across[:2]), min(across[2:]))
        chosen = depths[int(pieced[row, column])]
        assert chosen == (max(d[0] for d in depths.values()), max(d[1] for d in depths.values()))


def test_in_tiles_both_runtimes_name_the_same(digits, tmp_path):
    tiling = Tiling(70, 130, 16)
    detector = PatchCore(PatchCoreOptions(**SMALL))
    inspector = Inspector(detector, tiling=tiling)
    detector.fit(FitImages(inspector, digits, digits.with_role("fit")[:3]), seed=3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    export_onnx(inspector, tmp_path / "gauge.onnx", metadata={}, opset=18)
    theirs, ours = (
        run_matched(open_session(tmp_path / "gauge.onnx"), pixels)[2],
        inspector.inspect_with_nearest(pixels)[2],
    )
    assert ours.shape == (2, *views_of(inspector, 1).of_image)
    assert (ours == theirs).mean() > 0.98


# What the bundle has


@pytest.fixture(scope="module")
def model(patchcore_model):
    return patchcore_model


@pytest.fixture(scope="module")
def some(digits):
    return replace(digits, records=tuple(digits.with_role("fit") + digits.with_role("calibrate", "test")[::40]))


@pytest.fixture(scope="module")
def remembered(patchcore_bundle):
    """A bundle of patchcore on the digits."""
    return patchcore_bundle


def test_the_bundle_has_a_picture_of_each_entry_cut_from_the_image_that_it_names(remembered, model, digits):
    scorer = Scorer(remembered)
    patches = scorer.good_patches
    detector = model.inspector.detector
    assert len(patches) == len(detector.memory_bank_) > 10
    pictures = {"neighbours.jpg", "neighbours.json"}
    assert set(scorer.manifest["files"]) == {"gauge.onnx", "model_card.md", "parity.json"} | pictures
    fit = digits.with_role("fit")[:40]
    for entry, (view, cell) in enumerate(detector.bank_places().tolist()):
        good, (row, column) = patches[entry], divmod(cell, patches.cells[1])
        assert good.image == fit[view].path
        x, y, width, height = good.box
        assert x <= (column + 0.5) * 8 / patches.cells[1] <= x + width
        assert y <= (row + 0.5) * 8 / patches.cells[0] <= y + height
        expected = patches.picture_of(digits.pixels_of(fit[view]), good.box)
        assert good.picture.shape == expected.shape
        assert np.abs(good.picture.astype(int) - expected).mean() < 16  # a pixel of the box is an eighth of the image
    with pytest.raises(IntegrityError, match=r"gave the number .* of a good patch"):
        patches[len(patches)]


def test_the_report_of_parity_has_each_comparison(remembered):
    report = json.loads((remembered / "parity.json").read_text())
    assert report["summary"] == read_sealed(remembered)["parity"]
    assert len(report["comparisons"]) == report["summary"]["n_comparisons"] > 10
    rows = [dict(zip(report["columns"], row, strict=True)) for row in report["comparisons"]]
    assert all(abs(row["reference_score"] - row["onnx_score"]) < 1e-3 * row["reference_score"] for row in rows)
    assert all(row["nearest_difference"] is not None for row in rows)
    assert report["threshold"] == Scorer(remembered).threshold


def test_a_model_whose_fit_images_are_gone_makes_no_bundle(model, digits):
    with pytest.raises(DataError, match="was fitted on"):
        bank_files(model, replace(digits, records=tuple(digits.with_role("test"))))


# Parity


def test_a_network_that_names_other_patches_than_the_nearest_is_refused(remembered, model, some, tmp_path):
    proto = onnx.load(remembered / "gauge.onnx")
    for node in proto.graph.node:
        node.output[:] = ["true_nearest" if name == "nearest" else name for name in node.output]
    proto.graph.initializer.append(
        helper.make_tensor("last", TensorProto.INT64, [], [len(model.inspector.detector.memory_bank_) - 1])
    )
    proto.graph.node.append(helper.make_node("Sub", ["last", "true_nearest"], ["nearest"]))
    onnx.save(proto, tmp_path / "faulty.onnx")
    few = replace(some, records=tuple(some.with_role("test")[:2]))
    parity = check_parity(model, tmp_path / "faulty.onnx", few, ONCE)
    assert parity.metrics()["score_max_diff_e6"] < 100 < parity.metrics()["nearest_max_diff_e6"]
    with pytest.raises(ParityError, match="of the distances to the nearest good patches that they name"):
        parity.require_agreement()


def test_patches_that_are_equally_near_within_the_tolerance_may_be_named_for_each_other():
    rows = [ParityResult(f"{n}.png", "8 x 8", 1, 10.0, 10.0, 0.0, nearest_difference=9e-4) for n in range(5)]
    Parity(rows, threshold=20.0, tolerance=1e-4).require_agreement()
    far = replace(rows[0], nearest_difference=2e-3)
    assert Parity([*rows, far], threshold=20.0, tolerance=1e-4).metrics()["n_beyond_tolerance"] == 1


# Explain


def test_an_explanation_names_the_nearest_good_patch_of_each_of_the_highest_cells(remembered, digits, tmp_path, capsys):
    image = digits.path_of(next(record for record in digits.with_role("test") if record.label == 1))
    words = ["explain", str(remembered), str(image), "--top", "3", "--picture", str(tmp_path / "e.png")]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    scorer = Scorer(remembered)
    _, maps, nearest = scorer.run_matched(read_image(image)[None])
    assert len(report["cells"]) == 3
    peak = np.unravel_index(maps[0].argmax(), (8, 8))
    row, column = (int((at + 0.5) * n / 8) for at, n in zip(peak, nearest.shape[1:], strict=True))
    first = report["cells"][0]["nearest"]
    good = scorer.good_patches[int(nearest[0, row, column])]
    assert first == {"entry": good.entry, "image": good.image, "box": list(good.box), "turned": 0.0}
    assert report["places"][0]["nearest"] == first
    x, y, width, height = report["places"][0]["box"]
    assert x <= peak[1] <= x + width
    assert y <= peak[0] <= y + height
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        f"nearest good patch: {good.box[2]} x {good.box[3]} at ({good.box[0]}, {good.box[1]}) of {good.image}" in said
    )
    picture = read_image(tmp_path / "e.png")
    top, left = HEADER + CAPTION, GAP + PANEL + GAP
    for step, tile in enumerate(
        (scorer.good_patches.picture_of(read_image(image), (x, y, width, height)), good.picture)
    ):
        drawn = picture[top : top + TILE, left + step * (TILE + GAP) :][:, :TILE]
        expected = np.asarray(Image.fromarray(tile).resize((TILE, TILE), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(drawn[30:], expected[30:])  # a number stands above
    main([*words[:3], "--top", "1", "--picture", str(tmp_path / "one.png")])
    assert not np.array_equal(read_image(tmp_path / "one.png"), picture)


def test_where_the_gauge_does_not_say_where_the_whole_image_is_compared(digits, tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIONS, "knn", {"features": "pixels", "image_size": 8, "n_neighbors": 2})
        known = modelled(fitted("knn", digits), digits, tmp_path / "model")
    export_onnx(known.inspector, tmp_path / "gauge.onnx", metadata=bundle_facts(known), opset=18)
    agreed = Parity([ParityResult("a.png", "8 x 8", 1, 1.0, 1.0, 0.0)], known.threshold.threshold, 1e-4)
    write_bundle(tmp_path / "bundle", tmp_path / "gauge.onnx", known, agreed, digits, MEASURED)
    fit = digits.with_role("fit")[7]
    assert main(["explain", str(tmp_path / "bundle"), str(digits.path_of(fit)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cells"] == []
    (pair,) = report["places"]
    assert pair["box"] == pair["nearest"]["box"] == [0, 0, 8, 8]
    assert pair["nearest"]["image"] == fit.path  # it is its own nearest
    assert main(["explain", str(tmp_path / "bundle"), str(digits.path_of(fit))]) == 0
    assert (
        f"the image as a whole: {report['score']:.6g}; nearest good patch: 8 x 8 at (0, 0)" in capsys.readouterr().out
    )


def test_without_a_bank_an_explanation_says_that_there_is_nothing_to_compare_with(bundle, digits, tmp_path, capsys):
    image = digits.path_of(digits.with_role("test")[0])
    assert main(["explain", str(bundle), str(image), "--picture", str(tmp_path / "e.png")]) == 0
    assert "no good patches to compare with" in capsys.readouterr().out
    main(["explain", str(bundle), str(image), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["places"] == []
    assert [cell["nearest"] for cell in report["cells"]] == [None] * 5


def test_places_to_compare_lie_apart_and_the_highest_of_those_that_do_not_is_kept():
    places = [(10, 10), (14, 12), (30, 10), (29, 18), (10, 20), (20, 13)]
    cells = [Cell((0, 0, 1, 1), 9.0 - n, at) for n, at in enumerate(places)]
    assert [cell.at for cell in cells_apart(cells, 10)] == [(10, 10), (30, 10), (10, 20), (20, 13)]


# Bundles whose hashes are right, and whose good patches are none


def table(**changes):
    return lambda files: (
        files | {"neighbours.json": json.dumps(json.loads(files["neighbours.json"]) | changes).encode()}
    )


def smaller(files):
    file = io.BytesIO()
    Image.open(io.BytesIO(files["neighbours.jpg"])).resize((64, 64)).save(file, format="JPEG")
    return files | {"neighbours.jpg": file.getvalue()}


def fewer(files):
    """All but the last row of the mosaic's pictures."""
    content = json.loads(files["neighbours.json"])
    return table(entries=content["entries"][: -content["columns"]])(files)


def other_entry(**changes):
    def made(files):
        entries = json.loads(files["neighbours.json"])["entries"]
        for at, value in changes.items():
            entries[3][int(at[1:])] = value
        return table(entries=entries)(files)

    return made


def mute(files):
    proto = onnx.load_from_string(files["gauge.onnx"])
    (output,) = (entry for entry in proto.graph.output if entry.name == "nearest")
    proto.graph.output.remove(output)
    return files | {"gauge.onnx": proto.SerializeToString()}


BAD = {
    "a table that is none": lambda files: files | {"neighbours.json": b"[]"},
    "a table cut short": lambda files: files | {"neighbours.json": files["neighbours.json"][:100]},
    "a table without entries": table(entries=[]),
    "entries that are no numbers": table(entries=[["a"] * 6]),
    "entries of another length": table(entries=[[0, 0, 0, 1, 1]]),
    "no images": table(images=[]),
    "a picture of no size": table(side=0),
    "columns beyond all bounds": table(columns=10**400),
    "a share above all": table(share=1.5),
    "other cells than the network's": table(cells=[3, 5]),
    "cells that are none": table(cells=7),
    "a place outside": other_entry(_1=-4),
    "an image that is not listed": other_entry(_0=10_000),
    "a patch of no size": other_entry(_3=0),
    "a mosaic that is none": lambda files: files | {"neighbours.jpg": b"\xff\xd8\xff"},
    "a mosaic of another size": smaller,
    "fewer patches than pictures": fewer,
    "a table alone": lambda files: {name: data for name, data in files.items() if name != "neighbours.jpg"},
    "a mosaic alone": lambda files: {name: data for name, data in files.items() if name != "neighbours.json"},
    "a network that names none": mute,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bundle_whose_good_patches_make_no_sense_is_no_bundle_to_use(kind, remembered, tmp_path, capsys):
    files = BAD[kind]({name: (remembered / name).read_bytes() for name in read_sealed(remembered)["files"]})
    (tmp_path / "bad").mkdir()
    for name, data in files.items():
        (tmp_path / "bad" / name).write_bytes(data)
    body = read_sealed(remembered)
    seal(tmp_path / "bad", {key: value for key, value in body.items() if key != "files"}, list(files))
    pack(tmp_path / "bad", tmp_path / "bad.gonogo")
    for place in ("bad", "bad.gonogo"):
        assert main(["verify", str(tmp_path / place)]) == 4
        err = capsys.readouterr().err
        assert err.startswith("gonogo: ")
        assert "Traceback" not in err
        assert len(err) > 40
    assert np.isfinite(Scorer(tmp_path / "bad").threshold)  # which needs none of them


@pytest.mark.parametrize("name", ["neighbours.json", "neighbours.jpg", "parity.json"])
def test_a_bit_flipped_in_what_goes_with_the_network_is_refused(name, remembered, tmp_path):
    shutil.copytree(remembered, tmp_path / "bad")
    data = bytearray((remembered / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad" / name).write_bytes(data)
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Scorer(tmp_path / "bad")


def test_what_a_bundle_was_packed_with_is_read_from_the_one_file(remembered, tmp_path):
    pack(remembered, tmp_path / "a.gonogo")
    assert main(["verify", str(tmp_path / "a.gonogo")]) == 0
    one, other = (Scorer(place).good_patches for place in (tmp_path / "a.gonogo", remembered))
    np.testing.assert_array_equal(one.mosaic, other.mosaic)
    assert one.images == other.images


def test_a_table_and_a_mosaic_that_belong_together_are_read(remembered):
    files = {name: (remembered / name).read_bytes() for name in ("neighbours.json", "neighbours.jpg")}
    assert len(GoodPatches(files["neighbours.json"], files["neighbours.jpg"], remembered)) > 10
