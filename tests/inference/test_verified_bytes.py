"""What was checked is what is used: a file is read once, and neither links nor other files get in between."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gonogo import files
from gonogo.errors import IntegrityError
from gonogo.files import SCHEMA, open_sealed, read_sealed, seal, write_text
from gonogo.inference import bundle as bundle_module
from gonogo.inference.bundle import pack, read_bundle, unpack
from gonogo.inference.scorer import Scorer
from gonogo.inference.self_contained import require_self_contained

IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture
def changed_once_read(monkeypatch):
    """Someone who changes every file as soon as it was read, and the names of the files that were read."""
    real, read = files.regular_bytes, []

    def regular_bytes(path, **limits):
        data = real(path, **limits)
        read.append(path.name)
        path.write_bytes(b"changed")
        return data

    for module in (files, bundle_module):
        monkeypatch.setattr(module, "regular_bytes", regular_bytes)
    return read


@pytest.mark.parametrize("packed", [False, True])
def test_a_bundle_that_changes_after_its_check_scores_as_the_one_that_was_checked(
    packed, bundle, tmp_path, changed_once_read
):
    expected = Scorer(shutil.copytree(bundle, tmp_path / "first")).score_one(IMAGE, "a").score
    place = shutil.copytree(bundle, tmp_path / "second")
    if packed:
        pack(shutil.copytree(bundle, tmp_path / "third"), tmp_path / "b.gonogo")
        place = tmp_path / "b.gonogo"
    changed_once_read.clear()
    assert Scorer(place).score_one(IMAGE, "a").score == expected
    assert len(changed_once_read) == len(set(changed_once_read))


def test_a_state_of_a_training_that_changes_after_its_check_is_the_one_that_was_checked(tmp_path, changed_once_read):
    torch = pytest.importorskip("torch", reason="no torch, which the scoring install leaves out")
    from gonogo.detectors.training.checkpoints import Checkpoints

    saved = Checkpoints(tmp_path, {"seed": 1})
    saved.save({"w": torch.arange(3.0)}, {"epoch": 4})
    tensors, facts = saved.load()
    assert (tensors["w"].tolist(), facts) == ([0, 1, 2], {"epoch": 4})
    assert changed_once_read == ["manifest.json", "1.safetensors"]


def test_weights_that_change_after_their_check_are_those_that_were_checked(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="no torch, which the scoring install leaves out")
    from gonogo.detectors.backbones import backbone as module

    module.import_torchvision()
    import timm

    weights, real, seen = tmp_path / "w.pth", module.Backbone._create, []
    torch.save(timm.create_model("resnet18").state_dict(), weights)
    sha256 = files.sha256_of(weights)

    def create(self, **options):
        if "pretrained_cfg_overlay" in options:  # checked, and not loaded yet
            weights.write_bytes(b"changed")
            seen.append(Path(options["pretrained_cfg_overlay"]["file"]))
        return real(self, **options)

    monkeypatch.setattr(module.Backbone, "_create", create)
    module.Backbone("resnet18", [1], 64).load(str(weights), sha256)
    assert seen[0].name == "w.pth"
    assert not seen[0].exists()


def test_a_file_that_the_manifest_does_not_list_is_not_opened(bundle, tmp_path):
    place = shutil.copytree(bundle, tmp_path / "bundle")
    os.mkfifo(place / "gauge.onnx.data")  # whoever opens it waits for ever
    assert set(read_bundle(place).files) == set(read_sealed(bundle)["files"])
    assert Scorer(place).score_one(IMAGE, "a").score


def test_a_listed_file_that_is_a_pipe_is_refused_and_does_not_hang(bundle, tmp_path):
    place = shutil.copytree(bundle, tmp_path / "bundle")
    (place / "gauge.onnx").unlink()
    os.mkfifo(place / "gauge.onnx")
    with pytest.raises(IntegrityError, match=r"gauge\.onnx cannot be read: it is a pipe, no regular file"):
        read_bundle(place)


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="no onnx, which the scoring install leaves out")


def nested(onnx, tensor, depth):
    """A graph that holds a tensor in a constant, inside of `depth` bodies of an If."""
    graph = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
    for _ in range(depth):
        node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)
        graph = onnx.helper.make_graph([node], "outer", [], [])
    return graph


@pytest.mark.parametrize("place", ["initializer", "constant", "inside", "sparse", "function"])
@pytest.mark.parametrize("external", [True, False])
def test_a_network_whose_weights_lie_in_another_file_is_refused_wherever_they_are_named(place, external, onnx):
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    if external:
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../other.bin")
    graph = nested(onnx, tensor, {"constant": 0, "inside": 5}.get(place, 0))
    if place in ("initializer", "sparse", "function"):
        graph = onnx.helper.make_graph([], "graph", [], [], initializer=[tensor] if place == "initializer" else [])
    model = onnx.helper.make_model(graph, doc_string="the location of every tensor is here")
    if place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    if place == "function":
        model.functions.add(name="f").node.add(op_type="Constant").attribute.add(name="value", type=4).t.CopyFrom(
            tensor
        )
    if external:
        with pytest.raises(IntegrityError, match="the gauge: a tensor of the network lies in another file"):
            require_self_contained(model.SerializeToString(), "the gauge")
    else:
        require_self_contained(model.SerializeToString(), "the gauge")


def test_a_signed_bundle_with_external_weights_is_refused_even_if_the_manifest_lists_them(bundle, tmp_path, onnx):
    place = shutil.copytree(bundle, tmp_path / "bundle")
    model = onnx.load(place / "gauge.onnx")
    (place / "gauge.onnx").unlink()
    onnx.save(model, place / "gauge.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    for listed in (["gauge.onnx"], ["gauge.onnx", "weights"]):
        seal(place, {key: value for key, value in read_sealed(bundle).items() if key != "files"}, listed)
        with pytest.raises(IntegrityError, match="lies in another file, which no manifest covers"):
            Scorer(place)


def test_neither_links_nor_leftovers_get_into_what_is_packed_and_unpacked(bundle, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("b.gonogo.partial", "b.gonogo"):
        (tmp_path / name).symlink_to(victim)
    pack(bundle, tmp_path / "b.gonogo")
    assert not (tmp_path / "b.gonogo").is_symlink()
    stale = tmp_path / "out.partial"
    stale.mkdir()
    (stale / "stale.json").write_text("{}")
    (stale / "gauge.onnx").symlink_to(victim)
    unpack(tmp_path / "b.gonogo", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(read_bundle(bundle).contents)
    assert victim.read_text() == "mine"
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "out.partial").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b.gonogo", "b.gonogo.partial", "out", "out.partial", "victim"
    ]  # fmt: skip


def test_a_text_is_written_through_no_link_and_leaves_nothing_where_it_fails(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "m.json.partial").symlink_to(victim)
    write_text(tmp_path / "m.json", json.dumps({"a": 1}))
    assert (victim.read_text(), (tmp_path / "m.json").read_text()) == ("mine", '{"a": 1}')
    monkeypatch.setattr(type(tmp_path), "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_text(tmp_path / "m.json", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.json", "m.json.partial", "victim"]


def test_a_sealed_folder_gives_the_bytes_that_it_checked(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one")
    seal(tmp_path, {"schema": SCHEMA, "what": "test"}, ["a.txt"])
    sealed = open_sealed(tmp_path)
    assert (sealed.content["what"], dict(sealed.files)) == ("test", {"a.txt": b"one"})
    assert sealed.manifest == (tmp_path / "manifest.json").read_bytes()
