"""A store is upgraded without loss, in order, by one service at a time, and completely or not at all."""

import hashlib
import json
import random
import runpy
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from storing import kept, live_a_while, url  # noqa: F401  skips where the extra is missing

# isort: split
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from gonogo.errors import DataError
from gonogo.store import upgrade as upgrading
from gonogo.store.schema import metadata
from gonogo.store.store import NewInspection, Store
from gonogo.store.upgrade import MIGRATIONS, revisions, upgrade

# ruff: noqa: F811  fixtures are imported, and then named

ROOT = Path(__file__).parents[2]
BEFORE = Path(__file__).parent / "before_revisions"
HEAD = "424d460000000000000036000000280000000200000002000000010018000000000010000000c40e0000c40e00000000000000000000"
IMAGES = [  # the files of rows.sql: BMPs of 2 x 2 pixels, red and green
    bytes.fromhex(HEAD + pixels) for pixels in ("0000ff0000ff00000000ff0000ff0000", "00800000800000000080000080000000")
]

NEWEST = revisions(MIGRATIONS)[-1]
NEXT, AFTER_NEXT = (f"{int(NEWEST) + step:04d}" for step in (1, 2))  # revisions that only these tests have
ADD_STATION = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{NEXT}", "{NEWEST}"
def upgrade():
    op.add_column("inspections", sa.Column("station", sa.String(200)))
    op.execute("UPDATE inspections SET station = 'station ' || name")
"""
# Needs the column of ADD_STATION, and on SQLite makes the table `images`, which rows refer to, anew.
ADD_STATIONS = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{AFTER_NEXT}", "{NEXT}"
def upgrade():
    op.create_table("stations", sa.Column("name", sa.String(200), primary_key=True))
    op.execute("INSERT INTO stations SELECT DISTINCT station FROM inspections WHERE station IS NOT NULL")
    with op.batch_alter_table("images", recreate="auto") as images:
        images.alter_column("format", type_=sa.String(16), existing_type=sa.String(8), existing_nullable=False)
"""


def run_sql(url, *texts):
    """Run scripts of SQL as they are, and commit."""
    engine = sa.create_engine(url)
    with closing(engine.raw_connection()) as connection:
        for text in texts:
            if engine.dialect.name == "sqlite":
                connection.executescript(text)
            else:
                connection.cursor().execute(text)
        connection.commit()
    engine.dispose()


def make_store_without_revisions(folder, url):
    """A store as gonogo left it before it had revisions, with its rows and its images."""
    backend = sa.make_url(url).get_backend_name()
    run_sql(url, (BEFORE / f"{backend}.sql").read_text(), (BEFORE / "rows.sql").read_text())
    for data in IMAGES:
        name = hashlib.sha256(data).hexdigest()
        path = folder / "images" / name[:2] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)


def contents(url):
    """All rows of all tables but Alembic's own, as they are in the database."""
    engine, reflected = sa.create_engine(url), sa.MetaData()
    reflected.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in reflected.tables.items()
            if name != "alembic_version"
        }
    engine.dispose()
    return found


def revision_in(url):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    engine.dispose()
    return found


@pytest.fixture
def migrations(tmp_path):
    """Copy the migrations and add further ones, given as the text of each file by its name."""

    def copied(**further):
        folder = tmp_path / f"migrations_{'_'.join(further) or 'copied'}"
        shutil.copytree(MIGRATIONS, folder)
        for name, text in further.items():
            number = NEXT if f'"{NEXT}", ' in text else AFTER_NEXT
            (folder / "versions" / f"{number}_{name}.py").write_text(text)
        return folder

    return copied


def upgrade_url(url, folder):
    engine = sa.create_engine(url)
    try:
        upgrade(engine, folder)
    finally:
        engine.dispose()


