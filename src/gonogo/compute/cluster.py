"""Work on a Ray cluster: the same function on many machines, its results in the order asked.

Nothing here needs torch. A worker that dies is started again, and what it had not finished is done again: work depends
on its item alone, so that neither that nor the number of workers changes a result. Ray keeps the workers of a process
for its next tasks, so that what they import, which costs seconds, is imported once. What travels between the machines
of one run is pickled by Ray, and nothing that is loaded later.
"""

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import gonogo
from gonogo import errors
from gonogo.errors import ConfigError, GonogoError, MissingExtraError, WorkerError
from gonogo.files import code_fingerprint

Arrays = dict[str, np.ndarray]
Item = int | list[str]
Work = Callable[[Any], Mapping[str, Any]]

LOCAL_STORE_BYTES = 1 << 30  # for results on their way, where Ray starts here; more goes to disk
ATTEMPTS = 4  # at one call, if its workers die; then the run ends, since it may be the items that kill them
AHEAD = 2  # calls for each CPU that wait, are under way, or are done before an earlier one is
COMPUTES = ("numpy", "onnxruntime", "pillow", "torch")  # whose versions decide the bits of a score


class Cluster:
    """The workers that Ray has for this process."""

    def __init__(self, *, n_workers: int | None = None) -> None:
        """Connect to the cluster at RAY_ADDRESS or, without that variable, start one on this machine.

        Args:
            n_workers: processes that work at once, each on one CPU; None: as many as the cluster has CPUs.

        Raises:
            MissingExtraError: Ray is not installed.
            WorkerError: there is no cluster at RAY_ADDRESS.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of Ray's own processes; they also write log files
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(f"a cluster needs Ray ({error}); pip install 'gonogo[cluster]'") from error
        if not ray.is_initialized():
            # Not this process's sys.path but this variable reaches the workers: they compute with the same checkout.
            source = str(Path(gonogo.__file__).resolve().parents[1])
            found = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if os.environ.get("RAY_ADDRESS"):
                options["runtime_env"] = {"env_vars": {"PYTHONPATH": found}}
            else:  # the variable itself: workers that Ray starts ahead have it too
                os.environ["PYTHONPATH"] = found
                options |= {"address": "local", "num_cpus": n_workers, "include_dashboard": False}
                options |= {"object_store_memory": LOCAL_STORE_BYTES}
            try:
                ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise WorkerError(f"RAY_ADDRESS is {os.environ.get('RAY_ADDRESS')!r}: {error}") from error
        n_cpus = int(ray.cluster_resources().get("CPU", 0)) or 1
        self.n_workers = min(n_workers or n_cpus, n_cpus)
        waits = self.n_workers == n_cpus  # a call that has no CPU yet; otherwise it would have one more than asked
        self._at_once = AHEAD * n_cpus if waits else self.n_workers

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """None: a worker has no cluster of its own, and does what it is given itself."""
        return type(None), ()

    def map(self, work: Work, items: Sequence[Item], *, together: int) -> Iterator[Arrays]:
        """What `work` gives of each item, as arrays, in the order of the items.

        Args:
            work: sent to each worker once; what it keeps for itself there, it keeps for the next items.
            items: whole numbers, or lists of strings.
            together: items that a worker takes at a time; if it dies, they are done again.

        Raises:
            ConfigError: `work` cannot be sent to another process.
            GonogoError: what `work` raised, of the same type.
            WorkerError: a worker failed in another way, or has another gonogo or other libraries than this process.
        """
        import ray

        try:
            sent = ray.put(work)
        except (TypeError, AttributeError) as error:
            raise ConfigError(
                "fit.cluster is 'ray', but this detector cannot be sent to another process "
                f"({str(error).splitlines()[0]}); set fit.cluster to null for this category"
            ) from error
        calls = [list(items[start : start + together]) for start in range(0, len(items), together)]
        do = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_do)
        given = [sent], str(Path.cwd()), _made_with()
        n_asked, asked, done = 0, dict[Any, int](), dict[int, list[Done]]()
        try:
            for number in range(len(calls)):
                last = min(len(calls), number + self._at_once)
                for asking in range(n_asked, last):
                    asked[do.remote(*given, calls[asking])] = asking
                n_asked = last
                while number not in done:
                    (ready, *_), _ = ray.wait(list(asked), num_returns=1)
                    done[asked.pop(ready)] = ray.get(ready)
                for one in done.pop(number):
                    if one.error:
                        raise getattr(errors, one.error)(one.said)
                    yield {name: np.array(value) for name, value in one.found.items()}
        except ray.exceptions.RayError as error:
            raise WorkerError(f"a worker of the Ray cluster failed: {error}") from error
        finally:
            for running in asked:  # for whom nobody waits
                ray.cancel(running, force=True)


def connect(name: str | None) -> Cluster | None:
    """The cluster that `fit.cluster` names; None: this process does everything itself.

    Raises:
        ConfigError: another name.
    """
    if name is None:
        return None
    if name != "ray":
        raise ConfigError(f"fit.cluster is {name!r}; expected ray or null")
    return Cluster()


@dataclass(frozen=True)
class Done:
    """What the work gave of an item; or the type and the text of a GonogoError that it raised."""

    found: Arrays
    error: str = ""
    said: str = ""


def _do(sent: list[Any], folder: str, made_with: dict[str, str], items: list[Any]) -> list[Done]:
    """What the work gives of each item, until one fails: a task of Ray, in the process of a worker.

    Args:
        sent: the reference to the work, in a list, within which Ray does not replace it by the work.
        folder: the current one of the process that asks.
        made_with: what that process computes with.
    """
    here = _made_with()
    differing = [name for name in made_with if here[name] != made_with[name]]
    if differing:
        told = ", ".join(f"{name} {here[name]} and not {made_with[name]}" for name in differing)
        return [_refused(f"a worker on {platform.node()} has {told}; install the same on every machine")]
    try:
        os.chdir(folder)
    except OSError as error:
        return [
            _refused(
                f"a worker on {platform.node()} does not see {folder} ({error.strerror}); every machine must have "
                "the project at the same place, for example on a network drive"
            )
        ]
    work = _work_of(sent[0])
    done = []
    for item in items:
        try:
            done.append(Done({name: np.asarray(value) for name, value in work(item).items()}))
        except GonogoError as error:
            return [*done, Done({}, type(error).__name__, str(error))]
    return done


def _refused(said: str) -> Done:
    return Done({}, WorkerError.__name__, said)


@lru_cache(maxsize=1)
def _work_of(sent: Any) -> Work:
    """The work, which the process of a worker keeps until it is sent another."""
    import ray

    work: Work = ray.get(sent)
    return work


@lru_cache(maxsize=1)
def _made_with() -> dict[str, str]:
    """What decides a result, beside the work itself: gonogo's own source, and versions."""
    versions = {"gonogo's source": code_fingerprint()[:12]}
    for name in COMPUTES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions
