# Every target works alone in a fresh clone, on a machine that has Python 3.11 or later, pip and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := .venv/pip-is-current
RUNTIME := .venv/runtime-is-installed
DEV := .venv/dev-is-installed
COMPILED := .venv/imports-are-compiled
# pip would compile every module of every package, which takes more than a minute; few of them are ever imported.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

# Modules are compiled once, when they are first imported.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test lint bench docs

help:
	@echo "make install   a virtual environment in .venv with everything that developing needs"
	@echo "make demo      compare LoCoMT with its baselines on clips made on the spot; writes demo/report.html"
	@echo "make test      lint, then the tests"
	@echo "make lint      ruff and mypy"
	@echo "make bench     time the attention op, the loading of data and, where there is a CUDA device, the whole model"
	@echo "make docs      build the documentation into site/"

install: $(COMPILED)

demo: $(RUNTIME)
	$(BIN)/locomt demo

# A process a core with a thread each: small models only wait where several threads share them. Files are taken in their
# order: by the number of their tests the longest, which has six, would come last and be waited for.
test: $(DEV)
	$(MAKE) --no-print-directory --jobs=2 lint $(COMPILED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(RUNTIME)
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/model.py

docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The pip that comes with Python may be years old, and takes twice the time to find the versions.
$(PIP): constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) pip
	touch $@

# What the commands need; the demo waits for no more than this.
$(RUNTIME): $(PIP) pyproject.toml
	$(PIP_INSTALL) --editable .
	touch $@

# What the tests, the linters and the documentation need besides; at once, since pip takes its time for each call.
$(DEV): $(PIP) pyproject.toml
	$(PIP_INSTALL) --editable '.[dev]'
	touch $(RUNTIME) $@

# What every process of the tests begins with, so that none of them has it to do.
$(COMPILED): $(DEV)
	$(BIN)/python -c 'import locomt.train.fitting'
	touch $@
