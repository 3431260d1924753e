"""gonogo accept: images that a person found good, added to fit or calibrate, or taken back."""

from argparse import Namespace
from dataclasses import asdict

from gonogo.cli.answer import Answer
from gonogo.cli.columns import in_columns
from gonogo.data.prepare.accepted import active_acceptance, read_history
from gonogo.errors import ConfigError
from gonogo.params import project_path
from gonogo.project.accept import Project, accept, git_user, roll_back
from gonogo.project.dvc import run_dvc
from gonogo.project.gauge_summary import Figures


def run(arguments: Namespace) -> Answer:
    """Accept the images, take an acceptance back, or list them all."""
    return _history(arguments) if arguments.history else _change(arguments)


def _history(arguments: Namespace) -> Answer:
    """All acceptances, or those of `--category`, as JSON values and as text."""
    events = [event for event in read_history(project_path("accepted")) if arguments.category in (None, event.category)]
    text = "\n".join(event.sentence for event in events) or "nothing was accepted"
    return Answer({"ok": True, "acceptances": [asdict(event) for event in events]}, text)


def _change(arguments: Namespace) -> Answer:
    """Accept the images, or take an acceptance back; the gauge before and after as JSON values and as text."""
    by, dvc = arguments.by or git_user(), None if arguments.no_run else run_dvc
    if arguments.roll_back is None:
        made = accept(
            Project.here(arguments.category),
            arguments.images,
            role=arguments.role,
            by=by,
            reason=arguments.reason,
            group=arguments.group,
            dvc=dvc,
        )
    else:
        acceptance = active_acceptance(project_path("accepted"), arguments.roll_back)
        if arguments.category not in (None, acceptance.category):
            raise ConfigError(f"{acceptance.id} is of {acceptance.category}, not of {arguments.category}")
        project = Project.here(acceptance.category)
        made = roll_back(project, acceptance, by=by, reason=arguments.reason, dvc=dvc)
    lines = [made.acceptance.sentence, *made.remarks]
    if dvc is not None:
        lines.insert(1, table(made.before, made.after))
    else:
        lines.append("written down; `dvc repro` makes the gauge anew")
    if arguments.roll_back is None:
        lines.append(f"to take it back: gonogo accept --roll-back {made.acceptance.id}")
    return Answer({"ok": True, **asdict(made)}, "\n".join(lines))


def table(before: Figures | None, after: Figures | None) -> str:
    """Before and after as text, one row per figure; a dash where there is no gauge."""
    columns = [{} if figures is None else figures.shown for figures in (before, after)]
    names = list(columns[0] or columns[1])
    rows = [("", "before", "after"), *((name, *(column.get(name, "-") for column in columns)) for name in names)]
    return in_columns(rows, head=True)
