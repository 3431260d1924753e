"""A project of one's own: the pipeline's files from this installation, with parameters for images that were found."""

import json
import math
import os
import re
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import gonogo
from gonogo.data.prepare.layouts import Category
from gonogo.detectors.options import side_multiple
from gonogo.errors import ConfigError, PipelineError
from gonogo.images.size import ImageSize
from gonogo.params import Section, read_yaml
from gonogo.project.dvc import run_dvc
from gonogo.project.git import git, git_answer
from gonogo.project.origin import installed_origin
from gonogo.reports.pages import text_of
from gonogo.text import listed

START = ("constraints.txt", "dvc.yaml", "params.yaml", "tolerances.yaml", "stages/*.py", "recipes/*.yaml")
START_HIDDEN = (".gitignore", ".dvcignore", ".gitattributes", ".dvc/config", ".dvc/plots/*")
HEADER = """\
# code -> prepare -> fit -> evaluate -> export -> parity -> robustness, bench, report for every category; then router,
# summary. Every path of the project stands here, every number in params.yaml. constraints.txt names the gonogo that
# results are made with: change it there when you install another one, and DVC runs the stages whose code differs.
"""

RAW_COMMENT = "your images, seen from this folder; where DVC finds no such folder, write here where they lie now"
HISTORY = (
    '{"event": "begin", "what": "images that a person accepted as good; gonogo accept adds lines and changes none"}\n'
)


def starting_files() -> Path:
    """The folder of what a project starts from: the checkout that gonogo runs from, or what was installed with it.

    Raises:
        PipelineError: neither is there.
    """
    package, share = Path(gonogo.__file__).resolve().parent, Path("share", "gonogo")
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    installed = [Path(sysconfig.get_path("data", scheme)) / share for scheme in schemes]
    for place in (package.parents[1], *installed, package.parent / share):  # the last is that of pip --target
        if (place / "dvc.yaml").is_file() and (place / "stages").is_dir():
            return place
    raise PipelineError("this gonogo was installed without what a project starts from; install it anew")


def write_project(project: Path, raw: Path, found: Sequence[Category]) -> list[Path]:
    """Write a project for the categories into the folder `project`, under git and DVC; what is there stays.

    A repository without a commit gets its first one, without which stages could not say what they were run on.

    Args:
        raw: the folder of the images, which the project reads where it lies.
        found: the categories below it.

    Returns:
        What was written, below `project`.

    Raises:
        ConfigError: one of the files is there already, or the project and its results would lie among the images.
        PipelineError: git or dvc failed.
    """
    start = starting_files()
    files = [path for pattern in (*START, *START_HIDDEN) for path in sorted(start.glob(pattern)) if path.is_file()]
    names = [path.relative_to(start) for path in files]
    written = [*names, Path("README.md"), Path("data/accepted.jsonl"), Path("searches/README.md")]
    if there := [str(name) for name in written if (project / name).exists() and name.name != ".gitignore"]:
        raise ConfigError(f"{project} has {listed(there, 4)} already; name an empty folder with --into")
    if project.resolve().is_relative_to(raw.resolve()):
        raise ConfigError(f"{project} lies in {raw}: results would count as images; name another folder with --into")
    project.mkdir(parents=True, exist_ok=True)
    _under_version_control(project)
    for source, name in zip(files, names, strict=True):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        if name.name == ".gitignore" and (project / name).exists():
            own = (project / name).read_text(encoding="utf-8")
            ours = source.read_text(encoding="utf-8")
            (project / name).write_text(own + ("" if own.endswith("\n") or not own else "\n") + ours, encoding="utf-8")
        else:
            shutil.copyfile(source, project / name)
    dvc_yaml = project / "dvc.yaml"
    dvc_yaml.write_text(_pipeline(dvc_yaml.read_text(encoding="utf-8"), found), encoding="utf-8")
    constraints = project / "constraints.txt"
    pins = constraints.read_text(encoding="utf-8")
    constraints.write_text(f"gonogo=={gonogo.__version__}\n{pins}", encoding="utf-8")
    params = project / "params.yaml"
    place = Path(os.path.relpath(raw.resolve(), project.resolve())).as_posix()
    fit = read_yaml(params)["fit"]
    params.write_text(_params(params.read_text(encoding="utf-8"), place, found, fit), encoding="utf-8")
    (project / "data").mkdir(exist_ok=True)
    (project / "data/accepted.jsonl").write_text(HISTORY, encoding="utf-8")
    (project / "searches").mkdir(exist_ok=True)
    (project / "searches/README.md").write_text("Searches of the fit's parameters; the report shows them.\n", "utf-8")
    known = {"found": found, "version": gonogo.__version__, "origin": installed_origin()}
    text = text_of("project.md.j2", markup=False, **known)
    (project / "README.md").write_text(text, encoding="utf-8")
    if git_answer(project, "rev-parse", "--verify", "HEAD") is None:
        _commit(project, written)
    return written


