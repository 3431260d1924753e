"""A commit or an experiment as a run of MLflow, with the gauges as versions of registered models.

MLflow is a mirror: what is in use stands in registry.jsonl, and nothing is read from MLflow. A commit that was tracked
before is found again by its tag, and is not tracked twice.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gonogo.errors import MissingExtraError, PipelineError
from gonogo.project.tracking import Tracked

DEFAULT_URI = "sqlite:///mlflow.db"
COMMIT, EXPERIMENT = "git.commit", "dvc.experiment"
MOST_PARAMS, MOST_METRICS = 100, 1000  # that MLflow takes in one call
LONGEST_VALUE = 500


@dataclass(frozen=True)
class TrackedRun:
    """A run in MLflow.

    Attributes:
        uri: of the tracking server or database.
        id: of the run.
        is_new: whether it was written now; otherwise it was there.
        versions: of the registered models, by name.
    """

    uri: str
    id: str
    is_new: bool
    versions: dict[str, str]


def track(tracked: Tracked, *, name: str, in_use: dict[tuple[str, str], str]) -> TrackedRun:
    """Write a run and its model versions to MLFLOW_TRACKING_URI or, without it, to a SQLite file in this folder.

    Args:
        name: of MLflow's experiment.
        in_use: by category and alias, the commit whose gauge is in use, so that versions get the alias.

    Raises:
        MissingExtraError: MLflow is not installed.
        PipelineError: MLflow cannot be reached, or refuses.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtraError("this needs mlflow, which is missing; pip install 'gonogo[mlflow]'") from error
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    try:
        return _track(MlflowClient(tracking_uri=uri), uri, tracked, name=name, in_use=in_use)
    except (MlflowException, OSError) as error:
        raise PipelineError(f"MLflow at {uri}: {error}") from error


def _track(client: Any, uri: str, tracked: Tracked, *, name: str, in_use: dict[tuple[str, str], str]) -> TrackedRun:
    found = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if found is None else found.experiment_id
    finished = f"tags.`{COMMIT}` = '{tracked.commit}' and attributes.status = 'FINISHED'"
    known = client.search_runs([experiment], finished)
    run = known[0].info.run_id if known else _write_run(client, experiment, tracked)
    versions = {}
    for category in tracked.categories:
        model = f"gauge-{category}"
        versions[model] = _version(client, model, run, tracked, category)
        for (of, alias), commit in in_use.items():
            if of == category and commit == tracked.commit:
                client.set_registered_model_alias(model, alias, versions[model])
    return TrackedRun(uri, run, not known, versions)


def _write_run(client: Any, experiment: str, tracked: Tracked) -> str:
    from mlflow.entities import Metric, Param, RunTag

    milliseconds = int(1000 * tracked.at)
    tags = {COMMIT: tracked.commit, "mlflow.runName": tracked.experiment or tracked.subject}
    if tracked.experiment is not None:
        tags[EXPERIMENT] = tracked.experiment
    run: str = client.create_run(experiment, start_time=milliseconds).info.run_id
    params = [Param(key, value[:LONGEST_VALUE]) for key, value in tracked.params.items()]
    metrics = [Metric(_key(key), value, milliseconds, 0) for key, value in tracked.metrics.items()]
    metrics += [
        Metric(_key(f"fit.{key}"), value, milliseconds, step)
        for key, series in tracked.series.items()
        for step, value in series
    ]
    client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])
    for some in _batches(params, MOST_PARAMS):
        client.log_batch(run, params=some)
    for some in _batches(metrics, MOST_METRICS):
        client.log_batch(run, metrics=some)
    with tempfile.TemporaryDirectory() as folder:
        for path, data in tracked.files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        client.log_artifacts(run, folder)
    client.set_terminated(run, "FINISHED", end_time=milliseconds)
    return run


def _version(client: Any, model: str, run: str, tracked: Tracked, category: str) -> str:
    """The version of the registered model that this run has, registered now where it is not yet."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        client.create_registered_model(model)
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.run_id == run:
            return str(version.version)
    tags = {COMMIT: tracked.commit, "dvc.bundle": tracked.bundle_of(category) or ""}
    source = f"{client.get_run(run).info.artifact_uri}/metrics"
    return str(client.create_model_version(model, source, run, tags=tags).version)


def _key(name: str) -> str:
    """The name of a metric in the characters that MLflow takes."""
    return "".join(each if each.isalnum() or each in "_-./ :" else "_" for each in name)


def _batches(values: Sequence[Any], most: int) -> Iterator[list[Any]]:
    for begin in range(0, len(values), most):
        yield list(values[begin : begin + most])
