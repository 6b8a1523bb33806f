# Every target works alone in a fresh clone, on a machine that has Python 3.11 or later, pip and make.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/runtime-is-installed
DEV := .venv/dev-is-installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help install demo test lint bench docs

help:
	@echo "make install   a virtual environment in .venv with everything that developing needs"
	@echo "make demo      compare LoCoMT with its baselines on clips made on the spot; writes demo/report.html"
	@echo "make test      lint, then the tests"
	@echo "make lint      ruff and mypy"
	@echo "make bench     time the attention op, the loading of data and, where there is a CUDA device, the whole model"
	@echo "make docs      build the documentation into site/"

install: $(DEV)

demo: $(RUNTIME)
	$(BIN)/locomt demo

# A process a core with a thread each: small models only wait where several threads share them. Files are taken in their
# order: by the number of their tests the longest, which has six, would come last and be waited for.
test: lint
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
	$(BIN)/mkdocs build --strict --quiet

# What the commands need; the demo waits for no more than this.
$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --editable .
	touch $@

# What the tests, the linters and the documentation need besides.
$(DEV): $(RUNTIME)
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@
