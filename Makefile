# `make repro` answers the question; `make test`, `make check`, `make ui`, `make tour` and the others do what they say. All install what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONUTF8 := 1

.PHONY: setup repro test check ui tour all-strategies domain-shift bench readme
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

all-strategies: setup ## params.all.yaml, every strategy, in a folder of its own; its report goes to docs/all-strategies
	thaw tour all-strategies --params params.all.yaml
	$(call keep_report,all-strategies)

domain-shift: setup ## params.yaml, trained on mono cells and tested on poly ones and the other way round; its report goes to docs/domain-shift
	thaw tour domain-shift --params params.yaml --set split.method=leave_domain_out --set "split.folds=[0, 1]" \
	  --set "features.backbones=[lite0]" --set "report.title=Trained on one kind of cell, tested on the other"
	$(call keep_report,domain-shift)

# Text, tables and figures, which hold no image of the data set; report.html does, and stays where it was made.
define keep_report
	rm -rf docs/$(1) && mkdir -p docs/$(1)
	cp -R $(1)/reports/report.md $(1)/reports/leaderboard.csv $(1)/reports/contrasts.csv $(1)/reports/figures docs/$(1)/
endef

# Peers lie beside thaw's packages, without their own requirements: fastai's name spaCy, and what thaw runs on must not move.
PEERS := $(VENV)/peers
BENCHES := extraction training heads comparison overhead growth frozen_prefix coverage page

$(PEERS)/.installed: requirements-bench.txt | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target $(PEERS) --requirement requirements-bench.txt
	@touch $@

bench: setup $(PEERS)/.installed ## speed beside other tools, what keeping frozen activations saves, whether the intervals cover: docs/benchmarks.md
	dvc repro prepare split features@lite0
	set -e; for module in $(BENCHES); do PYTHONPATH=$(abspath $(PEERS)) python -m bench.$$module; done

readme: setup ## write the result table into README.md
	thaw readme
