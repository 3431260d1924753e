"""A service in the test's own process, and what its tests share. Importing it skips them where the extra is missing."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

for package in ("fastapi", "python_multipart", "prometheus_client", "sqlalchemy", "alembic", "uvicorn", "httpx2"):
    pytest.importorskip(package, reason=f"no {package}: pip install 'gonogo[serve]'")

# ruff: noqa: E402
import httpx2
import uvicorn
from starlette.testclient import TestClient

from extras import refusing_folder
from gonogo.cli.commands.serve import listening
from gonogo.files import seal
from gonogo.service.app import create_app
from gonogo.service.connections import BACKLOG, connections
from gonogo.service.security import new_key
from gonogo.service.service import Service
from gonogo.service.settings import Settings
from processes import until as until

WAIT = 120  # seconds that a process may take to start where others want the machine too


class Running:
    """A service in this process, which `ask` asks with the key of a role.

    Where the settings leave the share of the audit sample as it is, nothing is drawn: chance decides no test.
    """

    def __init__(self, settings):
        drawn = settings.audit_share if settings.audit_share != Settings.audit_share else 0.0
        self.service = Service(replace(settings, audit_share=drawn))
        self.http = TestClient(create_app(self.service), raise_server_exceptions=False)
        self.keys = {role: new_key(self.service.store, role, role)[1] for role in ("inspect", "review", "admin")}

    def ask(self, method, path, *, role="inspect", **rest):
        headers = {"Authorization": f"Bearer {self.keys[role]}"} | rest.pop("headers", {})
        return self.http.request(method, path, headers=headers, **rest)

    def __enter__(self):
        self.http.__enter__()
        return self

    def __exit__(self, *error):
        self.http.__exit__(*error)


def listening_service(running):
    """The port of the service, which uvicorn serves in a thread as `gonogo serve` lets it."""
    service = running.service
    limited = connections(service.settings, service.metrics)
    return listening_app(create_app(service), http=limited, backlog=BACKLOG)


@contextmanager
def listening_app(app, **options):
    """The port of an application, which uvicorn serves in a thread."""
    config = uvicorn.Config(app, ws="none", access_log=False, log_config=None, lifespan="off", **options)
    server = uvicorn.Server(config)
    server.capture_signals = lambda: ExitStack()
    with listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(300)


def serving_process(bundle, data, port):
    """`gonogo serve` in a process of its own, with a home of its own and its extra alone, once it is ready."""
    home = data.parent / "home"
    home.mkdir(exist_ok=True)
    path = os.pathsep.join(
        [refusing_folder(data.parent / "extra", "serve"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    command = [sys.executable, "-m", "gonogo.cli.main", "serve", "--bundle", str(bundle), "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--threads", "1", "--audit-share", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOME": str(home), "PYTHONPATH": path},
    )

    def ready():
        assert process.poll() is None, process.stderr.read()
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    until(ready, WAIT)
    return process


def inspected(running, path, **rest):
    answer = running.ask("POST", "/v1/inspect", content=path.read_bytes(), **rest)
    assert answer.status_code == 200, answer.text
    return answer.json()["inspections"][0]


@pytest.fixture(scope="module")
def files(digits):
    """Paths of a few good parts and a few defects."""
    records = digits.with_role("test")
    return [digits.path_of(one) for one in records[:: len(records) // 10][:10]]


@pytest.fixture(scope="module")
def running(bundle, tmp_path_factory):
    with Running(Settings(bundle=bundle, data=tmp_path_factory.mktemp("data"), threads=1, deadline=60.0)) as started:
        yield started


@pytest.fixture
def start(bundle, tmp_path):
    """Start a service of its own, in a folder of its own unless told otherwise."""

    def started(**settings):
        return Running(
            Settings(**{"bundle": bundle, "data": tmp_path / "data", "threads": 1, "deadline": 60.0} | settings)
        )

    return started


@pytest.fixture(scope="module")
def bundles(bundle, tmp_path_factory):
    """A folder with the bundle, one that judges as it does and is another, and one that was damaged."""
    folder = tmp_path_factory.mktemp("bundles")
    for name in ("first", "second", "damaged"):
        shutil.copytree(bundle, folder / name)
    content = json.loads((folder / "second/manifest.json").read_text())
    listed = content.pop("files")
    content.pop("manifest_sha256")
    seal(folder / "second", content | {"note": "another"}, listed)
    with (folder / "damaged/gauge.onnx").open("ab") as file:
        file.write(b"x")
    return folder


def offered(running):
    return {one["name"]: one for one in running.ask("GET", "/v1/bundles").json()["bundles"]}


def activate(running, fingerprint):
    return running.ask("POST", "/v1/bundles:activate", role="admin", json={"fingerprint": fingerprint})
