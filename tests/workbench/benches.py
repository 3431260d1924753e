"""A workbench in the test's own process. Importing it skips the tests where an extra is missing."""

import os
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from gonogo.service.security import new_key
from gonogo.workbench.app import create_workbench
from gonogo.workbench.workbench import Workbench, settings_of


class RunningBench:
    """A workbench of the project in the current folder; `ask` asks its API, and `http` is a client without a key."""

    def __init__(self, data=None, service=None):
        self.workbench = Workbench(settings_of(data), service)
        self.app = create_workbench(self.workbench)
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self.keys = {role: new_key(self.workbench.store, role, role)[1] for role in ("inspect", "review", "admin")}

    def ask(self, method, path, *, role="admin", **rest):
        """The response of the API to a key of this role."""
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.keys[role]}"}, **rest)

    def sign_in(self, role="admin"):
        """Have the client keep the cookie of a session."""
        form = {"key": self.keys[role], "next": "/"}
        answer = self.http.post(
            "/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False
        )
        assert answer.status_code == 303, answer.text

    def page(self, path, **rest):
        """A page for whoever is signed in."""
        return self.http.get(path, headers={"Accept": "text/html"}, **rest)

    def post(self, path, **form):
        """The response to a form of a page."""
        own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        return self.http.post(path, data=form, headers=own, follow_redirects=False)


@contextmanager
def in_folder(folder, environment):
    """The process works in the folder, with another environment."""
    before, old = Path.cwd(), dict(os.environ)
    os.environ.update(environment)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(old)