def test_a_store_from_before_there_were_revisions_is_upgraded_without_loss(tmp_path, url):
    make_store_without_revisions(tmp_path, url)
    before = contents(url)
    assert {name: len(rows) for name, rows in before.items()} == {
        "images": 2,
        "inspections": 3,
        "reviews": 2,
        "keys": 2,
        "activations": 1,
    }
    store = Store(tmp_path, url)
    after = contents(url)
    assert [row["seen"] for row in after.pop("clock")] == [max(row["at"] for row in before["inspections"])]
    assert [row.pop("newest") for row in after["images"]] == [
        max(row["id"] for row in before["inspections"] if row["image"] == image["sha256"]) for image in before["images"]
    ]
    assert [row.pop("category") for row in after["activations"]] == [None]
    assert [row.pop("latency_ms") for row in after["inspections"]] == [
        pytest.approx(sum(json.loads(row["timings_ms"]).values())) for row in before["inspections"]
    ]
    assert [row.pop("statistics") for row in after["inspections"]] == [None] * 3
    for column in ("boxes", "box_model"):
        assert [row.pop(column) for row in after["inspections"]] == [None] * 3
    assert {name: after[name] for name in before} == before
    assert revision_in(url) == [revisions()[-1]]

    rows = store.newest({}, before=None, limit=10)
    assert [row["verdict"] for row in rows] == ["reject", "pass", "reject"]
    assert [row["image_sha256"] for row in rows] == [hashlib.sha256(IMAGES[n]).hexdigest() for n in (0, 1, 0)]
    assert [store.images.path_of(row["image_sha256"]).read_bytes() for row in rows] == [IMAGES[n] for n in (0, 1, 0)]
    assert [(review["label"], review["reviewer"]) for review in rows[2]["reviews"]] == [
        ("defect", "Ana"),
        ("good", "Bo"),
    ]
    assert rows[2]["certificate"]["n_good_parts"] == 299
    assert [(key["name"], key["revoked"] is None) for key in store.all_keys()] == [
        ("camera 1", True),
        ("office", False),
    ]
    assert store.activated(started_with="b" * 64) == [("c" * 64, None)]

    image = {name: rows[0][f"image_{name}"] for name in ("sha256", "format", "n_bytes", "width", "height")}
    row = {column.name: rows[0][column.name] for column in metadata.tables["inspections"].columns}
    (identifier,) = store.add_inspections([NewInspection(row, image, IMAGES[0])])
    store.reviews.add(identifier, {"at": 1.8e9, "label": "good", "reviewer": "Ana", "key": "0123456789abcdef"})
    assert store.inspection(identifier)["reviews"][0]["id"] == 3
    store.close()


@pytest.mark.parametrize("seed", range(2))
def test_what_the_upgrade_counts_is_what_is_kept_as_it_happens(tmp_path, url, seed):
    store = Store(tmp_path, url)
    live_a_while(store, random.Random(seed))
    before = kept(store)
    store.close()
    revision = runpy.run_path(str(MIGRATIONS / "versions/0005_kept_counts.py"))
    engine = sa.create_engine(url)
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        for name in before:
            connection.exec_driver_sql(f"DROP TABLE {name}")
        connection.exec_driver_sql("DROP INDEX ix_inspections_id_name")
        revision["upgrade"]()
    engine.dispose()
    store = Store(tmp_path, url)
    assert kept(store) == before
    assert all(before.values())
    store.close()


def test_a_store_that_was_killed_while_it_made_its_first_tables_is_completed(tmp_path, url):
    backend = sa.make_url(url).get_backend_name()
    statements = (BEFORE / f"{backend}.sql").read_text().split("\n\n")
    run_sql(url, "\n".join(statements[:2]))
    assert set(contents(url)) < set(metadata.tables)
    Store(tmp_path, url).close()
    assert set(contents(url)) == set(metadata.tables)


@pytest.mark.parametrize("old", [False, True])
def test_the_newest_revision_is_what_the_queries_are_written_for(tmp_path, url, old):
    if old:
        make_store_without_revisions(tmp_path, url)
    Store(tmp_path, url).close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        sound = sa.inspect(connection)
        assert [one["referred_table"] for one in sound.get_foreign_keys("reviews")] == ["inspections"]
    engine.dispose()


