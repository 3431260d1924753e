"""gonogo gpu-train: the plan of a fit on a rented GPU, and with --launch the fit itself, on Modal."""

import argparse
from dataclasses import asdict

from gonogo.cli.answer import Answer
from gonogo.cli.arguments import positive
from gonogo.cli.names import known_categories


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Say what a fit on one rented GPU would send, cost and bring back, without any account. With --launch, run it "
        "on Modal, and bring the model into the workspace and into DVC; dvc repro then goes on from it."
    )
    parser.add_argument("category", metavar="CATEGORY", help="a category that is prepared")
    parser.add_argument("--gpu", default="L4", metavar="NAME", help="T4, L4, L40S, A100-80GB or H100; L4")
    parser.add_argument("--hours", type=positive, default=1.0, metavar="H", help="the fit is ended after them; 1")
    parser.add_argument("--launch", action="store_true", help="spend the money; needs gonogo[gpu] and a Modal token")


def run(arguments: argparse.Namespace) -> Answer:
    """Plan, and launch; `gonogo.project.gpu_plan` has the errors."""
    from gonogo.project.gpu_plan import launch, plan_fit

    known_categories([arguments.category], command="gonogo gpu-train")
    plan = plan_fit(arguments.category, gpu=arguments.gpu, hours=arguments.hours)
    report = {"ok": True, "plan": asdict(plan)}
    if not arguments.launch:
        return Answer(report, f"{plan.sentence}\nnothing was sent; --launch does it")
    written = launch(plan)
    return Answer(
        report | {"written": written}, f"{plan.sentence}\n{len(written)} files came back; `dvc repro` goes on"
    )
