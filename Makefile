# `make demo` and `make test` need nothing but python3 (3.11 or newer), its venv module and make:
# they set everything up in .venv first.
#
# PYTHON    the interpreter that makes the virtual environment       make demo PYTHON=python3.12
# PIP_ARGS  further arguments of every `pip install`, for example another package index. On a
#           machine without an accelerator an index with CPU-only builds of torch saves
#           gigabytes:                                               make demo PIP_ARGS="-i URL"

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt $(PIP_ARGS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test long lint docs clean

help:
	@echo "make demo   set up, then prove on real digits that minted images help, or do not"
	@echo "make test   set up, then run the short test suite"
	@echo "make long   set up, then run the tests that take minutes each"
	@echo "make lint   set up, then check style and types"
	@echo "make docs   set up, then build the documentation into site/"
	@echo "make clean  remove the virtual environment, caches and the demo's folder"
	@echo 'Another package index:  make demo PIP_ARGS="-i URL"'

demo: $(VENV)/core.stamp
	$(BIN)/augmint prove digits --preset quick --out demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2 --doctest-modules -m "not long and not realdata"

long: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2 -m "long and not realdata"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "documentation: site/index.html"

clean:
	rm -rf $(VENV) demo site build augmint.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find augmint tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than what it was made from only until the next make: a changed pin sets up anew.
$(VENV)/core.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "augmint needs Python 3.11 or newer; '$(PYTHON)' is older or missing: name another with make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "the virtual environment could not be made; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@echo "setting up $(VENV): torch first, it is the largest"
	$(PIP) torch
	$(PIP) -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/core.stamp
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/docs.stamp: $(VENV)/core.stamp
	$(PIP) -e '.[docs]'
	@touch $@
