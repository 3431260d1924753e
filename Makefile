# `make run` and `make test` do all of their own set-up. They use the virtual environment that is active, if any,
# and make .venv otherwise. pip's own settings choose the build of torch: see README.md, "Install".
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test lint format readme clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml constraints.txt
	@echo "== setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gonogo needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[pipeline,dev]'
	@touch $@

run: $(BIN)/.installed  ## run the whole pipeline: fit, certify, evaluate, export, prove, benchmark
	@echo "== dvc repro"
	dvc repro
	@echo "== report.html is the page to open; metrics/summary.json the headline"

test: $(BIN)/.installed  ## run every test
	@echo "== pytest"
	python -m pytest

lint: $(BIN)/.installed  ## check style and types
	ruff check .
	ruff format --check .
	mypy

format: $(BIN)/.installed  ## rewrite the code in the house's format
	ruff check --fix .
	ruff format .

readme: $(BIN)/.installed  ## refresh the README's table of results from metrics/
	python tools/readme.py table --write

clean:  ## remove what the pipeline and the tools made, but no experiment and no cache of DVC
	rm -rf .pytest_cache .mypy_cache .ruff_cache dvc_plots build
