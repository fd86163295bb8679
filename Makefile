# One environment in .venv, made from nothing but python3 (3.11 or newer); rebuilt only when its inputs change.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# Files of tests side by side, as tests of one file share runs that take seconds to train.
IN_PARALLEL := -n auto --maxprocesses 8 --dist loadfile

export UV_COMPILE_BYTECODE := 1
export VIRTUAL_ENV := $(abspath $(VENV))

.PHONY: quickstart test lint coverage format clean
.DELETE_ON_ERROR:

quickstart: $(VENV)/.installed ## train, search, export and report on embedded images; ends with the report's path
	@$(BIN)/ofa quickstart

test: $(VENV)/.installed-dev ## unit tests
	$(BIN)/python -m pytest $(IN_PARALLEL)

lint: $(VENV)/.installed-dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

coverage: $(VENV)/.installed-dev ## unit tests with line coverage; fails below the floor in pyproject.toml
	$(BIN)/python -m pytest $(IN_PARALLEL) --cov --cov-report=term:skip-covered

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and every cache, keep runs/
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.installed: $(INPUTS) | $(BIN)/uv
	$(BIN)/uv pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(BIN)/uv
	$(BIN)/uv pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed
