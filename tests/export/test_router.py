"""A set of bundles: the router sends an image to its own category or to none, and the line does what it says."""

import csv
import dataclasses
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import CALIBRATE, TINY, bundled, fitted, manifest_of, modelled
from gonogo.calibration.route import LeftOut
from gonogo.cli.main import main
from gonogo.data.sample import Sample
from gonogo.errors import ConfigError, IntegrityError, ParityError
from gonogo.export.router import (
    Router,
    RouterParams,
    categories_astray,
    own_test_images,
    require_same,
    routed,
    routing_metrics,
    write_set,
)
from gonogo.files import read_sealed, seal
from gonogo.images.roles import SPLIT_ROLES, TEST
from gonogo.inference.bundle_set import BundleSet, is_set
from gonogo.inference.scorer import Scorer
from gonogo.line.outputs import line_of

PARAMS = RouterParams(**TINY, layers=[1], image_size=32, images=12, slack=1.5, max_astray_rate=0.05)


def stripes(rng):
    """(16, 16, 3) uint8: blue, with rows of their own brightness."""
    pixels = np.zeros((16, 16, 3))
    pixels[..., 2] = 200
    pixels += rng.normal(0, 12, (16, 1, 1))
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """The manifest of stripes; the defective ones have a bright spot."""
    rng = np.random.default_rng(5)
    good = [
        Sample(name=f"good_{n:03}", image=stripes(rng), label=0, defect_type="good", roles=SPLIT_ROLES)
        for n in range(160)
    ]
    spotted = []
    for number in range(8):
        pixels, mask = stripes(rng), np.zeros((16, 16), bool)
        mask[4:8, 4:8] = True
        pixels[mask] = 255
        name = f"spot_{number:03}"
        spotted.append(Sample(name=name, image=pixels, label=1, defect_type="spot", roles=TEST, mask=mask))
    return manifest_of([*good, *spotted], tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def written(striped, digits, bundle, tmp_path_factory):
    """The folder of a set of two categories, and what writing it returned."""
    model = modelled(fitted("pca", striped), striped, tmp_path_factory.mktemp("model"), category="stripes")
    manifests = {"digit_0": digits, "stripes": striped}
    bundles = {"digit_0": bundle, "stripes": bundled(model, striped, tmp_path_factory.mktemp("gauge"))}
    folder = tmp_path_factory.mktemp("set") / "bundle_set"
    router = Router(PARAMS).fit(manifests)
    return folder, write_set(folder, router, manifests, bundles, CALIBRATE, tolerance=1e-4, opset=18)


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the set that a test may change."""
    shutil.copytree(written[0], tmp_path / "bundle_set")
    return tmp_path / "bundle_set"


@pytest.fixture(scope="module")
def images(striped, digits, tmp_path_factory):
    """One good image of each category and a stranger, by name."""
    folder = tmp_path_factory.mktemp("images")
    pixels = {
        name: manifest.pixels_of(next(one for one in manifest.with_role("test") if one.label == 0))
        for name, manifest in (("digit_0", digits), ("stripes", striped))
    }
    pixels["stranger"] = np.random.default_rng(1).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    for name, array in pixels.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in pixels}


def said(capsys, *words):
    status = main([str(word) for word in words])
    return status, json.loads(capsys.readouterr().out)


def test_an_image_goes_to_the_nearest_category_as_a_part_of_its_limit_and_to_none_beyond_all_limits():
    distances = np.array([[1.0, 9.0], [9.0, 1.0], [3.0, 3.5], [5.0, 8.0], [np.nextafter(4.0, 0), 9.0]])
    assert routed(distances, np.array([4.0, 7.0])).tolist() == [0, 1, 1, -1, 0]


def test_good_parts_go_to_their_category_and_a_category_that_is_left_out_is_unknown(written):
    _, result = written
    assert result.metrics["accuracy"] >= 0.9
    assert result.metrics["wrong_rate"] == 0
    assert result.metrics["stranger_rate"] == 1
    assert result.left_out == []
    for record in result.categories:
        assert record.limit == pytest.approx(1.5 * record.threshold.threshold)
        assert record.threshold.certified_false_alarm_rate <= CALIBRATE.false_alarm_rate
        assert "at most" in record.sentence


def test_metrics_count_what_goes_where():
    distances = {"a": np.array([[1.0, 9.0], [9.0, 1.0], [9.0, 9.0]]), "b": np.array([[9.0, 1.0], [9.0, 2.0]])}
    labels = {"a": np.array([0, 0, 1]), "b": np.array([0, 1])}
    metrics = routing_metrics(distances, labels, np.array([4.0, 4.0]))
    assert metrics["accuracy.a"] == 0.5
    assert metrics["defective_accuracy.a"] == 0
    assert metrics["astray_rate.a"] == 0
    assert metrics["wrong_rate.a"] == pytest.approx(1 / 3)
    assert metrics["stranger_rate.a"] == pytest.approx(2 / 3)
    assert metrics["accuracy"] == 0.75


def test_a_category_whose_defective_images_go_astray_is_left_out_and_the_others_are_counted_without_it():
    distances = {
        "a": np.array([[1.0, 9.0, 9.0], [9.0, 1.0, 9.0], [9.0, 1.0, 9.0]]),  # both defective images go to b
        "b": np.array([[9.0, 1.0, 9.0], [1.0, 2.0, 9.0]]),  # the defective one goes to a, without a it stays
        "c": np.array([[9.0, 9.0, 1.0], [9.0, 9.0, 9.0]]),  # the defective one is unknown
    }
    labels = {"a": np.array([0, 1, 1]), "b": np.array([0, 1]), "c": np.array([0, 1])}
    limits = np.array([4.0, 4.0, 4.0])
    assert categories_astray(distances, labels, limits, max_astray_rate=1.0) == []
    assert categories_astray(distances, labels, limits, max_astray_rate=0.5) == [LeftOut("a", 2, 2, "b", 1, 0)]
    assert categories_astray({"c": distances["c"][:, 2:]}, labels, limits[2:], max_astray_rate=0.0) == []


def test_a_category_whose_good_images_go_astray_is_left_out_too():
    distances = {"a": np.array([[9.0, 1.0], [1.0, 9.0]]), "b": np.array([[9.0, 1.0], [9.0, 1.0]])}
    labels = {"a": np.array([0, 0]), "b": np.array([0, 1])}
    (gone,) = categories_astray(distances, labels, np.array([4.0, 4.0]), max_astray_rate=0.4)
    assert gone == LeftOut("a", 0, 0, "b", 2, 1)
    assert "0 of its 0 defective and 1 of its 2 good test images to another category" in gone.sentence
    assert "keep them off a line that uses the set: there they are judged as b, or called unknown" in gone.sentence


def test_a_defective_image_that_is_a_good_one_of_another_category_is_left_to_that_one(digits, striped):
    good = [dataclasses.replace(record, label=0) for record in digits.with_role("test") if record.label == 1][:20]
    other = dataclasses.replace(digits, records=(*good, *striped.with_role("test")))
    own = own_test_images({"digit_0": digits, "other": other})
    gone = {record.path for record in good}
    assert own["digit_0"] == [record for record in digits.with_role("test") if record.path not in gone]
    assert own["other"] == other.with_role("test")
    twice = own_test_images({"digit_0": digits, "same": digits})
    assert twice == {"digit_0": digits.with_role("test"), "same": digits.with_role("test")}


def test_the_router_tells_apart_what_differs_only_by_its_place_in_the_image():
    """The mean over the image is the same for both; the means over its quarters are not."""
    left = torch.zeros(1, 3, 32, 32)
    left[..., :16] = 200
    right = left.flip(3)
    rows = {}
    for cells in (1, 2):
        router = Router(dataclasses.replace(PARAMS, cells=cells, image_size=32))
        backbone = router.features.backbone
        backbone.load("random", None)
        backbone.forward = lambda pixels: [pixels, pixels[:, :, ::2, ::2]]
        with torch.inference_mode():
            rows[cells] = router.features(left), router.features(right)
    assert torch.equal(*rows[1])
    assert rows[2][0].shape == (1, 24)
    assert not torch.equal(*rows[2])
    odd = router.features._means(torch.arange(15.0).view(1, 1, 3, 5))
    assert [float(mean) for mean in odd] == [3.5, 5.5, 8.5, 10.5]


def test_a_set_without_a_category_that_goes_astray_scores_its_parts_as_unknown(digits, bundle, tmp_path):
    """`same` is digit_0 under another name: the images of one go to the other."""
    manifests, bundles = (
        {"digit_0": digits, "same": digits},
        {"digit_0": bundle, "same": bundle},
    )
    router = Router(PARAMS).fit({"same": digits, "digit_0": digits})
    router.keep(["digit_0", "same"])
    router.good_1 = router.good_1 + 1e-3  # nearly the same: a few images of each go to the other
    result = write_set(tmp_path / "set", router, manifests, bundles, CALIBRATE, tolerance=1e-4, opset=18)
    (gone,) = result.left_out
    (kept,) = result.categories
    assert {gone.name, kept.name} == {"digit_0", "same"}
    assert gone.mostly_to == kept.name
    assert router.categories == [kept.name]
    assert not (tmp_path / "set" / gone.name).exists()
    assert read_sealed(tmp_path / "set" / "router")["left_out"] == [asdict(gone)]
    assert gone.sentence.startswith(f"{gone.name} is left out of the set: the router's features do not tell it from")


def test_a_network_that_sends_one_image_elsewhere_is_no_router():
    expected = np.array([[1.0, 9.0], [3.99999, 9.0]])
    assert require_same(expected, expected * (1 + 1e-7), np.array([4.0, 4.0]), tolerance=1e-4) < 1e-6
    with pytest.raises(ParityError, match="1 of 2 images are assigned to another category"):
        require_same(expected, expected + 2e-5, np.array([4.0, 4.0]), tolerance=1e-4)
    with pytest.raises(ParityError, match="tolerance"):
        require_same(expected, expected + 0.01, np.array([40.0, 40.0]), tolerance=1e-4)
    with pytest.raises(ParityError):
        require_same(expected, np.full_like(expected, np.nan), np.array([4.0, 4.0]), tolerance=1e-4)


def test_no_category_may_have_the_routers_name(digits, tmp_path):
    router = Router(PARAMS)
    with pytest.raises(ConfigError, match="rename"):
        write_set(tmp_path, router, {"router": digits}, {"router": tmp_path}, CALIBRATE, tolerance=1e-4, opset=18)


def test_score_judges_each_image_by_its_own_gauge_and_calls_a_stranger_unknown(folder, images, tmp_path, capsys):
    assert is_set(folder)
    assert not is_set(folder / "stripes")
    status, told = said(capsys, "score", folder, *images.values(), "--json")
    assert (status, told["n_unknown"], told["n_errors"]) == (1, 1, 0)
    rows = {row["file"]: row for row in told["results"]}
    for name in ("digit_0", "stripes"):
        row, scorer = rows[str(images[name])], Scorer(folder / name)
        assert (row["category"], row["threshold"]) == (name, scorer.threshold)
        assert row["score"] == pytest.approx(scorer.score_image(images[name]).score)
        assert row["relative_distance"] < 1
    stranger = rows[str(images["stranger"])]
    assert (stranger["verdict"], stranger["category"]) == ("unknown", None)
    assert stranger["relative_distance"] >= 1
    assert "score" not in stranger
    assert {one["category"] for one in told["categories"]} == {"digit_0", "stripes"}

    assert main(["score", str(folder), *map(str, images.values()), "--csv", str(tmp_path / "rows.csv")]) == 1
    capsys.readouterr()
    table = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [(row["category"], row["verdict"]) for row in table][2] == ("", "unknown")
    assert main(["score", str(folder), *map(str, images.values())]) == 1
    out, err = capsys.readouterr()
    assert "unknown" in out
    assert "1 of none of 2 categories" in err


def test_a_line_has_the_regions_of_a_set_in_which_not_every_gauge_has_some():
    row = {"verdict": "reject", "uncertain": False, "score": 2.0, "file": "a.png", "probability": None}
    row |= {"category": "stripes", "nearest_category": "stripes", "relative_distance": 0.5}
    region = {"box": [1, 2, 3, 4]}
    assert line_of(row | {"regions": [region]}, localises=False).endswith("a.png  stripes  1 region, 3 x 4 at (1, 2)")
    assert line_of(row | {"regions": []}, localises=False).endswith("a.png  stripes")


def test_a_stranger_is_sorted_by_itself_and_a_second_start_counts_it(folder, images, tmp_path, capsys):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for path in images.values():
        shutil.copy(path, incoming)
    status, told = said(capsys, "score", folder, incoming, "--sort", tmp_path / "sorted", "--json")
    assert (status, told["n_unknown"]) == (1, 1)
    assert [path.name for path in (tmp_path / "sorted" / "unknown").iterdir()] == ["stranger.png"]
    rows = tmp_path / "rows.jsonl"
    for n_new in (3, 0):
        status, told = said(capsys, "score", folder, *images.values(), "--out", rows, "--json")
        assert (status, told["n_unknown"], told["n_new"]) == (1, 1, n_new)


def test_explain_says_which_gauge_it_was_and_why_there_is_none(folder, images, tmp_path, capsys):
    status, told = said(capsys, "explain", folder, images["stripes"], "--json")
    assert (status, told["category"]) == (0, "stripes")
    status, told = said(capsys, "explain", folder, images["stranger"], "--json")
    assert (status, told["verdict"]) == (0, "unknown")
    assert told["nearest_category"] in ("digit_0", "stripes")
    picture = tmp_path / "why.png"
    assert said(capsys, "explain", folder, images["stranger"], "--picture", picture, "--json")[0] == 3


def test_verify_looks_at_every_bundle_and_at_where_images_go(folder, images, tmp_path, capsys):
    reference = tmp_path / "reference.jsonl"
    main(["score", str(folder), *map(str, images.values()), "--jsonl"])
    reference.write_text(capsys.readouterr().out)
    status, told = said(capsys, "verify", folder, "--reference", reference, "--json")
    assert (status, told["passed"], told["n_images"]) == (0, True, 3)
    assert [one["category"] for one in told["categories"]] == ["digit_0", "stripes"]
    status, told = said(capsys, "verify", folder, *images.values(), "--json")
    assert (told["n_images"], told["n_unknown"]) == (3, 1)

    text = reference.read_text()
    reference.write_text(text.replace('"category": "stripes"', '"category": "digit_0"'))
    status, told = said(capsys, "verify", folder, "--reference", reference, "--json")
    assert (status, told["n_flips"]) == (1, 1)
    reference.write_text(text.replace('"unknown"', '"pass", "score": 0.5'))
    status, told = said(capsys, "verify", folder, "--reference", reference, "--json")
    assert (status, told["n_flips"], told["differences"][0]["score"]) == (1, 1, None)


def test_a_signed_set_is_signed_in_every_part(folder, images, tmp_path, capsys):
    key = tmp_path / "factory.key"
    assert said(capsys, "bundle", "key", key, "--json")[0] == 0
    trusting = ["score", folder, images["stripes"], "--trust", f"{key}.pub", "--json"]
    assert said(capsys, *trusting)[1]["error"]["code"] == "IntegrityError"
    assert said(capsys, "bundle", "sign", folder, "--key", key, "--json")[0] == 0
    assert said(capsys, *trusting)[0] == 0
    assert said(capsys, "verify", folder, "--trust", f"{key}.pub", "--json")[0] == 0
    (folder / "router" / "signature.json").unlink()
    assert said(capsys, *trusting)[1]["error"]["code"] == "IntegrityError"


def test_a_set_is_not_packed_nor_scored_on_a_cluster(folder, images, tmp_path, capsys):
    status, told = said(capsys, "bundle", "pack", folder, tmp_path / "all.gonogo", "--json")
    assert status == 3
    assert "pack each of digit_0, stripes" in told["error"]["message"]
    status, told = said(capsys, "score", folder, images["stripes"], "--cluster", "--out", tmp_path / "out", "--json")
    assert status == 3
    assert "set of bundles" in told["error"]["message"]


def exchange(one, other):
    one.rename(one.with_name("waiting"))
    other.rename(one)
    one.with_name("waiting").rename(other)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "router" / "router.onnx").write_bytes(b"none"), "SHA-256"),
        (lambda folder: (folder / "router" / "router.onnx").unlink(), "router.onnx"),
        (lambda folder: shutil.rmtree(folder / "stripes"), "stripes"),
        (lambda folder: exchange(folder / "stripes", folder / "digit_0"), "run the stage router again"),
    ],
)
def test_a_set_that_is_not_what_was_written_is_refused(folder, damage, words):
    damage(folder)
    with pytest.raises(IntegrityError, match=words):
        BundleSet(folder)


def test_a_router_whose_manifest_names_other_limits_than_its_network_is_refused(folder):
    manifest = read_sealed(folder / "router")
    manifest["categories"][0]["limit"] = 1e9
    seal(folder / "router", {key: manifest[key] for key in ("kind", "schema", "categories")}, ["router.onnx"])
    with pytest.raises(IntegrityError, match="other categories"):
        BundleSet(folder)
