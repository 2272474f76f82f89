# The commands of the repository; `make help` explains them. Each installs what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
UV_VERSION := 0.13.9
# uv as it is on PATH, else this pinned one, installed below build/.
UV_FOLDER := build/tools/uv-$(UV_VERSION)
UV_ON_PATH := $(shell command -v uv)
UV := $(or $(UV_ON_PATH),$(CURDIR)/$(UV_FOLDER)/bin/uv)
# What puts a whole Airflow under load has the machine to itself; the other tests are shared out, by file. They wait
# most of their time.
WORKERS ?= 3
PYTEST := $(PYTHON) -m pytest --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=5
# Those of one tier, a marker's expression; one of the two selections may be empty.
define run_tests
codes=; \
$(PYTEST) -n 0 -m "alone and $(1)" $(ARGS) || codes+=" $$?"; \
$(PYTEST) -n $(WORKERS) -m "not alone and $(1)" $(ARGS) || codes+=" $$?"; \
[[ "$$codes" = "" || "$$codes" = " 5" ]]
endef
# dags/, plugins/ and include/ are imported as Airflow imports them.
export PYTHONPATH := $(CURDIR):$(CURDIR)/plugins

.PHONY: help setup programs demo up down validate calendar report schemas test exhaustive faults lint check format bench evidence clean

help: ## list these commands
	@awk -F ':[^#]*## ' '/^[a-z]+:[^#]*## / { printf "  make %-10s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.synced ## install the locked Python dependencies into .venv (the other commands do it themselves)

programs: setup ## build the pinned programs (the other commands build what they need themselves)
	$(PYTHON) -m include.sandbox.programs $(ARGS)

demo: setup ## release 3.0.0 under load, then a faulty 3.0.1 that is rolled back by itself; prints what happened
	$(PYTHON) -m include.sandbox.demo $(ARGS)

up: setup ## start the environment of the demo and leave it running, to click through it in the Airflow UI
	$(PYTHON) -m include.sandbox up $(ARGS)

down: setup ## stop what `make up` started
	$(PYTHON) -m include.sandbox down $(ARGS)

validate: setup ## check the plan's files: releases, environments, whether they fit together (STELLWERK_PLAN names another plan)
	$(PYTHON) -m include.plan validate

calendar: setup ## what is due when (STELLWERK_LEDGER_URL: and what has been started; ARGS=--all)
	$(PYTHON) -m include.report.calendar $(ARGS)

report: setup ## the report of a release from the ledger alone (STELLWERK_LEDGER_URL; ARGS="write 3.0.0 --out FOLDER", or "check FILE")
	$(PYTHON) -m include.report.release $(ARGS)

schemas: setup ## write the JSON Schemas of the plan's files, for editors
	$(PYTHON) -m include.plan schemas

test: setup ## the tests: those that need the machine alone, then the others (ARGS="-k word" selects; none selected is an error)
	@trap 'echo "Not run: further cases of what these tests show, marked exhaustive; make exhaustive runs them."' EXIT; \
	$(call run_tests,not exhaustive)

exhaustive: setup ## the further cases that `make test` leaves out: every step killed, every kind of bad input (an hour)
	@$(call run_tests,exhaustive)

faults: setup ## kill every task of a release between any two calls it makes, until no new point is found (hours)
	$(PYTHON) -m pytest -s tests/faults/every_kill_point.py $(ARGS)

lint: setup ## linter, formatting and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy include plugins

check: lint ## the same and the unit tests: the quick check before a commit
	$(PYTEST) -n $(WORKERS) tests/unit

format: setup ## let the linter and the formatter mend what they can
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

bench: setup ## measure cutovers and what the DAG costs beside plain commands; names the other benchmarks
	$(PYTHON) benchmarks/bench_cutover.py $(ARGS)
	@find benchmarks -name 'bench_*.py' ! -name bench_cutover.py | sort | sed 's|^|$(PYTHON) |'

evidence: setup ## show the measured figures of build/evidence as a table
	$(PYTHON) -m include.report.evidence $(ARGS)

clean: ## stop what runs and remove what was generated (.venv and the cache of pinned programs stay)
	@if [ -x $(PYTHON) ] && [ -d build ]; then $(PYTHON) -m include.sandbox down; fi
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/.synced: uv.lock pyproject.toml requirements.txt | $(if $(UV_ON_PATH),,$(UV_FOLDER)/bin/uv)
	"$(UV)" sync --frozen --python 3.11
	@touch $@

$(UV_FOLDER)/bin/uv:
	@python=$$(command -v python3.11 || command -v python3) || { echo "Python 3.11 is not on PATH: install it" >&2; exit 1; }; \
	folder=$(UV_FOLDER); rm -rf "$$folder"; \
	"$$python" -m venv "$$folder" || { echo "cannot make a virtual environment: install uv, or python3.11-venv" >&2; exit 1; }; \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
