"""A signed bundle: whoever holds the public key knows that nothing in it was changed since it was signed."""

import json
import shutil
import stat
import sys

import pytest

from gonogo.cli.main import main
from gonogo.errors import DataError, IntegrityError, MissingExtraError
from gonogo.files import read_sealed, seal
from gonogo.inference.bundle import _packed, pack, read_bundle, sign, unpack
from gonogo.inference.scorer import Scorer
from gonogo.inference.signature import make_key

pytest.importorskip("cryptography", reason="needs gonogo[sign]")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """(private, public) of the maker, and of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    return [(folder / name, make_key(folder / name)) for name in ("ours", "theirs")]


@pytest.fixture
def signed(bundle, keys, tmp_path):
    """A signed folder."""
    shutil.copytree(bundle, tmp_path / "bundle")
    sign(tmp_path / "bundle", keys[0][0])
    return tmp_path / "bundle"


def test_a_key_is_its_owners_alone_and_is_never_written_over(keys):
    private, public = keys[0]
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert public.name == "ours.pub"
    with pytest.raises(DataError, match="cannot be written: File exists"):
        make_key(private)


def test_what_is_signed_is_trusted_by_its_key_in_a_folder_and_in_one_file_and_is_the_same_bundle(
    signed, bundle, keys, tmp_path
):
    pack(signed, tmp_path / "one.gonogo")
    unpack(tmp_path / "one.gonogo", tmp_path / "again")
    fingerprint = read_bundle(bundle).fingerprint
    for place in (signed, tmp_path / "one.gonogo", tmp_path / "again"):
        read = read_bundle(place, trust=keys[0][1])
        assert read.fingerprint == fingerprint
        assert read.signer is not None
    assert Scorer(tmp_path / "one.gonogo", trust=keys[0][1]).signer == read.signer


def test_signing_the_one_file_gives_what_packing_the_signed_folder_gives(signed, bundle, keys, tmp_path):
    pack(bundle, tmp_path / "a.gonogo")
    sign(tmp_path / "a.gonogo", keys[0][0])
    pack(signed, tmp_path / "b.gonogo")
    assert (tmp_path / "a.gonogo").read_bytes() == (tmp_path / "b.gonogo").read_bytes()


def test_without_a_signature_or_with_anothers_it_is_refused(signed, bundle, keys):
    with pytest.raises(IntegrityError, match="is not signed"):
        read_bundle(bundle, trust=keys[0][1])
    with pytest.raises(IntegrityError, match="is signed with the key"):
        read_bundle(signed, trust=keys[1][1])
    sign(signed, keys[1][0])  # in place of the first
    assert read_bundle(signed, trust=keys[1][1])


def test_a_bundle_whose_hashes_were_made_right_again_is_refused_by_its_signature(signed, keys):
    content = read_sealed(signed)
    content["threshold"]["threshold"] *= 2
    seal(signed, content, content.pop("files"))
    assert read_bundle(signed)
    with pytest.raises(IntegrityError, match="the signature is not of this manifest"):
        read_bundle(signed, trust=keys[0][1])


def test_any_changed_byte_of_the_signature_is_refused(signed, keys):
    whole = (signed / "signature.json").read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        (signed / "signature.json").write_bytes(bytes(changed))
        with pytest.raises(IntegrityError):
            read_bundle(signed, trust=keys[0][1])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"algorithm": "none", "key": "", "signature": ""}'])
def test_a_signature_that_is_none_is_refused_without_a_key_too(signed, content, tmp_path):
    (signed / "signature.json").write_bytes(content)
    with pytest.raises(IntegrityError):
        read_bundle(signed)
    files = {path.name: path.read_bytes() for path in signed.iterdir()}
    (tmp_path / "one.gonogo").write_bytes(_packed(files))
    with pytest.raises(IntegrityError):
        read_bundle(tmp_path / "one.gonogo")


def test_a_file_that_is_no_key_is_said_to_be_none(signed, keys, tmp_path):
    (tmp_path / "none").write_text("not a key")
    for place in (tmp_path / "none", tmp_path / "nowhere", keys[0][1]):
        with pytest.raises(DataError, match="is not a private key"):
            sign(signed, place)
    for place in (tmp_path / "none", tmp_path / "nowhere", keys[0][0]):
        with pytest.raises(DataError, match="is not a public key"):
            read_bundle(signed, trust=place)


def test_keys_of_another_kind_are_refused(signed, tmp_path):
    from cryptography.hazmat.primitives import serialization as as_
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

    key = Ed448PrivateKey.generate()
    (tmp_path / "key").write_bytes(key.private_bytes(as_.Encoding.PEM, as_.PrivateFormat.PKCS8, as_.NoEncryption()))
    public = key.public_key().public_bytes(as_.Encoding.PEM, as_.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public").write_bytes(public)
    with pytest.raises(DataError, match="of another algorithm"):
        sign(signed, tmp_path / "key")
    with pytest.raises(DataError, match="of another algorithm"):
        read_bundle(signed, trust=tmp_path / "public")


def test_by_the_command_keys_are_made_bundles_signed_and_only_trusted_ones_used(bundle, digits, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "b")
    key, place = tmp_path / "key", str(tmp_path / "b")
    image = str(digits.path_of(digits.with_role("test")[0]))
    assert main(["bundle", "key", str(key), "--json"]) == 0
    public = json.loads(capsys.readouterr().out)["public"]
    for words in (["verify", place], ["score", place, image], ["explain", place, image]):
        assert main([*words, "--trust", public]) == 4
        assert "is not signed" in capsys.readouterr().err
    assert main(["bundle", "sign", place, "--key", str(key), "--json"]) == 0
    signer = json.loads(capsys.readouterr().out)["signer"]
    assert main(["verify", place, "--trust", public]) == 0
    assert f"ok  signed with the key {signer}" in capsys.readouterr().out
    assert main(["verify", place]) == 0
    assert f"not checked: the signature with the key {signer}; --trust" in capsys.readouterr().out
    for words in (["score", place, image], ["explain", place, image]):
        assert main([*words, "--trust", public]) in (0, 1)


def test_without_the_library_only_what_needs_it_fails(signed, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    assert read_bundle(signed).signer is not None
    with pytest.raises(MissingExtraError, match=r"gonogo\[sign\]"):
        read_bundle(signed, trust=keys[0][1])
