"""The study of a search: Optuna's journal, which may have been left at any moment, its table and its picture."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gonogo.errors import ConfigError, MissingExtraError
from gonogo.files import write_json, write_text
from search_plot import study_svg
from search_space import Choices, Space

if TYPE_CHECKING:
    import optuna

JOURNAL, TRIALS, PICTURE = "journal.log", "trials.json", "study.svg"
LEAST_FOR_IMPORTANCE = 8  # trials


def opened(space: Space, folder: Path, code: Mapping[str, str]) -> "optuna.Study":
    """The study in `folder`, new or as it was left: trials that were running when it was stopped wait to be run again.

    Raises:
        ConfigError: it is the study of another space or other code.
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError(f"a search needs Optuna: {error}; pip install 'gonogo[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    _mend(journal)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
        study_name=space.name,
        direction=space.direction,
        load_if_exists=True,
    )
    identity = {**space.identity, "code": dict(code)}
    before = study.user_attrs.get("identity")
    if before is None:
        study.set_user_attr("identity", identity)
    elif before != json.loads(json.dumps(identity)):
        other = [key for key in identity if before.get(key) != json.loads(json.dumps(identity[key]))]
        raise ConfigError(
            f"{journal} is a study with other {', '.join(other)}, whose values would not compare; give the search "
            f"another name, put {', '.join(other)} back, or remove {folder}"
        )
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        if "outcome" in trial.user_attrs:
            tell(study, trial.number, trial.user_attrs["outcome"])
            continue
        known = trial.system_attrs.get("fixed_params", {}) | trial.params
        if known:
            study.enqueue_trial(known)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _mend(journal: Path) -> None:
    """Take from the journal the half line that a writer who was killed left, and his lock; nobody else writes it."""
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        content = journal.read_bytes()
        os.truncate(journal, content.rfind(b"\n") + 1)


def decided(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that have a value, or a reason for having none; not those that were stopped."""
    return [trial for trial in study.get_trials() if trial.state.is_finished() and "outcome" in trial.user_attrs]


def sampler(space: Space, n_decided: int) -> "optuna.samplers.TPESampler":
    """A sampler whose randomness is that of this trial, so that a search that goes on does not begin again."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=int(np.random.SeedSequence([space.seed, n_decided]).generate_state(1)[0]))


def suggested(trial: "optuna.Trial", space: Space) -> dict[str, Any]:
    """The values of what is searched that the trial tries."""
    values: dict[str, Any] = {}
    for key, spec in space.params.items():
        if isinstance(spec, Choices):
            values[key] = json.loads(trial.suggest_categorical(key, spec.texts))
        elif spec.whole:
            values[key] = trial.suggest_int(key, int(spec.low), int(spec.high), log=spec.log)
        else:
            values[key] = trial.suggest_float(key, spec.low, spec.high, log=spec.log)
    return values


def kept(space: Space, key: str, value: Any) -> Any:
    """The value as the study keeps it."""
    return json.dumps(value, sort_keys=True) if isinstance(space.params[key], Choices) else value


def tell(study: "optuna.Study", number: int, outcome: Mapping[str, Any]) -> None:
    """Decide the trial by its outcome: failed where that has a reason, else the mean over categories."""
    from optuna.trial import TrialState

    if outcome["reason"]:
        study.tell(number, state=TrialState.FAIL)
    else:
        study.tell(number, float(np.mean(list(outcome["values"].values()))))


def write_results(
    space: Space, study: "optuna.Study", folder: Path, *, importance: Mapping[str, float]
) -> dict[str, Any]:
    """Write the table of trials and their picture, and return the table."""
    rows = []
    for trial in study.get_trials():
        outcome = trial.user_attrs.get("outcome", {})
        state = "done" if trial.value is not None else "failed" if outcome else "stopped"
        if not trial.state.is_finished():
            continue
        params = {
            key: json.loads(value) if isinstance(space.params[key], Choices) else value
            for key, value in trial.params.items()
        }
        experiment = f"{space.name}-{outcome.get('same_as', trial.number)}"
        rows.append({"number": trial.number, "state": state, "value": trial.value, "params": params} | outcome)
        rows[-1] |= {"experiment": experiment} if state == "done" else {}
    done = [row for row in rows if row["state"] == "done"]
    better = max if space.direction == "maximize" else min
    results = {
        "name": space.name,
        "criterion": space.criterion,
        "direction": space.direction,
        "categories": space.categories,
        "fixed": dict(space.fixed),
        "space": {key: asdict(spec) for key, spec in space.params.items()},
        "trials": rows,
        "best": better(done, key=lambda row: float(row["value"]))["number"] if done else None,
        "importance": dict(importance),
    }
    write_json(folder / TRIALS, results)
    write_text(folder / PICTURE, study_svg(results))
    return results


def importance_of(space: Space, study: "optuna.Study") -> dict[str, float]:
    """The share of each parameter in the criterion's variance; nothing where there is too little to say it from."""
    values = [trial.value for trial in study.get_trials() if trial.value is not None]
    if len(values) < LEAST_FOR_IMPORTANCE or len(set(values)) == 1:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=space.seed))
    return {key: round(share, 3) for key, share in found.items()}
