"""The command `gonogo`: a thin door over the library, free of torch.

Exit status: 0 done and every part passed; 1 a check said no (a part was rejected); 2 usage; 3 data could not be
read; 4 the environment or a bundle is not fit for use, or the command itself failed.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gonogo
from gonogo.doctor import examine
from gonogo.errors import GonogoError, ImageError, IntegrityError, MissingExtraError

DONE, REJECTED, USAGE, DATA, ENVIRONMENT = 0, 1, 2, 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except (IntegrityError, MissingExtraError) as error:
        return _fail(error, ENVIRONMENT, as_json=arguments.json)
    except GonogoError as error:
        return _fail(error, DATA, as_json=arguments.json)
    except Exception as error:  # the outermost door: Python's own status of a crash is 1, which here means a reject
        traceback.print_exc()
        return _fail(error, ENVIRONMENT, as_json=arguments.json)
    return status


def _threads(text: str) -> int:
    threads = int(text)
    if threads < 1:
        raise argparse.ArgumentTypeError(f"{threads} is not at least 1")
    return threads


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gonogo", description="A go/no-go gauge for images.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_version)

    doctor = commands.add_parser("doctor", help="say what is installed, what is missing and what to do")
    doctor.set_defaults(command=_doctor)

    score = commands.add_parser(
        "score",
        help="judge image files with a bundle",
        description="Judge image files. Exit status 0: all pass; 1: one is rejected; 3: one cannot be read.",
    )
    score.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder that the pipeline wrote, bundles/brick")
    score.add_argument("files", type=Path, metavar="FILE", nargs="+")
    score.add_argument("--threads", type=_threads, metavar="N", help="bound the threads of onnxruntime")
    score.set_defaults(command=_score)

    for command in (version, doctor, score):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _version(arguments: argparse.Namespace) -> int:
    _print({"ok": True, "version": gonogo.__version__}, gonogo.__version__, as_json=arguments.json)
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    findings = examine()
    broken = any(finding.needed and not finding.ok for finding in findings)
    lines = [
        f"{'ok     ' if finding.ok else 'MISSING' if finding.needed else 'absent '}  {finding.what}: {finding.state}"
        + (f"\n         {finding.advice}" if finding.advice else "")
        for finding in findings
    ]
    lines.append("not ready to score" if broken else "ready to score")
    report = {"ok": not broken, "findings": [vars(finding) for finding in findings]}
    _print(report, "\n".join(lines), as_json=arguments.json)
    return ENVIRONMENT if broken else DONE


def _score(arguments: argparse.Namespace) -> int:
    try:
        from gonogo.scorer import Scorer
    except ImportError as error:
        raise MissingExtraError(f"scoring needs onnxruntime, numpy and Pillow: {error}; pip install gonogo") from error
    scorer = Scorer(arguments.bundle, threads=arguments.threads)
    results: list[dict[str, Any]] = []
    for path in arguments.files:
        try:
            verdict = scorer.score_image(path)
        except ImageError as error:
            result: dict[str, Any] = {"file": str(path), "error": str(error)}
        else:
            word = "reject" if verdict.anomalous else "pass"
            regions = [asdict(region) for region in verdict.regions]
            result = {"file": str(path), "verdict": word, "score": verdict.score, "regions": regions}
        results.append(result)
        if not arguments.json:
            stream = sys.stderr if "error" in result else sys.stdout
            print(
                result.get("error") or _line(result, localises=scorer.rule.threshold is not None),
                file=stream,
                flush=True,
            )
    n_errors = sum("error" in result for result in results)
    n_rejected = sum(result.get("verdict") == "reject" for result in results)
    if arguments.json:
        certificate, pixels = scorer.manifest["threshold"], scorer.rule.threshold
        print(
            json.dumps(
                {
                    "ok": not n_errors,
                    "category": scorer.category,
                    "threshold": scorer.threshold,
                    "certified_false_alarm_rate": certificate["certified_false_alarm_rate"],
                    "confidence": certificate["confidence"],
                    "pixel_threshold": None if pixels is None else pixels.threshold,
                    "n_files": len(results),
                    "n_rejected": n_rejected,
                    "n_errors": n_errors,
                    "results": results,
                }
            )
        )
    else:
        print(
            f"{len(results) - n_rejected - n_errors} pass, {n_rejected} reject, {n_errors} unreadable; "
            f"threshold {scorer.threshold:.6g}",
            file=sys.stderr,
        )
    return DATA if n_errors else REJECTED if n_rejected else DONE


def _line(result: dict[str, Any], *, localises: bool) -> str:
    """One image for people: verdict, score, file; of a reject also how many regions it has and where the first lies."""
    line = f"{result['verdict']:6}  {result['score']:<10.6g}  {result['file']}"
    if result["verdict"] == "pass" or not localises:
        return line
    if not result["regions"]:
        return f"{line}  no region"
    x, y, width, height = result["regions"][0]["box"]
    count = len(result["regions"])
    where = f"{width} x {height} at ({x}, {y})"
    return f"{line}  1 region, {where}" if count == 1 else f"{line}  {count} regions, highest {where}"


def _print(report: dict[str, Any], text: str, *, as_json: bool) -> None:
    print(json.dumps(report) if as_json else text)


def _fail(error: Exception, status: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": False, "error": {"code": type(error).__name__, "message": str(error)}}))
    else:
        print(f"gonogo: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
