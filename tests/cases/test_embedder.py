"""Two networks of the user's find pictures by words; halves that are not of one space are refused at the start."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

for package in ("tokenizers", "onnx", "sqlalchemy"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[text]'")

# ruff: noqa: E402
from given_networks import COLOURS, embedder_file, image_half, listed, picture, text_half, tokenizer
from gonogo.cases.embedder import Embedder
from gonogo.cases.pictured import AT_ONCE, PictureIndex
from gonogo.cases.words import Filters
from gonogo.cli.main import main
from gonogo.errors import ConfigError, ImageError, IntegrityError
from gonogo.store.store import Store

TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]  # into another space of the same dimension
OF_IMAGE = {"mean": [0, 0, 0], "std": [1, 1, 1]}


def put(store, number, colour, *, crop=None, category="washer", severity=None):
    case = {"id": f"{number:032x}", "inspection": None, "source": f"{number}.png", "image": f"{number:064x}"}
    case |= {"part": None, "category": category, "defect_type": "stain", "region": None, "at": float(number)}
    crop = picture(colour) if crop is None else crop
    store.cases.put(case | {"crop": crop, "crop_type": "image/png"}, {"image": bytes(4)}, "s")
    store.cases.describe(case["id"], {"severity": severity}, by="Ana", key="k")


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    for number, colour in enumerate(COLOURS.values(), 1):
        put(opened, number, colour, severity=number)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return Embedder(embedder_file(tmp_path_factory.mktemp("pair")), threads=1)


def numbers(found):
    return [int(row["id"], 16) for row in found.cases]


def test_words_find_pictures_and_what_is_no_nearer_than_a_wrong_pair_is_not_shown(store, embedder):
    index = PictureIndex(store.cases, embedder)
    assert embedder.least == pytest.approx(np.sqrt(0.5), abs=0.01)  # yellow is halfway between red and green
    for number, name in enumerate(COLOURS, 1):
        found = index.search(f"a {name} stain", limit=9)
        assert numbers(found)[0] == number
        assert found.cases[0]["similarity"] == pytest.approx(1.0, abs=0.01)
        assert all(row["similarity"] > embedder.least for row in found.cases)
        assert found.useful
    pale = index.search("a stain", limit=9)  # of no colour, thus grey: nearest to yellow
    assert pale.nearest > embedder.least
    assert numbers(index.search("blue", Filters(category="brick"), limit=9)) == []
    assert numbers(index.search("blue", Filters(min_severity=4), limit=9)) == []
    nothing = index.search("blue", Filters(min_severity=4), limit=9)
    assert not nothing.useful
    assert nothing.nearest < embedder.least
    assert numbers(index.search("green " * 10_000, limit=1)) == [2]


def test_new_pictures_are_embedded_a_few_at_a_time_kept_and_embedded_anew_where_they_change(store, embedder):
    for number in range(5, 5 + AT_ONCE):
        put(store, number, "blue")
    store.cases.describe(f"{1:032x}", {"cause": "x"}, by="Ana", key="k")
    found = PictureIndex(store.cases, embedder).search("blue", limit=50)
    assert (len(found.cases), found.waiting) == (AT_ONCE, 4)
    found = PictureIndex(store.cases, embedder).search("blue", limit=50)  # another process goes on
    assert (len(found.cases), found.waiting) == (AT_ONCE + 1, 0)
    index = PictureIndex(store.cases, embedder)
    assert list(index.embed_all()) == []
    put(store, 1, "blue")
    assert 1 in numbers(index.search("blue", limit=50))
    assert numbers(index.search("red", limit=50)) == [4]  # the yellow one
    put(store, 2, "green", crop=b"no picture")
    outcomes = dict(index.embed_all())
    assert "cannot be read" in outcomes[f"{2:032x}"]
    assert index.search("green", limit=50).waiting == 0
    assert list(index.embed_all()) == []


def test_a_picture_that_gives_no_number_is_left_out_and_the_others_are_found(store, tmp_path):
    huge = listed(image_half(tmp_path / "huge.onnx", scale=1e38)) | {"mean": [0.5, 0.5, 0.5], "std": [1e-3, 1, 1]}
    with pytest.raises(ConfigError, match="not finite"):
        Embedder(embedder_file(tmp_path, image=huge))
    embedder = Embedder(embedder_file(tmp_path))
    put(store, 9, "black")  # whose mean colour has no direction
    index = PictureIndex(store.cases, embedder)
    assert numbers(index.search("red", limit=1)) == [1]
    assert dict(index.embed_all()) == {}
    with pytest.raises(ImageError, match="no direction"):
        embedder.picture(np.zeros((4, 4, 3), dtype=np.uint8), "black")


def others(folder):
    """Descriptions that must be refused, each with what the message says."""
    pair = {"image": listed(image_half(folder / "i.onnx")) | OF_IMAGE, "text": listed(text_half(folder / "t.onnx"))}
    turned_text = listed(text_half(folder / "turned_text.onnx", turn=TURN))
    turned_image = listed(image_half(folder / "turned_image.onnx", turn=TURN)) | OF_IMAGE
    wide = listed(image_half(folder / "wide.onnx", turn=np.ones((3, 5)))) | OF_IMAGE
    open_size = listed(image_half(folder / "open.onnx", side="s")) | OF_IMAGE
    check = json.loads(embedder_file(folder / "plain").read_text())["check"]
    check = [one | {"file": f"plain/{one['file']}"} for one in check]
    swapped = [one | {"words": two["words"]} for one, two in zip(check, [check[1], check[0], *check[2:]], strict=True)]
    yield {"text": turned_text}, ConfigError, "not of one space"
    yield {"image": turned_image}, ConfigError, "not of one space"
    yield {"image": pair["text"] | OF_IMAGE, "text": listed(folder / "i.onnx")}, ConfigError, r"\(n, 3, h, w\)"
    yield {"text": listed(folder / "i.onnx")}, ConfigError, "swapped"
    yield {"image": wide}, ConfigError, "halves of one space give the same number"
    yield {"check": swapped}, ConfigError, "or the check is wrong"
    yield {"check": check[:3]}, ConfigError, "4 to 64"
    yield {"check": [*check[:3], check[3] | {"words": check[0]["words"]}]}, ConfigError, "no other picture"
    yield {"check": [*check[:3], check[3] | {"sha256": "0" * 64}]}, IntegrityError, "another file"
    yield {"image": open_size}, ConfigError, "size is"
    yield {"image": pair["image"] | {"size": [16, 16]}}, ConfigError, "the network sees"
    yield {"image": pair["image"] | {"std": [0, 1, 1]}}, ConfigError, "above 0"
    yield {"image": pair["image"] | {"mean": [0, 1]}}, ConfigError, "three numbers"
    yield {"image": pair["image"] | {"output": "other"}}, ConfigError, "name one of vector"
    yield {"image": pair["image"] | {"sha256": "0" * 64}}, IntegrityError, "another file"
    yield {"image": pair["image"] | {"sha256": "x"}}, ConfigError, "64 hexadecimal"
    yield {"image": pair["image"] | {"file": "none.onnx"}}, IntegrityError, "cannot be read"
    yield {"image": pair["image"] | {"more": 1}}, ConfigError, "expected an object with"
    yield {"text": listed(folder / "plain/red.png")}, IntegrityError, "cannot load"
    yield {"tokenizer": listed(folder / "plain/red.png")}, IntegrityError, "no tokenizer"
    yield {"tokenizer": None}, ConfigError, "expected an object with"
    yield {"unknown": 1}, ConfigError, "expected an object with"


def test_what_is_not_a_pair_of_one_space_is_refused_with_a_reason(tmp_path):
    tokenizer(tmp_path / "tokenizer.json")
    count = 0
    for changes, error, message in others(tmp_path):
        path = embedder_file(tmp_path, **changes)
        with pytest.raises(error, match=message):
            Embedder(path, threads=1)
        count += 1
    assert count == 22
    (tmp_path / "embedder.json").write_text("[1]")
    with pytest.raises(ConfigError, match="cannot be read"):
        Embedder(tmp_path / "embedder.json")


def test_the_description_in_the_documentation_is_one(tmp_path):
    text = (Path(__file__).parents[2] / "docs/cases.md").read_text()
    described = json.loads(re.search(r"```json\n(\{.*?\n\})\n```", text, re.DOTALL)[1])
    own = json.loads(embedder_file(tmp_path).read_text())
    for half in ("image", "text", "tokenizer"):
        described[half] |= {name: own[half][name] for name in ("file", "sha256")}
    described["check"] = [shown | ours for shown, ours in zip(described["check"], own["check"], strict=True)]
    (tmp_path / "embedder.json").write_text(json.dumps(described))
    assert 0 < Embedder(tmp_path / "embedder.json", threads=1).least < 1


def test_weights_in_another_file_are_refused(tmp_path):
    import onnx

    path = image_half(tmp_path / "image.onnx", turn=np.ones((3, 3)))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(IntegrityError, match="lies in another file"):
        Embedder(embedder_file(tmp_path / "pair", image=listed(path) | OF_IMAGE | {"file": "../image.onnx"}))


def test_what_was_checked_at_the_start_is_used_though_the_files_are_gone(tmp_path):
    folder = tmp_path / "pair"
    embedder = Embedder(embedder_file(folder, text=listed(text_half(tmp_path / "t", length="l")) | {"file": "../t"}))
    before = embedder.words("a red stain"), embedder.picture(np.full((4, 4, 3), 9, dtype=np.uint8), "grey")
    for path in folder.iterdir():
        path.write_bytes(b"x")
        path.unlink()
    again = embedder.words("red stain a"), embedder.picture(np.full((4, 4, 3), 9, dtype=np.uint8), "grey")
    np.testing.assert_allclose(again, before, atol=1e-6)


def test_the_command_embeds_all_pictures_and_finds_them(store, tmp_path, capsys):
    data, path = ["--data", str(store.images.folder.parent)], str(embedder_file(tmp_path / "pair"))
    assert main(["cases", "update", "--embedder", path, *data]) == 0
    assert "4 pictures of cases can be found by words now" in capsys.readouterr().out
    assert main(["cases", "search", "blue", "stain", "--embedder", path, "--json", *data]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [int(case["id"], 16) for case in answer["cases"]] == [3]
    assert answer["meaning"]["waiting"] == 0
    for words in (["update"], ["update", "--embedder", path, "--bundle", "b"], ["search", "x", "--rerank"]):
        with pytest.raises(SystemExit, match="2"):
            main(["cases", *words, *(["--embedder", path] if words[0] == "search" else []), *data])
