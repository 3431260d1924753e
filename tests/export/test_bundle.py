"""One file of a bundle, and a hundred bundles that are none: each is refused with a sentence that says why."""

import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from gonogo.cli.main import main
from gonogo.errors import DataError, IntegrityError
from gonogo.files import combined_sha256, parse_sealed, read_sealed, seal
from gonogo.inference.bundle import _packed, pack, read_bundle, unpack
from gonogo.inference.scorer import Scorer

NO_ONNX = "no onnx, which the scoring install leaves out"
FILES = ["manifest.json", "gauge.onnx", "model_card.md", "parity.json"]  # in the order of a packed bundle


@pytest.fixture(scope="module")
def packed(bundle, tmp_path_factory):
    """The digits' bundle as one file."""
    path = tmp_path_factory.mktemp("packed") / "gauge.gonogo"
    pack(bundle, path)
    return path


@pytest.fixture(scope="module")
def image(digits):
    return digits.path_of(next(record for record in digits.with_role("test") if record.label == 1))


def test_one_file_judges_as_its_folder_does_and_is_the_same_bytes_each_time(bundle, packed, image, tmp_path):
    one, other = Scorer(packed), Scorer(bundle)
    assert one.score_image(image).score == other.score_image(image).score
    assert (one.fingerprint, one.manifest) == (other.fingerprint, other.manifest)
    pack(bundle, tmp_path / "again.gonogo")
    assert (tmp_path / "again.gonogo").read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == FILES


