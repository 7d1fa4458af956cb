# `make repro` answers the question; `make test`, `make check`, `make ui`, `make tour`, `make all-strategies` do what they say. All install what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONUTF8 := 1

.PHONY: setup repro test check ui tour all-strategies readme
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

all-strategies: setup ## params.all.yaml, every strategy, in a folder of its own, in about a quarter of an hour; its report goes to docs/all-strategies
	thaw tour all-strategies --params params.all.yaml
	mkdir -p docs/all-strategies
	cp -R all-strategies/reports/report.md all-strategies/reports/leaderboard.csv all-strategies/reports/contrasts.csv all-strategies/reports/figures docs/all-strategies/

readme: setup ## write the result table into README.md
	thaw readme
