# `make run` and `make test` do all of their own set-up. They use the virtual environment that is active, if any,
# and make .venv otherwise. pip's own settings choose the build of torch: see docs/install.md.
PYTHON ?= python3
VENV ?= .venv
ANOMALIB := .venv-anomalib
EXTRAS ?= pipeline,dev
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
MLFLOW := .venv-mlflow
NOTEBOOKS := .venv-notebooks
AIRFLOW := .venv-airflow
EVIDENTLY := .venv-evidently
.PHONY: help run test cluster chromium mlflow airflow evidently containers notebooks anomalib peers lint audit format readme docs wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The pip that comes with Python 3.11 takes twice as long as today's; where none newer can be had, it has to do.
define environment
	@test -x $(1)/bin/python || { $(PYTHON) -m venv $(1) && { $(1)/bin/python -m pip install --quiet --upgrade pip || true; }; }
endef

# pip would compile on one core, and the tests of packages too. Python compiles what is imported, and keeps it unless
# PYTHONDONTWRITEBYTECODE is set, as in many containers; compileall counts files that are no modules as failures.
$(BIN)/.installed: pyproject.toml constraints.txt
	@echo "== setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gonogo needs Python 3.11 or newer; set PYTHON=")'
	$(call environment,$(VENV))
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/(tests|pip)/' $(VENV)/lib > /dev/null || true
	@touch $@

run: $(BIN)/.installed  ## run the whole pipeline: fit, certify, evaluate, export, prove, benchmark
	@echo "== dvc repro"
	dvc repro
	@echo "== look at file://$(abspath reports/index.html): parts, verdicts and certificates; dvc metrics show metrics/headline has the numbers"

# With what glibc is told here, it keeps what is freed, and the system need not clear the same pages again and again.
test: $(BIN)/.installed  ## run every test, on all cores; TESTS has pytest's options for fewer
	@echo "== pytest"
	@python -m compileall -q src  # once, and not in each of the hundreds of processes that tests start
	MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483647 \
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(TESTS)

$(BIN)/.installed-cluster: $(BIN)/.installed
	@echo "== adding Ray, and what tests buckets, to $(VENV) (0.6 GB)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[pipeline,dev,dev-cluster]'
	@touch $@

cluster: $(BIN)/.installed-cluster  ## add Ray for fit.cluster and gonogo score --cluster, and its tests' needs

# Not from Playwright's own hosts, but as the system has it, with its updates.
chromium:  ## install Chromium, which the tests of the pages open; where it cannot be had, they are skipped with a reason
	@if command -v chromium-headless-shell; then exit 0; fi; \
	if ! command -v apt-get > /dev/null; then why="there is no apt-get"; \
	elif ! $(if $(filter 0,$(shell id -u)),,sudo --non-interactive) sh -c 'apt-get update && \
	  for each in chromium-headless-shell chromium; do \
	    apt-get install --yes --no-install-recommends $$each && exit; done; exit 1' > /dev/null; \
	then why="apt-get could not install it"; \
	else exit 0; fi; \
	if command -v chromium || command -v google-chrome; then exit 0; fi; \
	echo "no Chromium: $$why; install one, or name it in GONOGO_TEST_CHROMIUM. Until then the tests of pages are skipped"

# anomalib has an environment of its own: packages that gonogo does not need, and bounds that would hold its pins back.
$(ANOMALIB)/.installed: pyproject.toml constraints-anomalib.txt
	@echo "== setting up $(ANOMALIB) (2 GB, about a minute)"
	$(call environment,$(ANOMALIB))
	$(ANOMALIB)/bin/python -m pip install --quiet -c constraints-anomalib.txt -e '.[anomalib]'
	@touch $@

anomalib: $(ANOMALIB)/.installed  ## set up the environment that fit.detector: anomalib runs in

$(NOTEBOOKS)/.installed: pyproject.toml constraints-notebooks.txt
	@echo "== setting up $(NOTEBOOKS) (0.5 GB, about a minute)"
	$(call environment,$(NOTEBOOKS))
	$(NOTEBOOKS)/bin/python -m pip install --quiet -c constraints-notebooks.txt -e '.[notebooks]'
	@touch $@

