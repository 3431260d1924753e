"""What the store writes is whole on the disk, what nothing refers to is removed, and other databases are refused."""

import hashlib
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

for package in ("sqlalchemy", "alembic"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[serve]'")

# ruff: noqa: E402
from gonogo.errors import DataError, MissingExtraError
from gonogo.store.store import Store


def test_a_file_without_a_row_is_removed_when_it_is_old(tmp_path):
    store = Store(tmp_path)
    for name in ("aa", "bb"):
        store.images.path_of(name * 32).write_bytes(b"x")
    os.utime(store.images.path_of("aa" * 32), (0, 0))
    assert store.remove_orphans() == 1
    assert [path.name[:2] for path in store.images.paths()] == ["bb"]
    store.close()


def test_an_orphan_that_is_sent_again_is_young_again(tmp_path):
    store, data = Store(tmp_path), b"an image"
    path = store.images.path_of(hashlib.sha256(data).hexdigest())
    path.write_bytes(data)
    os.utime(path, (0, 0))
    store.images.write(path.name, data)  # its row is still to come
    assert store.remove_orphans() == 0
    assert path.read_bytes() == data
    store.close()


def test_what_other_users_could_read_is_private_after_the_store_was_opened(tmp_path):
    folder = tmp_path / "store"
    Store(folder).close()
    (folder / "images/aa/old").write_bytes(b"x")
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)
    store = Store(folder)
    sha256 = hashlib.sha256(b"new").hexdigest()
    store.images.write(sha256, b"new")
    store.remove_orphans()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {store.images.path_of(sha256), folder / "images/aa/old", folder / "inspections.sqlite"} <= set(modes)
    assert {modes[path] for path in modes if path.is_dir()} == {0o700}
    assert {modes[path] for path in modes if path.is_file()} == {0o600}
    store.close()


def test_a_folder_with_other_things_stays_as_it_is_and_the_images_in_it_are_private(tmp_path, caplog):
    (tmp_path / "page.html").write_text("for everyone")
    tmp_path.chmod(0o755)
    Store(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o700
    assert "other users can list it" in caplog.text


def test_an_image_that_is_written_many_times_at_once_is_whole_and_nothing_else_is_left(tmp_path):
    store, data = Store(tmp_path), os.urandom(300_000)
    name = hashlib.sha256(data).hexdigest()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.images.write(name, data), range(40)))
    (path,) = store.images.paths()
    assert path == store.images.path_of(name)
    assert path.read_bytes() == data
    store.close()


def test_a_file_that_a_cut_of_power_left_without_its_bytes_is_written_again(tmp_path):
    store, data = Store(tmp_path), os.urandom(30_000)
    name = hashlib.sha256(data).hexdigest()
    for left in (b"", bytes(len(data))):
        store.images.path_of(name).write_bytes(left)
        store.images.write(name, data)
        assert store.images.path_of(name).read_bytes() == data
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+pymysql://me@127.0.0.1/rows", "--database names mysql; expected sqlite or postgresql"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("rows", "cannot be kept here"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/rows", r"me:\*\*\*@127.0.0.1:1/rows: the inspections cannot be"),
    ],
)
def test_a_database_that_keeps_nothing_is_refused_and_no_password_is_shown(tmp_path, url, message):
    with pytest.raises(DataError, match=message) as refused:
        Store(tmp_path, url)
    assert "secret" not in str(refused.value)


def test_a_database_whose_driver_is_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"postgresql\+psycopg: .*psycopg.*; pip install 'gonogo\[postgres\]'"):
        Store(tmp_path, "postgresql+psycopg://me@127.0.0.1/rows")
