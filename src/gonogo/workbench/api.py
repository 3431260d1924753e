"""The control API, `/v1/project/...`, for programs with a key of the role admin: what the commands and the pages do."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from gonogo.errors import ConfigError
from gonogo.params import Params
from gonogo.project.git import git_answer
from gonogo.project.recipes import changes, read_recipe
from gonogo.project.registry import Alias, read_registry
from gonogo.project.runs import Kind, Run, require_inside
from gonogo.project.stage_metrics import measured
from gonogo.service.routes.access import AdminKey, admin_key, known_query
from gonogo.service.routes.openapi import problem_responses
from gonogo.workbench.deployment import promote_gauge, reload_service, roll_back_gauge
from gonogo.workbench.fit_form import RECIPES
from gonogo.workbench.pages.analysis import Threshold, point_at
from gonogo.workbench.pages.categories import ChosenCategory, workbench_of
from gonogo.workbench.pages.evaluation import Revision
from gonogo.workbench.versions import comparison, versions_of
from gonogo.workbench.workbench import PARAMS

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
router = APIRouter(
    prefix="/v1/project",
    dependencies=[Depends(admin_key), Depends(known_query)],
    responses=problem_responses("not-found", "gate-refused", "project-failed"),
)


class Body(BaseModel):
    """A request; unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class RunRequest(Body):
    """A run to queue: `settings` as `gonogo runs start -S` takes them."""

    category: Name
    kind: Kind = "fit"
    settings: list[Text] = []
    recipe: Name | None = None


class Promotion(Body):
    """A version to promote."""

    category: Name
    alias: Alias = "production"
    rev: Name = "HEAD"
    reason: Text


class RollBack(Body):
    """A category whose earlier gauge is to be in use again."""

    category: Name
    alias: Alias = "production"
    reason: Text


@router.get("")
def project(request: Request) -> dict[str, Any]:
    """The project: its commit, its categories, and the number of open runs."""
    runs = workbench_of(request).runs.all()
    commit = git_answer(PARAMS.parent, "rev-parse", "HEAD")
    return {
        "commit": commit,
        "categories": Params(PARAMS).categories,
        "open_runs": [run.id for run in runs if run.is_open],
    }


@router.get("/runs")
def runs(request: Request) -> dict[str, Any]:
    """Every run, the newest first, as `gonogo runs` lists them."""
    return {"runs": [asdict(run) for run in workbench_of(request).runs.all()]}


@router.post("/runs", status_code=201)
def start_run(request: Request, key: AdminKey, wanted: RunRequest) -> dict[str, Any]:
    """Queue a run, as `gonogo runs start` does; no setting may lead out of the project."""
    if wanted.kind == "prepare" and (wanted.settings or wanted.recipe):
        raise ConfigError("a preparation takes neither settings nor a recipe")
    steps = [] if wanted.recipe is None else changes(PARAMS, read_recipe(RECIPES, wanted.recipe), wanted.category)
    settings = [*(step.option for step in steps), *wanted.settings]
    require_inside(settings, PARAMS.parent)
    queue = workbench_of(request).runs
    run = queue.add(wanted.kind, wanted.category, settings, by=key.name)
    queue.start_worker()
    return asdict(run)


@router.get("/runs/{identifier}")
def run(request: Request, identifier: str) -> dict[str, Any]:
    """A run, with its series and the end of its log."""
    queue = workbench_of(request).runs
    found: Run = queue.get(identifier)
    return asdict(found) | {"series": queue.series(identifier), "log": queue.log(identifier)}


@router.post("/runs/{identifier}:stop")
def stop_run(request: Request, identifier: str) -> dict[str, Any]:
    """Stop a run, as `gonogo runs stop` does."""
    return asdict(workbench_of(request).runs.stop(identifier))


@router.get("/metrics")
def metrics(category: ChosenCategory) -> dict[str, Any]:
    """The metrics of a category's stages in the workspace."""
    stages = ("prepare", "fit", "evaluate", "parity", "robustness", "bench")
    return {"category": category.name} | {stage: measured(stage, category.name) for stage in stages}


@router.get("/compare")
def compare(category: ChosenCategory, old: Annotated[Revision, Query()], new: Revision = "") -> dict[str, Any]:
    """The comparison of two revisions, as `gonogo compare` makes it; without `new`, with the workspace."""
    return comparison(category.name, old, new or None).to_dict()


@router.get("/thresholds")
def thresholds(category: ChosenCategory, threshold: Threshold = None) -> dict[str, Any]:
    """What a threshold certifies, and its rates, as `gonogo thresholds --at` lists them."""
    answer: dict[str, Any] = point_at(category.name, threshold)["point"].to_dict()
    return answer


@router.get("/versions")
def versions(category: ChosenCategory) -> dict[str, Any]:
    """The versions of a category's gauge."""
    return {"versions": [asdict(version) for version in versions_of(category.name)]}


@router.get("/registry")
def registry() -> dict[str, Any]:
    """The lines of registry.jsonl, as `gonogo registry` lists them."""
    return {"entries": [asdict(entry) for entry in read_registry()]}


@router.post("/promote", status_code=201)
def promote(request: Request, key: AdminKey, wanted: Promotion) -> dict[str, Any]:
    """Promote a version through the gate, as `gonogo promote` does."""
    entry, tags = promote_gauge(
        workbench_of(request), wanted.category, wanted.alias, wanted.rev, by=key.name, reason=wanted.reason
    )
    return {"entry": asdict(entry), "tags": tags}


@router.post("/roll-back", status_code=201)
def roll_back(request: Request, key: AdminKey, wanted: RollBack) -> dict[str, Any]:
    """Put the gauge before back into use, as `gonogo roll-back` does."""
    entry, tags = roll_back_gauge(
        workbench_of(request), wanted.category, wanted.alias, by=key.name, reason=wanted.reason
    )
    return {"entry": asdict(entry), "tags": tags}


@router.post("/service:reload")
def reload(request: Request) -> dict[str, Any]:
    """Have the following service use what is promoted now."""
    return reload_service(workbench_of(request))