# marimo's own check ends with status 0 whatever it finds, and says nothing where it finds nothing.
notebooks: $(NOTEBOOKS)/.installed  ## run the notebooks as scripts; `.venv-notebooks/bin/marimo edit notebooks` opens them
	for each in notebooks/*.py; do $(NOTEBOOKS)/bin/python $$each || exit 1; done
	@found=$$($(NOTEBOOKS)/bin/marimo check notebooks/*.py 2>&1); echo "$$found"; test -z "$$found"

$(MLFLOW)/.installed: pyproject.toml constraints-mlflow.txt
	@echo "== setting up $(MLFLOW) (1 GB, a few minutes)"
	$(call environment,$(MLFLOW))
	$(MLFLOW)/bin/python -m pip install --quiet -c constraints-mlflow.txt -e '.[mlflow]'
	@touch $@

mlflow: $(MLFLOW)/.installed  ## show what gonogo track wrote to mlflow.db, at http://127.0.0.1:5000
	MLFLOW_DISABLE_TELEMETRY=true PATH="$(abspath $(MLFLOW))/bin:$$PATH" mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///mlflow.db

# The DAGs call the commands of the project's environment, so Airflow's needs nothing of gonogo.
$(AIRFLOW)/.installed: constraints-airflow.txt
	@echo "== setting up $(AIRFLOW) (0.3 GB, a few minutes)"
	$(call environment,$(AIRFLOW))
	$(AIRFLOW)/bin/python -m pip install --quiet -c constraints-airflow.txt apache-airflow
	@touch $@

airflow: $(AIRFLOW)/.installed $(BIN)/.installed  ## run the pipelines of ops/airflow by `airflow dags test`, in .venv-airflow
	python -m pytest -n0 -q -rs tests/project/test_airflow.py

$(EVIDENTLY)/.installed: pyproject.toml constraints-evidently.txt
	@echo "== setting up $(EVIDENTLY) (1 GB, a few minutes)"
	$(call environment,$(EVIDENTLY))
	$(EVIDENTLY)/bin/python -m pip install --quiet -c constraints-evidently.txt -e '.[evidently]'
	@touch $@

evidently: $(EVIDENTLY)/.installed $(BIN)/.installed  ## set up .venv-evidently for gonogo drift --evidently, and try it
	python -m pytest -n0 -q -rs tests/cli/test_drift.py -k evidently

# BUNDLE is any bundle; BASE stands for the base image where no registry can be reached.
BUNDLE ?= bundles/brick
containers:  ## build ops/Dockerfile and run the service in it, read-only, by podman; BUNDLE= and BASE= choose
	@ops/try_containers.sh $(BUNDLE)

peers: $(BIN)/.installed $(ANOMALIB)/.installed  ## benchmark PatchCore beside anomalib's; DATA=FOLDER has parts, PEERS options
	python benchmarks/anomalib_side_by_side.py $(if $(DATA),--data $(DATA)) $(PEERS)

lint: $(BIN)/.installed  ## check style, types and what is unsafe
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	bandit --quiet --configfile pyproject.toml --recursive src stages tools
	shellcheck .ci/run ops/*.sh

audit: $(BIN)/.installed  ## ask for known vulnerabilities of the pinned packages; AUDIT=--must-reach fails unanswered
	python tools/audit.py $(AUDIT)

format: $(BIN)/.installed  ## rewrite the code in the house's format
	ruff check --fix .
	ruff format .

readme: $(BIN)/.installed  ## refresh tables and numbers of README and docs from what was measured
	python tools/readme.py table --write
	python tools/doc_numbers.py --write

$(BIN)/.installed-docs: $(BIN)/.installed
	@echo "== adding what builds the documentation to $(VENV) (40 MB)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[pipeline,dev,docs]'
	@touch $@

docs: $(BIN)/.installed-docs  ## build the web site of docs/ in build/site, with the API reference; fails on a broken link
	zensical build --clean --strict
	@! grep -rlE --include='*.html' '<(script|link|img)[^>]+(src|href)="https?://' build/site \
	  || { echo "these pages load something from a network; every script, style and font must be local"; exit 1; }

# From no older build, and with the commit's date: the same commit gives the same bytes.
wheel: $(BIN)/.installed  ## build the wheel, and beside it a CycloneDX list of all that a scoring install consists of
	rm -rf build/lib build/bdist.* build/wheel build/scoring
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv --without-pip build/scoring
	python -m pip --python build/scoring/bin/python install --quiet -c constraints.txt build/wheel/gonogo-*.whl
	cyclonedx-py environment --output-reproducible --output-file build/wheel/gonogo.cdx.json build/scoring/bin/python
	@ls -l build/wheel

clean:  ## remove what the pipeline and the tools made, but no experiment and no cache of DVC
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache dvc_plots build