def test_packed_and_unpacked_by_the_command_it_is_the_same_folder(bundle, tmp_path, capsys):
    file, folder = tmp_path / "a.gonogo", tmp_path / "a"
    assert main(["bundle", "pack", str(bundle), str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "out": str(file)}
    assert main(["bundle", "unpack", str(file), str(folder)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in bundle.iterdir()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.gonogo"]


def test_nothing_that_is_there_is_written_over_and_no_bad_bundle_is_packed(bundle, packed, tmp_path):
    with pytest.raises(DataError, match="exists already"):
        unpack(packed, bundle)
    with pytest.raises(DataError, match=r"ends in \.gonogo"):
        pack(bundle, tmp_path / "a.zip")
    with pytest.raises(IntegrityError, match="is not a file"):
        unpack(tmp_path / "none.gonogo", tmp_path / "a")
    with pytest.raises(IntegrityError, match="is not a folder"):
        pack(packed, tmp_path / "a.gonogo")
    shutil.copytree(bundle, tmp_path / "bad")
    (tmp_path / "bad/gauge.onnx").write_bytes(b"")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        pack(tmp_path / "bad", tmp_path / "a.gonogo")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def zipped(entries):
    """A zip of (name, content, changes of its entry), as anyone may make one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content, changes in entries:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            for key, value in changes.items():
                setattr(entry, key, value)
            archive.writestr(entry, content)
    return file.getvalue()


@pytest.fixture(scope="module")
def contents(bundle):
    """The bundle's files by name."""
    return {name: (bundle / name).read_bytes() for name in FILES}


def edited(contents, tmp_path, **changes):
    """The files with a manifest that says something else, and whose own hash is right again."""
    body = parse_sealed(contents["manifest.json"], tmp_path) | changes
    for name in FILES:
        (tmp_path / name).write_bytes(contents[name])
    seal(tmp_path, {key: value for key, value in body.items() if key != "files"}, FILES[1:])
    return contents | {"manifest.json": (tmp_path / "manifest.json").read_bytes()}


def rehashed(contents, tmp_path, gauge):
    """The files with another network, which the manifest's hashes allow."""
    for name, data in (contents | {"gauge.onnx": gauge}).items():
        (tmp_path / name).write_bytes(data)
    body = parse_sealed(contents["manifest.json"], tmp_path)
    seal(tmp_path, {key: value for key, value in body.items() if key != "files"}, FILES[1:])
    return {name: (tmp_path / name).read_bytes() for name in contents}


def entries_of(contents, **changes):
    return [(name, data, changes if name == "gauge.onnx" else {}) for name, data in contents.items()]


def with_entry(name, data=b"x", **changes):
    return lambda contents, _: zipped([*entries_of(contents), (name, data, changes)])


def renamed(name):
    return lambda contents, _: zipped(
        [(name if old == "gauge.onnx" else old, data, {}) for old, data in contents.items()]
    )


def other_threshold(contents, tmp_path):
    threshold = parse_sealed(contents["manifest.json"], tmp_path)["threshold"]
    return _packed(edited(contents, tmp_path, threshold=threshold | {"threshold": 1e9}))


def other_files(value):
    def made(contents, tmp_path):
        body = parse_sealed(contents["manifest.json"], tmp_path) | {"files": value}
        sealed = body | {"manifest_sha256": combined_sha256(body)}
        return _packed(contents | {"manifest.json": json.dumps(sealed).encode()})

    return made


def other_network(contents, tmp_path):
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    proto = onnx.load_from_string(contents["gauge.onnx"])
    for prop in proto.metadata_props:
        if prop.key == "gonogo.category":
            prop.value = '"bolt"'
    return _packed(rehashed(contents, tmp_path, proto.SerializeToString()))


def silent_network(contents, tmp_path):
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    proto = onnx.load_from_string(contents["gauge.onnx"])
    del proto.metadata_props[:]
    return _packed(rehashed(contents, tmp_path, proto.SerializeToString()))


def bomb(contents, _):
    """Entries that all claim the same bytes again and again: small here, huge when read."""
    data = bytearray(_packed(contents))
    start = data.index(b"PK\x01\x02", data.index(contents["gauge.onnx"]) + len(contents["gauge.onnx"]))
    for _ in range(2):
        place = data.index(b"PK\x01\x02", start)
        data[place + 20 : place + 28] = (2**31).to_bytes(4, "little") * 2
        start = place + 4
    return bytes(data)


LINK = {"external_attr": (stat.S_IFLNK | 0o777) << 16}
MADE = {
    "a name that climbs": with_entry("../outside.txt"),
    "a name that climbs later": with_entry("a/../../outside.txt"),
    "an absolute name": with_entry("/etc/outside.txt"),
    "a name with a drive": with_entry("C:outside.txt"),
    "a name with backslashes": with_entry("..\\outside.txt"),
    "a folder": with_entry("thumbnails/", b""),
    "a hidden file": with_entry(".hidden"),
    "a name of dots": with_entry(".."),
    "a file that is not listed": with_entry("zz.txt"),
    "a link": with_entry("link", b"/etc/passwd", **LINK),
    "a device": with_entry("device", b"", external_attr=(stat.S_IFCHR | 0o666) << 16),
    "the network as a link": lambda contents, _: zipped(entries_of(contents, **LINK)),
    "the network compressed": lambda contents, _: zipped(entries_of(contents, compress_type=zipfile.ZIP_DEFLATED)),
    "a bomb of zeros": with_entry("zeros", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED),
    "a bomb of claims": bomb,
    "too many files": lambda contents, _: zipped(
        [*entries_of(contents), *((f"f{number}", b"", {}) for number in range(200))]
    ),
    "the network twice": with_entry("gauge.onnx"),
    "the manifest twice": with_entry("manifest.json", b"{}"),
    "the network in capitals, too": with_entry("GAUGE.ONNX"),
    "no manifest": lambda contents, _: zipped([entry for entry in entries_of(contents) if entry[0] != "manifest.json"]),
    "no network": lambda contents, _: zipped([entry for entry in entries_of(contents) if entry[0] != "gauge.onnx"]),
    "the network under another name": renamed("other.onnx"),
    "an order of its own": lambda contents, _: zipped(reversed(entries_of(contents))),
    "a date": lambda contents, _: zipped(entries_of(contents, date_time=(2026, 1, 1, 0, 0, 0))),
    "a comment": lambda contents, _: _packed(contents)[:-2] + b"\2\0hi",
    "bytes before": lambda contents, _: b"#!/bin/sh\n" + _packed(contents),
    "bytes behind": lambda contents, _: _packed(contents) + b"\0",
    "files swapped": lambda contents, _: _packed(
        contents | {"manifest.json": contents["gauge.onnx"], "gauge.onnx": contents["manifest.json"]}
    ),
    "no report, which the manifest lists": lambda contents, _: zipped(
        [entry for entry in entries_of(contents) if entry[0] != "parity.json"]
    ),
    "another report": lambda contents, _: _packed(contents | {"parity.json": b"{}"}),
    "a manifest that is a list": lambda contents, _: _packed(contents | {"manifest.json": b"[]"}),
    "an empty manifest": lambda contents, _: _packed(contents | {"manifest.json": b""}),
    "a manifest of deep lists": lambda contents, _: _packed(contents | {"manifest.json": b"[" * 100_000}),
    "a manifest edited": lambda contents, _: _packed(
        contents | {"manifest.json": contents["manifest.json"].replace(b'"rank": 1', b'"rank": 2')}
    ),
    "a threshold edited, its hash made right": other_threshold,
    "a category edited, its hash made right": lambda contents, tmp_path: _packed(
        edited(contents, tmp_path, category="bolt")
    ),
    "no threshold": lambda contents, tmp_path: _packed(edited(contents, tmp_path, threshold=None)),
    "a threshold without scores": lambda contents, tmp_path: _packed(
        edited(contents, tmp_path, threshold={"threshold": 1.0})
    ),
    "regions that are none": lambda contents, tmp_path: _packed(edited(contents, tmp_path, regions=[])),
    "another format": lambda contents, tmp_path: _packed(edited(contents, tmp_path, schema=99)),
    "files that are a list": other_files(["gauge.onnx"]),
    "files outside": other_files({"../gauge.onnx": "00"}),
    "a number as a hash": other_files({"gauge.onnx": 7}),
    "a network of another bundle": other_network,
    "a network that says nothing of itself": silent_network,
    "a network that is none": lambda contents, tmp_path: _packed(rehashed(contents, tmp_path, b"no network")),
    "a network cut short": lambda contents, tmp_path: _packed(
        rehashed(contents, tmp_path, contents["gauge.onnx"][: len(contents["gauge.onnx"]) // 2])
    ),
    "an empty file": lambda *_: b"",
    "a picture": lambda *_: b"\x89PNG\r\n\x1a\n",
    "an empty zip": lambda *_: zipped([]),
}
FLIPPED = 40  # places of the file, evenly spaced, and those of its ends
CUT = 14  # lengths


def flipped(share, bit):
    def made(contents, _):
        data = bytearray(_packed(contents))
        data[int(share * (len(data) - 1))] ^= bit
        return bytes(data)

    return made


def at(offset, bit):
    """A bit flipped so many bytes from the beginning, or from the end."""

    def made(contents, _):
        data = bytearray(_packed(contents))
        data[offset] ^= bit
        return bytes(data)

    return made


MADE |= {f"bit flipped at {n} of {FLIPPED}": flipped(n / FLIPPED, 1 << n % 8) for n in range(FLIPPED + 1)}
MADE |= {f"bit flipped at byte {n}": at(n, 1) for n in (4, 6, 8, 10, 12, 28, -1, -3, -10, -12, -22)}
MADE |= {
    f"cut at {n} of {CUT}": lambda contents, _, n=n: _packed(contents)[: n * len(_packed(contents)) // CUT]
    for n in range(1, CUT)
}


# The sentence of those that another check would refuse, too, if the one for them were not there.
SAID = {
    "a name that climbs": "expected names of files, without a folder",
    "a link": "is a link or another special file",
    "the network twice": "expected each name once",
    "the network compressed": "the files of a bundle are not compressed",
    "too many files": "entries; a bundle has",
    "bytes behind": "other bytes than gonogo bundle pack writes",
    "a file that is not listed": "its manifest lists",
}


def test_there_are_a_hundred_of_them():
    assert len(MADE) >= 100


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", MADE)
def test_a_malformed_file_is_refused_with_a_sentence(kind, contents, tmp_path, capsys):
    (tmp_path / "work").mkdir()
    file = tmp_path / "bad.gonogo"
    file.write_bytes(MADE[kind](contents, tmp_path / "work"))
    assert main(["verify", str(file)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gonogo: ")
    assert "Traceback" not in err
    assert SAID.get(kind, "gonogo: ") in err
    assert len(err) > 40
    if kind not in AFTER_READING:
        with pytest.raises(IntegrityError):
            unpack(file, tmp_path / "unpacked")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.gonogo", "work"]


# Whole, with right hashes: only who loads them can see what they are.
AFTER_READING = {kind for kind in MADE if "its hash made right" in kind or kind.startswith(("a network", "no thresh"))}
AFTER_READING |= {"a threshold without scores", "regions that are none"}


@pytest.mark.parametrize("kind", sorted(AFTER_READING))
def test_in_a_folder_too(kind, contents, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "bad").mkdir()
    with zipfile.ZipFile(io.BytesIO(MADE[kind](contents, tmp_path / "work"))) as archive:
        archive.extractall(tmp_path / "bad")
    read_bundle(tmp_path / "bad")
    with pytest.raises(IntegrityError):
        Scorer(tmp_path / "bad")


def test_the_same_files_zipped_as_they_should_be_are_a_bundle(contents, tmp_path):
    """What the hundred differ from."""
    (tmp_path / "good.gonogo").write_bytes(zipped(entries_of(contents)))
    assert np.isfinite(Scorer(tmp_path / "good.gonogo").threshold)


def test_a_manifest_that_lists_a_file_outside_its_folder_is_refused_before_it_is_read(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    content = {key: value for key, value in read_sealed(bundle).items() if key != "files"}
    seal(tmp_path / "bundle", content, ["../bundle/gauge.onnx"])
    with pytest.raises(IntegrityError, match="expected the name of a file beside it"):
        read_sealed(tmp_path / "bundle")


BLOCKED = ("torch", "timm", "scipy", "sklearn", "skimage", "onnx", "pydantic", "ruamel", "pandas", "safetensors", "dvc",
           "jinja2", "torchvision", "pyarrow", "cv2", "rich")  # fmt: skip


def test_the_scoring_install_scores_explains_verifies_packs_and_knows_its_version(bundle, image, tmp_path):
    """All commands of the line in one process with every package of the pipeline blocked."""
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Refuse())
from gonogo.cli.main import main
bundle, image, folder = {str(bundle)!r}, {str(image)!r}, {str(tmp_path)!r}
pictures = ["--maps", folder + "/m", "--masks", folder + "/k", "--overlays", folder + "/o"]
print(main(["version"]), main(["verify", bundle]), main(["bundle", "pack", bundle, folder + "/a.gonogo"]),
      main(["score", folder + "/a.gonogo", image, "--out", folder + "/rows.jsonl", *pictures]),
      main(["verify", folder + "/a.gonogo", "--reference", folder + "/rows.jsonl"]),
      main(["explain", bundle, image, "--picture", folder + "/e.png"]),
      main(["score", bundle, image, "--csv", folder + "/rows.csv", "--sort", folder + "/s"]))
"""
    copy = tmp_path / "part.png"
    shutil.copy(image, copy)
    program = program.replace(repr(str(image)), repr(str(copy)))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "0 0 0 1 0 0 1"
    assert (tmp_path / "s/reject/part.png").is_file()
    assert "blocked" not in result.stderr
