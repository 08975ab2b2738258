# SchoolNode. `make` alone explains.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What `make demo` is given on top, e.g. make demo ARGS="--for 90 --json"
ARGS ?=
# Tests, demo and benchmarks start hundreds of processes: none shall compile the code again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "SchoolNode needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing; run: apt install python3-venv"; exit 1; }
	@echo "Building the environment in $(VENV) (once, about half a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

env: $(VENV)/.ready ## build the environment only

demo: $(VENV)/.ready ## one hub, three schools, simulated devices; ARGS="--for 90 --json" for the headless proof
	@$(BIN)/schoolnode demo $(ARGS)

# The tests mostly wait for processes and lines: files run side by side, each file in order.
JOBS ?= 5
test: $(VENV)/.ready ## all tests; installs the system packages they need where it can
	@sh tests/system_packages.sh
	@sh tests/run.sh $(BIN)/pytest $(JOBS) $(ARGS)

# Which chances the soak draws its kills from.
SEEDS ?= 1 2 3 4 5 6
# On a disk, while the stores of `make test` lie in memory (tests/conftest.py).
soak: export PYTEST_DEBUG_TEMPROOT = $(or $(TMPDIR),/tmp)
soak: $(VENV)/.ready ## kill -9 at random, a crash at every write of a disk (two hours), devices in trouble, lessons in a storm, for minutes each; SEEDS="1 2 3"
	@SCHOOLNODE_SOAK_SEEDS="$(SEEDS)" $(BIN)/pytest -s tests/scenarios/test_kill_nine.py
	@SCHOOLNODE_EVERY_CRASH=1 $(BIN)/pytest -q tests/sync/test_crash_points.py
	@SCHOOLNODE_CHAOS_SEEDS="$(SEEDS)" $(BIN)/pytest -q tests/drivers/test_fleet_chaos.py
	@SCHOOLNODE_STORM_SEEDS="$(SEEDS)" $(BIN)/pytest -q -s tests/edge/test_lesson_storm.py

# Target-specific, since soak's SEEDS are chances of another kind; a command line's go before both.
simulate: SEEDS = 200
simulate: SCHOOLS = 50
simulate: $(VENV)/.ready ## sync with 50 schools and all faults on one seeded loop; SEEDS=200, or SEED=n to see one again
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --schools $(SCHOOLS) $(if $(SEED),--seed $(SEED))

check: $(VENV)/.ready ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready ## format the code and fix what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.ready ## the benchmarks' short form; writes benchmarks/results.md; ARGS="lesson_" for those that begin so
	@$(BIN)/python benchmarks/run_all.py $(ARGS)

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) demo-data dist build

.PHONY: help env demo test soak simulate check format bench clean
