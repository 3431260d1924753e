"""Work on a Ray cluster: the same function on many machines, its results in the order asked.

Nothing here needs torch. A worker that dies is started again, and what it had not finished is done again: work depends
on its item alone, so that neither that nor the number of workers changes a result. What travels between the machines of
one run is pickled by Ray, and nothing that is loaded later.
"""

import io
import logging
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
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
            import ray.data
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
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        self.n_workers = min(n_workers or n_cpus, n_cpus) or 1
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.print_on_execution_start = False

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
        n_calls = max(1, math.ceil(len(items) / together))
        asked = ray.data.from_items([{"item": item} for item in items], override_num_blocks=n_calls)
        found = asked.map_batches(
            _Worker,
            fn_constructor_args=([sent], str(Path.cwd()), _made_with()),
            batch_size=together,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self.n_workers, n_calls)),
            num_cpus=1,
        )
        try:
            for row in found.iter_rows():
                if row["error"]:
                    raise getattr(errors, row["error"])(row["said"])
                with np.load(io.BytesIO(row["found"]), allow_pickle=False) as arrays:
                    result = dict(arrays)
                yield result
        except ray.exceptions.RayError as error:
            raise WorkerError(f"a worker of the Ray cluster failed: {error}") from error


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


def map_on(cluster: Cluster | None, work: Work, items: Sequence[Item], *, together: int) -> Iterator[Mapping[str, Any]]:
    """What `work` gives of each item, in their order: by the workers of `cluster`, or here where there is none."""
    return map(work, items) if cluster is None else cluster.map(work, items, together=together)


class _Worker:
    """An actor of Ray Data: holds the work, and has it done item by item."""

    def __init__(self, sent: list[Any], folder: str, made_with: dict[str, str]) -> None:
        import ray

        self.refusal = ""
        here = _made_with()
        differing = [name for name in made_with if here[name] != made_with[name]]
        if differing:
            told = ", ".join(f"{name} {here[name]} and not {made_with[name]}" for name in differing)
            self.refusal = f"a worker on {platform.node()} has {told}; install the same on every machine"
            return
        try:
            os.chdir(folder)
        except OSError as error:
            self.refusal = (
                f"a worker on {platform.node()} does not see {folder} ({error.strerror}); every machine must have "
                "the project at the same place, for example on a network drive"
            )
            return
        self.work = ray.get(sent[0])

    def __call__(self, batch: Any) -> Iterator[dict[str, list[Any]]]:
        for item in batch["item"].to_pylist():
            if self.refusal:
                yield _row("WorkerError", self.refusal)
                return
            try:
                found = self.work(item)
            except GonogoError as error:
                yield _row(type(error).__name__, str(error))
                return
            packed = io.BytesIO()
            np.savez(packed, **{name: np.asarray(value) for name, value in found.items()})  # type: ignore[arg-type]
            yield _row("", "", packed.getvalue())


def _row(error: str, said: str, found: bytes = b"") -> dict[str, list[Any]]:
    return {"error": [error], "said": [said], "found": [found]}


def _made_with() -> dict[str, str]:
    """What decides a result, beside the work itself: gonogo's own source, and versions."""
    versions = {"gonogo's source": code_fingerprint()[:12]}
    for name in COMPUTES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions
