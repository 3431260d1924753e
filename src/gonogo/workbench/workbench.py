"""The parts of the workbench put together: keys, sessions, the queue of runs, pictures, and the service."""

import threading
from dataclasses import dataclass
from pathlib import Path

from gonogo.project.runs import ROOM, Runs
from gonogo.service.metrics import Metrics
from gonogo.service.security import Keys, new_key
from gonogo.service.sessions import Sessions
from gonogo.service.settings import Settings
from gonogo.store.store import Store
from gonogo.workbench.pictures import Pictures

PARAMS = Path("params.yaml")  # the process runs in the project's folder, as all commands do


@dataclass(frozen=True)
class FollowingService:
    """A service that follows the project's registry; `key` is of an admin of it."""

    url: str
    key: str


class Workbench:
    """One workbench; its attributes are its parts. `keys`, `sessions` and `settings` are as in a `Service`."""

    def __init__(self, settings: Settings, service: FollowingService | None = None) -> None:
        """Open the store of keys and sessions, for the project in the current folder.

        Raises:
            DataError: the folder or the database of the store cannot be used.
        """
        self.settings, self.following = settings, service
        self.project = Path().resolve()
        self.metrics = Metrics()
        self.store = Store(settings.data, settings.database)
        self.keys = Keys(self.store, settings)
        self.sessions = Sessions(self.store, self.keys, settings)
        self.runs = Runs(Path())
        self.pictures = Pictures()
        self.registry_lock = threading.Lock()  # a promotion reads the registry, and then adds a line

    def first_key(self) -> str | None:
        """A key for the first person, where no admin has one yet; it is shown this once."""
        if any(row["revoked"] is None and row["role"] == "admin" for row in self.store.all_keys()):
            return None
        return new_key(self.store, "workbench", "admin")[1]


def settings_of(data: Path | None, *, tls: bool = False) -> Settings:
    """The settings of a workbench: those of a service, without a bundle and with a store of its own."""
    return Settings(bundle=Path(), data=ROOM / "workbench" if data is None else data, tls=tls)
