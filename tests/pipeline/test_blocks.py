"""Every block of README.md, AGENTS.md and docs/ is run by CI, or is checked here, or says why it does not run.

On the line before a block that CI runs stands `<!-- run: NAME -->`, before one that it does not run
`<!-- not run: REASON -->`. The commands of all are checked: arguments of gonogo, scripts of Python, targets of make.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

import readme
from checkout import ROOT
from gonogo.cli.main import ALIASES, COMMANDS, parse_arguments
from gonogo.params import read_yaml
from gonogo.project.preflight import SECTIONS
from gonogo.project.settings import experiment_option

FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>run|not run): (?P<said>[^\n]+) -->\n)?"
    r"^(?P<pad> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=pad)```$",
    re.MULTILINE | re.DOTALL,
)
CHECKED = ("yaml", "python")  # here
SHOWN = ("text", "mermaid")  # nothing that a person would run
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `mark` and `said`: of the line before it, if there is one."""

    page: str
    language: str
    body: str
    mark: str | None
    said: str | None

    @property
    def commands(self) -> Iterator[str]:
        """Its commands, with lines that end in a backslash joined and without what a shell adds."""
        lines = self.body.replace("\\\n", " ").splitlines()
        with_dollar = [line[2:] for line in lines if line.startswith("$ ")]
        yield from (line.strip() for line in (with_dollar or lines) if line.strip())

    def __str__(self) -> str:
        return f"{self.page}: {self.body[:60]!r}"


def blocks_in(page: str, text: str) -> list[Block]:
    return [
        Block(page, found["language"], re.sub(f"(?m)^{found['pad']}", "", found["body"]), found["mark"], found["said"])
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_in(page.name, page.read_text(encoding="utf-8"))]


def unexplained(blocks: list[Block], run_by_ci: set[str]) -> list[str]:
    """The blocks that nobody runs or checks, and that do not say why; and marks that are none."""
    return [
        str(block)
        for block in blocks
        if (block.mark is None and block.language not in CHECKED + SHOWN)
        or (block.mark is not None and block.language in CHECKED + SHOWN)
        or (block.mark == "run" and block.said not in run_by_ci)
        or (block.mark == "not run" and len(block.said or "") < 10)
    ]


def run_by_ci() -> set[str]:
    return set(re.findall(r"[\w-]+", " ".join(re.findall(r"readme\.py run (.*)", (ROOT / ".ci/run").read_text()))))


def test_every_block_is_run_by_ci_or_checked_here_or_says_why_not():
    assert len(BLOCKS) > 50
    assert unexplained(BLOCKS, run_by_ci()) == []
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(BLOCKS) == len(re.findall(r"^ *```\w*$", text, re.MULTILINE)) / 2
    assert sum(block.mark is not None for block in BLOCKS) == len(re.findall(r"(?m)^ *<!-- (?:not )?run: ", text))


@pytest.mark.parametrize(
    "text",
    [
        "```\nmake run\n```\n",
        "```console\n$ make run\n```\n",
        "<!-- run: nobody -->\n```console\n$ make run\n```\n",
        "<!-- not run: no -->\n```console\n$ make run\n```\n",
        "<!-- not run: it takes for ever -->\n```yaml\nfit: {}\n```\n",
    ],
)
def test_a_block_without_a_run_or_a_reason_is_found(text):
    assert len(unexplained(blocks_in("page.md", text), {"line"})) == 1


def test_every_name_that_ci_runs_is_a_block():
    assert run_by_ci() <= {block.said for block in BLOCKS if block.mark == "run"}
    assert readme.blocks_of_pages(readme.pages()).keys() >= run_by_ci()


def commands_like(pattern: str) -> list[Any]:
    """Each command of a page that begins so, as a parameter."""
    return [
        pytest.param(command, id=f"{block.page}: {command[:60]}")
        for block in BLOCKS
        if block.language in ("", "console")
        for command in block.commands
        if re.match(pattern, command)
    ]


@pytest.mark.parametrize("command", commands_like(r"(?:\S*/bin/)?gonogo "))
def test_every_command_of_gonogo_in_a_page_has_arguments_that_exist(command):
    part = re.split(r" (?:\|\|?|&&|>|2>) ", command)[0].replace("'*'", "x")
    words = shlex.split(part, comments=True)[1:]
    words = [word.strip("[]") for word in words if word not in ("…", "...]")]
    if words == ["detectors", "patchcor", "--json"]:
        return  # the page shows this very mistake
    assert ALIASES.get(words[0], words[0]) in COMMANDS
    parse_arguments(words)


@pytest.mark.parametrize("command", commands_like(r"(?:python|make) "))
def test_every_script_and_target_of_make_in_a_page_exists(command):
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets
    else:
        script = next(word for word in words[1:] if not word.startswith("-"))
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_parameters_in_a_page_are_parameters_of_some_section(block):
    content = read_yaml(ROOT / "params.yaml")
    for name, value in yaml_in(block).items():
        check(name, value, content)


def yaml_in(block: Block) -> dict:
    from ruamel.yaml import YAML

    loaded = YAML(typ="safe", pure=True).load(block.body)
    assert isinstance(loaded, dict)
    return loaded


def check(name: str, value: object, content: dict) -> None:
    """That `name` is a section, a setting beside the sections, or a category with sections, and its keys exist."""
    if name in ("categories", "raw", "seed"):
        return
    if name not in SECTIONS:  # overrides, or a category below it
        assert isinstance(value, dict)
        for inner, below in value.items():
            check(inner, below, content)
        return
    assert isinstance(value, dict)
    for key in value:
        experiment_option(f"{name}.{key}=0", content)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_in_a_page_compiles_and_imports_what_exists(block):
    tree = ast.parse(block.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gonogo"):
            module = import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")
