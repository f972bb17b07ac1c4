PYTHON ?= python3
STAMP := .venv/.installed

TEST_STAMP := .venv/.installed-for-tests
MINUTES ?= 5
WORKERS ?= 4

.PHONY: help demo demo-directus test test-contract test-fuzz test-chaos test-simulation test-dockerfile matrix matrix-short coverage \
	audit docs lint format \
	bench-latency bench-idle bench-sdk bench-takeover bench-cursor bench-holes bench-catchup bench-ingest \
	bench-door bench-admin bench-soak bench-fanout bench-browsers

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## Run the example site with a fake Directus, or yours from .env
	@.venv/bin/python -m example_project.demo

demo-directus: $(STAMP)  ## Run the example site with a real Directus from npm
	@.venv/bin/python -m example_project.demo --directus

test: $(TEST_STAMP)  ## Run all tests (ARGS="-k delivery" for some, WORKERS=0 for one process)
	@.venv/bin/python -m pytest --numprocesses $(WORKERS) $(ARGS)

test-contract: $(TEST_STAMP)  ## Run the contract suite on Directus 10, 11, 12 and the fake
	@CONTRACT_VERSIONS=10.13.4,12.4.1 .venv/bin/python -m pytest tests/contract $(ARGS)

test-fuzz: $(TEST_STAMP)  ## Fuzz the protocol and the client for some minutes
	@.venv/bin/python -m tests.fuzz.long --frames 1000000 --conversations 20000

test-chaos: $(TEST_STAMP)  ## Break everything at random for some minutes (ARGS="--seed 7 --database postgres --variant cache")
	@.venv/bin/python -m tests.chaos $(ARGS)

test-simulation: $(TEST_STAMP)  ## Simulate outages in virtual time, on all cores (MINUTES=480 ARGS="--seed 7 --trace")
	@.venv/bin/python -m tests.simulation $(if $(findstring --seed,$(ARGS)),,--minutes $(MINUTES) --jobs 0 --quiet) $(ARGS)

test-dockerfile: $(TEST_STAMP)  ## Run the steps of docs/deployment/Dockerfile in a clean folder
	@TEST_DOCKERFILE=1 .venv/bin/python -m pytest tests/docs/test_deployment_page.py $(ARGS)

# Every Python of pyenv, where there is one; uv shall not download any.
PYTHONS := $(shell pyenv versions --bare 2>/dev/null | paste -sd: -)

matrix: $(TEST_STAMP)  ## Run unit and integration tests on all Pythons, Djangos and databases (takes long; ARGS="-k sqlite" for some)
	@PYENV_VERSION="$(PYTHONS)" UV_PYTHON_DOWNLOADS=never .venv/bin/nox -s matrix $(ARGS); \
		status=$$?; .venv/bin/nox -s table; exit $$status

matrix-short: $(TEST_STAMP)  ## Run the two ends of it: the oldest of everything, and the newest
	@PYENV_VERSION="$(PYTHONS)" UV_PYTHON_DOWNLOADS=never .venv/bin/nox -s short \
		--error-on-missing-interpreters $(ARGS); \
		status=$$?; .venv/bin/nox -s table -- short; exit $$status

coverage: $(TEST_STAMP)  ## Measure branch coverage of all tests, and name what no test reached
	@.venv/bin/python -m pytest --numprocesses $(WORKERS) --cov --cov-report=term-missing:skip-covered $(ARGS)

audit: $(TEST_STAMP)  ## Look for known vulnerabilities in what is installed
	@.venv/bin/pip-audit --strict --skip-editable

docs: $(TEST_STAMP)  ## Build the documentation into site/, strictly
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

lint: $(TEST_STAMP)  ## Check style, types, imports, migrations and documentation
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m django makemigrations --check --dry-run --settings tests.settings
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

format: $(TEST_STAMP)  ## Format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench-latency: $(TEST_STAMP)  ## Measure from a change to its signal (ARGS="--quick --old ../other-checkout")
	@.venv/bin/python -m tests.benchmarks.latency $(ARGS)

bench-sdk: $(TEST_STAMP)  ## Count events received here and by @directus/sdk
	@.venv/bin/python -m tests.benchmarks.sdk_peer

bench-cursor: $(TEST_STAMP)  ## Count changes that a naive cursor misses, and ours
	@.venv/bin/python -m tests.benchmarks.cursor

bench-holes: $(TEST_STAMP)  ## Measure what ids cost that never appear in the log (ARGS="--rows 2000")
	@.venv/bin/python -m tests.benchmarks.holes $(ARGS)

bench-catchup: $(TEST_STAMP)  ## Measure from reconnect to caught up
	@.venv/bin/python -m tests.benchmarks.catchup $(ARGS)

bench-ingest: $(TEST_STAMP)  ## Measure events/s from the activity log on (ARGS="--memory 1000000")
	@.venv/bin/python -m tests.benchmarks.ingest $(ARGS)

bench-fanout: $(TEST_STAMP)  ## Measure one change to 5,000 browsers, on each way (ARGS=--quick)
	@.venv/bin/python -m tests.benchmarks.fanout $(ARGS)

bench-browsers: $(TEST_STAMP)  ## Measure 10,000 idle browsers on one process
	@.venv/bin/python -m tests.benchmarks.browsers $(ARGS)

bench-idle: $(TEST_STAMP)  ## Measure an idle listener (MINUTES=5 ARGS=--no-socket)
	@.venv/bin/python -m tests.benchmarks.idle $(MINUTES) $(ARGS)

bench-door: $(TEST_STAMP)  ## Measure the door alone: changes, and knocks of all kinds
	@.venv/bin/python -m tests.benchmarks.door $(ARGS)

bench-admin: $(TEST_STAMP)  ## Measure queries and times of the admin's pages
	@.venv/bin/python -m tests.benchmarks.admin_pages $(ARGS)

bench-soak: $(TEST_STAMP)  ## Listen for an hour, with changes and breaks (ARGS="--minutes 5 --every 60")
	@.venv/bin/python -m tests.benchmarks.soak $(ARGS)

bench-takeover: $(TEST_STAMP)  ## Measure how long a takeover takes after SIGKILL
	@.venv/bin/python -m tests.benchmarks.takeover

$(TEST_STAMP): $(STAMP)
	@echo "Installing what the tests need"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@.venv/bin/python -m pip install --quiet --group dev -e ".[redis,postgres,testing]"
	@touch $@

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed. Say which: make demo PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m example_project.demo.environment
