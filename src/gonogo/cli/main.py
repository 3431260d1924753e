"""The command `gonogo`: a thin door over the library, free of torch unless a command trains.

`gonogo.cli.exit_status` says what the exit statuses mean.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import gonogo
from gonogo.cli.answer import Answer
from gonogo.cli.doctor import examine
from gonogo.cli.exit_status import DATA, DONE, ENVIRONMENT, MEANINGS, NOBODY_READS, REJECTED, tell
from gonogo.cli.line_arguments import add_bundle, add_explain, add_score, add_verify, check_score, count
from gonogo.cli.project_commands import add_project_commands
from gonogo.cli.serve_arguments import add_serve
from gonogo.errors import DataError, MissingExtraError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Raises:
        SystemExit: wrong usage, or --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _answer(words, as_json="--json" in takewhile(lambda word: word != "--", words))
        finally:
            sys.stdout.flush()  # here, where a pipe that nobody reads any more is still caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python would flush when it ends
        return NOBODY_READS


def _answer(words: Sequence[str], *, as_json: bool) -> int:
    """Run the command that `words` name; a failure is told, and only a pipe that nobody reads gets out."""
    try:
        arguments = _parsed(words, as_json=as_json)
        status: int = arguments.command(arguments)
    except (
        BrokenPipeError
    ):  # standard output's: who opens other pipes, as `gonogo.detectors.anomalib.worker`, knows what theirs mean
        raise
    except (Exception, KeyboardInterrupt) as error:  # the outermost door: Python's own status of a crash is a reject's
        status = tell(error, as_json=as_json)
        if isinstance(error, UsageError):
            raise SystemExit(status) from None
    return status


def _parsed(words: Sequence[str], *, as_json: bool) -> argparse.Namespace:
    if not as_json:
        return _parser().parse_args(words)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            return _parser().parse_args(words)
    except SystemExit:  # --help
        print(json.dumps({"ok": True, "help": said.getvalue()}))
        raise


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like others, and options are written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, command=self.prog)


def _parser() -> argparse.ArgumentParser:
    statuses = "\n".join(f"  {status:<4} {meaning}" for status, meaning in MEANINGS.items())
    parser = _Parser(
        prog="gonogo",
        description="A go/no-go gauge for images. `gonogo COMMAND --help` says what a command takes. With --json\n"
        "each prints one JSON object on standard output, whatever happens.",
        epilog=f"exit status:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_version)

    doctor = commands.add_parser("doctor", help="say what is installed, what is missing and what to do")
    doctor.set_defaults(command=_doctor)

    score = add_score(commands)
    score.set_defaults(command=_score, misused=score.error)
    verify = add_verify(commands)
    verify.set_defaults(command=_on_line("verify"))
    explain = add_explain(commands)
    explain.set_defaults(command=_on_line("explain"))
    bundle_actions = add_bundle(commands)
    for name, action in bundle_actions.items():
        action.set_defaults(command=_bundle, action=name)
    serve_actions = add_serve(commands)
    serve_actions.pop("serve").set_defaults(command=_of_pipeline("serve"))

    distill = commands.add_parser(
        "distill",
        help="make a teacher for the detector efficientad from any images",
        description="Distil a backbone of timm into a teacher for fit.detector: efficientad. Killed and called again, "
        "it goes on from FILE.checkpoint, to the same file.",
    )
    distill.add_argument("folder", type=Path, metavar="FOLDER", help="any images, at any depth; the more, the better")
    distill.add_argument("--backbone", default="tf_efficientnet_lite0", metavar="NAME", help="any name that timm knows")
    distill.add_argument("--layers", type=int, nargs="+", default=[2, 3], metavar="N", help="timm's feature levels")
    distill.add_argument("--weights", default="pretrained", help="pretrained, random or the path of a state dict")
    distill.add_argument("--weights-sha256", metavar="HEX", help="of that file")
    distill.add_argument(
        "--size", choices=["small", "medium", "tiny"], default="small", help="of the teacher; as in fit.size"
    )
    distill.add_argument("--image-size", type=count, default=256, metavar="N", help="pixels; the teacher's input")
    distill.add_argument("--backbone-size", type=count, default=512, metavar="N", help="pixels; the backbone's input")
    distill.add_argument("--steps", type=count, default=60_000, metavar="N")
    distill.add_argument("--batch", type=count, default=16, metavar="N", help="images per step")
    distill.add_argument("--epoch-steps", type=count, default=200, metavar="N", help="steps between checkpoints")
    distill.add_argument("--seed", type=int, default=17, metavar="N")
    distill.add_argument("--out", type=Path, default=Path("teacher.safetensors"), metavar="FILE")
    distill.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one"
    )
    distill.set_defaults(command=_of_pipeline("distill"))

    compare = commands.add_parser(
        "compare",
        help="say what a change did to metrics and verdicts, and whether the gate lets it pass",
        description="Compare two revisions of a project, or one with the workspace: metrics with intervals, verdicts "
        "that changed, and the tolerances of tolerances.yaml. Exit status 0: within all of them; 1: beyond one.",
    )
    compare.add_argument("old", metavar="REV", help="the revision to compare with: a commit, branch or tag")
    compare.add_argument("new", metavar="REV", nargs="?", help="what is compared with it; default: the workspace")
    compare.add_argument("--out", type=Path, metavar="FOLDER", help="write report.md and pictures of changed images")
    compare.add_argument("--picture-url", default="", metavar="URL", help="where report.md will find its pictures")
    compare.add_argument("--tolerances", type=Path, metavar="FILE", help="default: tolerances.yaml, if it is there")
    compare.add_argument("--other-data", action="store_true", help="compare although a category's data differ")
    compare.set_defaults(command=_of_pipeline("compare"))

    thresholds = commands.add_parser(
        "thresholds",
        help="say what a gauge would do at other thresholds",
        description="Of one gauge of the project, by threshold: what is certified of false alarms, and what was "
        "measured on the test images, with intervals. Without --at: one threshold in each gap between good scores.",
    )
    thresholds.add_argument("category", metavar="CATEGORY", help="one that dvc repro has evaluated")
    thresholds.add_argument("--at", type=float, nargs="+", metavar="SCORE", help="the thresholds to look at")
    thresholds.add_argument("--page", type=Path, metavar="FILE", help="write the page with a threshold to move")
    thresholds.set_defaults(command=_of_pipeline("thresholds"))

    accept = commands.add_parser(
        "accept",
        help="accept reviewed images as good, or take that back",
        description="Copy good images into the raw folder, add them to fit or calibrate, and make the category's gauge "
        "anew; then print it before and after. The history of it is data/accepted.jsonl. Run it in the project's root.",
    )
    accept.add_argument("images", type=Path, metavar="IMAGE", nargs="*", help="of good parts, as a person has judged")
    accept.add_argument("--category", metavar="NAME", help="one of those in params.yaml")
    accept.add_argument("--role", choices=["fit", "calibrate"], help="what they are for; test images are never chosen")
    accept.add_argument("--group", metavar="ID", help="of the one part that all of them show; else each is one")
    accept.add_argument("--by", metavar="NAME", help="who says so; git's user.name otherwise")
    accept.add_argument("--reason", metavar="TEXT", help="why")
    accept.add_argument("--no-run", action="store_true", help="write it down, and leave dvc repro to me")
    accept.add_argument("--roll-back", metavar="ID", help="take an acceptance back")
    accept.add_argument("--history", action="store_true", help="list all acceptances, or those of --category")
    accept.set_defaults(command=_accept, misused=accept.error)

    add_project_commands(commands, _of_pipeline)

    completion = commands.add_parser("completion", help="print what a shell needs to complete these commands")
    completion.add_argument("shell", choices=["bash", "zsh"], help='bash: eval "$(gonogo completion bash)"')
    completion.set_defaults(command=_of_pipeline("completion"), parser=parser, commands=commands.choices)

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for action in (
        *bundle_actions.values(),
        *serve_actions.values(),
    ):  # whose own default would undo what stands before the action
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    return parser


def _version(arguments: argparse.Namespace) -> int:
    _print({"ok": True, "version": gonogo.__version__}, gonogo.__version__, as_json=arguments.json)
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    findings = examine()
    broken = any(finding.needed and not finding.ok for finding in findings)
    lines = [
        f"{finding.word:5}  {finding.what}: {finding.state}" + (f"\n       {finding.advice}" if finding.advice else "")
        for finding in findings
    ]
    lines.append("not ready to score" if broken else "ready to score")
    report = {"ok": not broken, "findings": [vars(finding) for finding in findings]}
    _print(report, "\n".join(lines), as_json=arguments.json)
    return ENVIRONMENT if broken else DONE


def _score(arguments: argparse.Namespace) -> int:
    check_score(arguments)
    if arguments.cluster:
        return _score_many(arguments)
    told = _line_module("score").score(arguments)
    if arguments.json:
        print(json.dumps(told.report))
    else:
        print(told.text, file=sys.stderr)
    counts = told.counts
    return DATA if counts.n_errors else REJECTED if counts.n_rejected or counts.n_unknown else DONE


def _line_module(name: str) -> Any:
    """The file of `gonogo.line`, which is imported when it is called."""
    try:
        return import_module(f"gonogo.line.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} needs onnxruntime, numpy and Pillow: {error}; pip install gonogo") from error


def _on_line(name: str) -> Callable[[argparse.Namespace], int]:
    def command(arguments: argparse.Namespace) -> int:
        answer: Answer = _line_module(name).run(arguments)
        _print(answer.report, answer.text, as_json=arguments.json)
        return DONE if answer.passed else REJECTED

    return command


def _bundle(arguments: argparse.Namespace) -> int:
    from gonogo.inference.bundle import pack, sign, unpack
    from gonogo.inference.signature import make_key

    action = arguments.action
    report: dict[str, Any] = {"ok": True}
    if action == "key":
        public = make_key(arguments.target)
        report |= {"out": str(arguments.target), "public": str(public)}
        text = f"{arguments.target} written, keep it secret; {public} is its public half"
    else:
        opened = _line_module("gauges").open_gauges(arguments.source)  # what would be refused later is refused here
        if action == "sign":
            place, key = arguments.source, arguments.key
            if opened.is_one:
                signer = sign(place, key).signer
            else:
                signer = _line_module("bundle_set").sign_set(place, opened.scorers, key)
            report |= {"out": str(place), "signer": signer}
            text = f"{arguments.source} is signed with the key {report['signer']}"
        elif not opened.is_one:
            raise DataError(f"{arguments.source} is a set of bundles; {action} each of {', '.join(opened.scorers)}")
        else:
            (pack if action == "pack" else unpack)(arguments.source, arguments.target)
            report |= {"out": str(arguments.target)}
            text = f"{arguments.target} written"
    _print(report, text, as_json=arguments.json)
    return DONE


def _score_many(arguments: argparse.Namespace) -> int:
    from gonogo.compute.cluster import Cluster
    from gonogo.inference.bundle_set import is_set
    from gonogo.line.many import score_many

    def progress(n_done: int, n_total: int) -> None:
        print(f"  {n_done}/{n_total} images", file=sys.stderr, flush=True)

    if is_set(arguments.bundle):
        raise DataError(f"{arguments.bundle} is a set of bundles; a cluster scores with one of them")
    cluster = Cluster(n_workers=arguments.workers)
    counts = score_many(arguments.bundle, arguments.files, arguments.out, cluster=cluster, progress=progress)
    n_passed = counts.n_files - counts.n_rejected - counts.n_errors
    text = (
        f"{n_passed} pass, {counts.n_rejected} reject, {counts.n_errors} unreadable; "
        f"{counts.n_new} of {counts.n_files} scored now, rows in {arguments.out}"
    )
    _print({"ok": not counts.n_errors, "out": arguments.out, **asdict(counts)}, text, as_json=arguments.json)
    return DATA if counts.n_errors else REJECTED if counts.n_rejected else DONE


def _accept(arguments: argparse.Namespace) -> int:
    adds, takes_back = bool(arguments.images), arguments.roll_back is not None
    if adds + takes_back + arguments.history != 1:
        arguments.misused("name IMAGE ..., or --roll-back ID, or --history")
    if adds and not (arguments.category and arguments.role):
        arguments.misused("images need --category and --role fit or calibrate")
    if not adds and (arguments.role or arguments.group):
        arguments.misused("--role and --group go with images")
    if arguments.history and (arguments.by or arguments.reason or arguments.no_run):
        arguments.misused("--history goes with --category alone")
    return _of_pipeline("accept")(arguments)


def _of_pipeline(name: str) -> Callable[[argparse.Namespace], int]:
    """The command in a file of `gonogo.cli.answer`, which is imported when it is called."""

    def command(arguments: argparse.Namespace) -> int:
        try:
            with redirect_stdout(sys.stderr):  # what libraries print on the way
                answer: Answer = import_module(f"gonogo.cli.commands.{name}").run(arguments)
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"{name} needs the pipeline: {error}; pip install 'gonogo[pipeline]'") from error
        _print(answer.report, answer.text, as_json=arguments.json)
        return DONE if answer.passed else REJECTED

    return command


def _print(report: dict[str, Any], text: str, *, as_json: bool) -> None:
    print(json.dumps(report) if as_json else text)


if __name__ == "__main__":
    sys.exit(main())