def _under_version_control(project: Path) -> None:
    """Make it a project of git, unless it lies in one, and of DVC."""
    inside = git_answer(project, "rev-parse", "--show-toplevel")
    if inside is None:
        git(project, "init", "--quiet")
    root = inside or str(project.resolve())
    subdir = [] if Path(root).resolve() == project.resolve() else ["--subdir"]
    run_dvc("--cd", str(project), "init", "--quiet", *subdir)


def _commit(project: Path, written: Sequence[Path]) -> None:
    """Commit what was written, in the name of git's user or, where git knows none, of this command."""
    known = git_answer(project, "config", "user.email")
    as_ = [] if known else ["-c", "user.name=gonogo init", "-c", "user.email=gonogo@localhost"]
    git(project, "add", ".dvc", *map(str, written))
    git(project, *as_, "commit", "--quiet", "--message", "Start a project of gonogo")


def _pipeline(text: str, found: Sequence[Category]) -> str:
    """dvc.yaml without the library's folder, which a project has installed, and with the categories' gauges."""
    stages = text[text.index("vars:") : text.index("\nartifacts:")].replace("      - src/gonogo\n", "")
    model = 'type: model, desc: "ONNX gauge, proven by the parity stage"'
    gauges = "".join(f"  gauge-{one.name}: {{path: bundles/{one.name}, {model}}}\n" for one in found)
    return f"{HEADER}{stages}\nartifacts:\n{gauges}"


def shape_of(category: Category, fit: Section) -> ImageSize:
    """What the category's images are resized to: about as many pixels as `fit` says, in the median image's shape."""
    area = ImageSize.of(fit["image_size"]).area
    return ImageSize.of_area(math.isqrt(area), category.aspect, multiple=side_multiple(fit["backbone"]))


def _params(text: str, raw: str, found: Sequence[Category], fit: Section) -> str:
    """params.yaml for these images and categories.

    The first one's source is the section's, and others override it. A shape that all have is the section's too.
    """
    names = "".join(f"- {json.dumps(one.name, ensure_ascii=False)}\n" for one in found)
    text = re.sub(r"^categories:\n(?:- .*\n)+", lambda _: f"categories:\n{names}", text, flags=re.M)
    raw_line = f"raw: {json.dumps(raw, ensure_ascii=False)}  # {RAW_COMMENT}"
    text = re.sub(r"^raw: .*$", lambda _: raw_line, text, flags=re.M)
    text = re.sub(r"(?<=^  source: ).*?(?= *#)", lambda was: found[0].source.ljust(len(was[0])), text, flags=re.M)
    text = re.sub(r"^  part: .*\n", "", text, flags=re.M)
    shapes = [shape_of(one, fit).written for one in found]
    of_all = shapes[0] if all(shape == shapes[0] for shape in shapes) else fit["image_size"]
    if isinstance(of_all, list):
        sides = "".join(f"  - {length}\n" for length in of_all)
        first = r"^  image_size: \d+ *(#.*\n)"  # that of `fit`, before that of `router`
        text = re.sub(first, rf"  image_size:                 \1{sides}", text, count=1, flags=re.M)
    overrides = []
    for one, shape in zip(found, shapes, strict=True):
        own = {} if one.source == found[0].source else {"source": one.source}
        options = ", ".join(f"{key}: {json.dumps(value)}" for key, value in (own | one.options).items())
        resized = "" if shape == of_all else f", fit: {{image_size: {shape}}}"
        overrides.append(f"  {json.dumps(one.name)}: {{prepare: {{{options}}}{resized}}}\n")
    return text[: text.index("overrides:\n")] + "overrides:\n" + "".join(overrides)