def test_a_store_two_revisions_old_is_upgraded_through_both_in_order(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    Store(tmp_path, url).close()
    before = contents(url)
    upgrade_url(url, migrations(stations=ADD_STATIONS, station=ADD_STATION))
    after = contents(url)
    assert revision_in(url) == [AFTER_NEXT]
    assert [row["name"] for row in after.pop("stations")] == ["station part 1 again.bmp", "station part 1.bmp"]
    assert [row.pop("station") for row in after["inspections"]] == [
        "station part 1.bmp",
        None,
        "station part 1 again.bmp",
    ]
    assert after == before


def test_a_store_from_before_there_were_revisions_goes_through_all_of_them(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    before = contents(url)
    upgrade_url(url, migrations(station=ADD_STATION, stations=ADD_STATIONS))
    after = contents(url)
    assert revision_in(url) == [AFTER_NEXT]
    assert {name: len(rows) for name, rows in after.items() if name in before} == {
        name: len(rows) for name, rows in before.items()
    }


def test_a_store_of_a_newer_gonogo_is_refused_with_what_to_do_and_left_as_it_is(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    upgrade_url(url, migrations(station=ADD_STATION))
    before = contents(url)
    with pytest.raises(DataError, match=rf"revision {NEXT}, .* knows 0001 to {NEWEST}.*pip install.*restore the copy"):
        Store(tmp_path, url)
    assert contents(url) == before
    assert revision_in(url) == [NEXT]


def test_services_that_open_one_store_at_once_upgrade_it_once(tmp_path, url, migrations, monkeypatch):
    make_store_without_revisions(tmp_path, url)
    folder, n_services = migrations(station=ADD_STATION, stations=ADD_STATIONS), 4
    barrier, looked, look = threading.Barrier(n_services), threading.local(), upgrading._revision_of

    def look_together(connection):
        """All services see the old revision before one of them begins."""
        found = look(connection)
        if not hasattr(looked, "once"):
            looked.once = found
            barrier.wait(60)
        return found

    n_runs, run = [], upgrading._run_revisions
    monkeypatch.setattr(upgrading, "_revision_of", look_together)
    monkeypatch.setattr(upgrading, "_run_revisions", lambda *given: n_runs.append(1) or run(*given))
    with ThreadPoolExecutor(n_services) as pool:
        list(pool.map(lambda _: upgrade_url(url, folder), range(n_services)))
    assert len(n_runs) == 1
    assert revision_in(url) == [AFTER_NEXT]


def test_a_revision_that_fails_leaves_the_store_as_it_was(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    Store(tmp_path, url).close()
    before = contents(url)
    failing = ADD_STATIONS + "    raise RuntimeError('no further')\n"
    with pytest.raises(RuntimeError, match="no further"):
        upgrade_url(url, migrations(station=ADD_STATION, stations=failing))
    assert contents(url) == before
    assert revision_in(url) == [NEWEST]
    Store(tmp_path, url).close()


def test_a_service_that_is_killed_during_an_upgrade_leaves_the_store_as_it_was(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    before = contents(url)
    killed = ADD_STATIONS + "    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    folder = migrations(station=ADD_STATION, stations=killed)
    program = "import sys, pathlib, sqlalchemy; from gonogo.store.upgrade import upgrade\n"
    program += "upgrade(sqlalchemy.create_engine(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    ended = subprocess.run([sys.executable, "-c", program, url, str(folder)], capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    assert contents(url) == before
    upgrade_url(url, migrations(station=ADD_STATION))
    assert revision_in(url) == [NEXT]


def test_a_revision_that_loses_a_row_which_others_refer_to_is_undone(tmp_path, url, migrations):
    make_store_without_revisions(tmp_path, url)
    before = contents(url)
    loses = ADD_STATION + "    op.execute(\"DELETE FROM images WHERE sha256 LIKE '7%'\")\n"
    with pytest.raises((DataError, sa.exc.IntegrityError), match=r"refers to a row|still referenced"):
        upgrade_url(url, migrations(loses=loses))
    assert contents(url) == before


def test_tables_of_another_program_are_refused_and_left_as_they_are(tmp_path, url):
    run_sql(url, "CREATE TABLE keys (id INTEGER PRIMARY KEY, door VARCHAR(20))")
    with pytest.raises(DataError, match=r"its table keys has no column .*sha256.*--database"):
        Store(tmp_path, url)
    assert contents(url) == {"keys": []}


def test_a_start_with_nothing_to_upgrade_does_without_alembic(tmp_path, url):
    Store(tmp_path, url).close()
    program = "import sys, pathlib; from gonogo.store.store import Store\n"
    program += "Store(pathlib.Path(sys.argv[1]), sys.argv[2]).close(); print('alembic' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), url], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False\n"


def test_revisions_are_one_line_in_the_order_of_their_file_names():
    directory = ScriptDirectory(str(MIGRATIONS))
    found = [script.revision for script in directory.walk_revisions()][::-1]
    assert found == revisions()
    assert found == [f"{number:04d}" for number in range(1, len(found) + 1)]


def test_the_wheel_has_the_migrations():
    """The files that setuptools would put into the wheel, without building it."""
    program = (
        "from setuptools import Distribution\n"
        "made = Distribution({'script_name': 'setup.py'}); made.parse_config_files()\n"
        "build = made.get_command_obj('build_py'); build.ensure_finalized()\n"
        "print(*build.get_outputs(include_bytecode=False), sep='\\n')"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    packed = {line.partition("gonogo/store/")[2].replace("\\", "/") for line in ended.stdout.splitlines()}
    needed = {path.relative_to(MIGRATIONS.parent).as_posix() for path in MIGRATIONS.rglob("*.py")}
    assert {"migrations/env.py", "migrations/versions/0001_first_tables.py"} <= needed <= packed
