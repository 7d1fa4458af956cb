# `make repro` answers the question; `make test`, `make check`, `make ui`, `make tour` do what they say. All install what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONUTF8 := 1

.PHONY: setup repro test check ui tour readme
.DEFAULT_GOAL := repro

setup: $(STAMP) ## create .venv and install the lock, once

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thaw needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

repro: setup ## run what has changed, then print the answer
	thaw check
	dvc repro
	thaw readme
	thaw answer

test: setup ## the whole test suite
	pytest

check: setup ## format, lint, types, import contracts
	ruff format --check .
	ruff check .
	pyright
	lint-imports

ui: setup ## MLflow on http://127.0.0.1:5000
	thaw ui

tour: setup ## the whole pipeline on scikit-learn's digits, in a folder of its own, in about a minute
	thaw tour

readme: setup ## write the result table into README.md
	thaw readme
