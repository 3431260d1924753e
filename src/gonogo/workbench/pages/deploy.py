"""Step 6, deploy: versions and the gate's report, promote, roll back, reload the service, and try an image."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, RedirectResponse, Response

from gonogo.evaluation.metric_table import HEADLINES
from gonogo.project.registry import Alias, in_use, read_registry
from gonogo.service.pages.access import AdminPageKey, admin_page_key
from gonogo.service.pages.rendering import HEADERS, render
from gonogo.service.problems import Problem
from gonogo.workbench.deployment import (
    promote_gauge,
    reload_service,
    roll_back_gauge,
    tried,
    tried_picture,
    try_folder,
    try_image,
)
from gonogo.workbench.pages.categories import ChosenCategory, workbench_of
from gonogo.workbench.pages.evaluation import Revision
from gonogo.workbench.versions import compared, history, versions_of

Name = Annotated[str, Form(max_length=200)]
Reason = Annotated[str, Form(min_length=1, max_length=2000)]
Sha256 = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]
router = APIRouter(dependencies=[Depends(admin_page_key)])


@router.get("/deploy")
def deploy(
    request: Request, category: ChosenCategory, rev: Revision = "", alias: Alias = "production", image: Sha256 = "",
    folder: Sha256 = "", reloaded: Annotated[str, Query(max_length=64)] = "",
) -> Response:  # fmt: skip
    """The page; `rev` is the version whose gate report is shown, `image` and `folder` what was tried."""
    lines, broken = history(category.name)
    aliases: tuple[Alias, ...] = ("production", "staging")
    used = {} if broken else {each: in_use(read_registry(), category.name, each) for each in aliases}
    current = used.get(alias)
    one, many = (tried(name) if name else None for name in (image, folder))
    report, refused = compared(category.name, current.commit, rev) if rev and current is not None else (None, "")
    return render(
        request,
        "deploy.html.j2",
        category=category,
        versions=[] if broken else versions_of(category.name),
        lines=lines,
        broken=broken,
        rev=rev,
        alias=alias,
        current=current,
        in_use=used,
        report=report,
        refused=refused,
        headlines=HEADLINES,
        tried=one if one and "verdict" in one else None,
        image=image,
        folder=folder,
        tried_folder=many if many and "rows" in many else None,
        service=workbench_of(request).following,
        reloaded=reloaded,
    )


@router.post("/deploy/promote")
def promote(
    request: Request, key: AdminPageKey, category: Name, rev: Name, reason: Reason, alias: Annotated[Alias, Form()]
) -> Response:
    """Promote a version through the gate."""
    promote_gauge(workbench_of(request), category, alias, rev, by=key.name, reason=reason)
    return _back(category, alias)


@router.post("/deploy/roll-back")
def roll_back(
    request: Request, key: AdminPageKey, category: Name, reason: Reason, alias: Annotated[Alias, Form()]
) -> Response:
    """Put the gauge before back into use."""
    roll_back_gauge(workbench_of(request), category, alias, by=key.name, reason=reason)
    return _back(category, alias)


@router.post("/deploy/reload")
def reload(request: Request, category: Name) -> Response:
    """Have the service use what is promoted now."""
    facts = reload_service(workbench_of(request))
    return _back(category, "production", reloaded=facts["fingerprint"])


@router.post("/deploy/try")
def try_(request: Request, category: Name, image: Annotated[UploadFile, File()]) -> Response:
    """Judge an image."""
    return _back(category, "production", image=try_image(workbench_of(request), category, image.file.read()))


@router.post("/deploy/try-folder")
def try_all(request: Request, category: Name, images: Annotated[list[UploadFile], File()]) -> Response:
    """Judge the images of a folder."""
    files = ((one.filename or "", one.file) for one in images)
    return _back(category, "production", folder=try_folder(workbench_of(request), category, files))


@router.get("/deploy/tried/{name}")
def picture(name: str, view: Literal["image", "map"] = "image") -> Response:
    """A picture of an image that was tried."""
    if (
        len(name) != 64
        or not all(digit in "0123456789abcdef" for digit in name)
        or not tried_picture(name, view).is_file()
    ):
        raise Problem("not-found", "there is no such picture")
    return FileResponse(tried_picture(name, view), media_type="image/png", headers=HEADERS)


def _back(category: str, alias: str, **more: str) -> Response:
    return RedirectResponse(f"/deploy?{urlencode({'category': category, 'alias': alias} | more)}", 303)
