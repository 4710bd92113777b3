# One environment in .venv, made from constraints.txt; every target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# idle OpenMP threads sleep instead of spinning: workers share the cores
export OMP_WAIT_POLICY := passive
export GOMP_SPINCOUNT := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# --no-compile below: Python compiles the few modules that are used when they are used, and keeps that;
# where a machine image forbids it, a small run took 41 CPU seconds and not 16
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint docs bench screenshots clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    install, make a synthetic slide, score it, compare with the truth"
	@echo "make test    every test; KI67_DATA=FOLDER names the real slides and fields"
	@echo "make lint    ruff and mypy"
	@echo "make docs    build the documentation into site/"
	@echo "make bench   time the kernels, memory per cell, and ours beside rivals (RIVALS=...)"
	@echo "make screenshots  the pictures of docs/images: the demo, and a slide with artefacts (DEMO=FOLDER)"
	@echo "make clean   remove .venv, caches and built files"

# the real fields for comparison, where they lie beside the checkout as the tests expect them
demo: $(VENV)/.core
	KI67_DATA="$${KI67_DATA:-../shared/data}" $(BIN)/ki67 demo

# as many test files at a time as there are likely to be cores; 0 keeps to one process
TESTS_AT_ONCE ?= 2
test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# RIVALS="--rival tiatoolbox=VENV --rival lazyslide=VENV": see benchmarks/rivals/README.md
bench: $(VENV)/.test
	$(BIN)/python -m pytest benchmarks -o addopts="" --benchmark-only
	$(BIN)/python benchmarks/finalise_memory.py
	$(BIN)/python -m benchmarks.side_by_side build/side_by_side --repeat 3 $(RIVALS)

DEMO ?= demo
screenshots: $(VENV)/.test
	$(BIN)/ki67 demo --out $(DEMO)
	$(BIN)/ki67 synth $(DEMO)/artefacts.tif --width 6000 --height 6000 --seed 3 --artefacts local
	$(BIN)/ki67 run $(DEMO)/artefacts.tif --out $(DEMO)/artefacts
	$(BIN)/python -m benchmarks.screenshots $(DEMO) docs/images --artefacts $(DEMO)/artefacts

clean:
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find pipeline tests benchmarks workflows -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ki67: $$($(PYTHON) --version 2>&1) is too old; name one >= 3.11: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "ki67: $(PYTHON) cannot make an environment; install its venv package (python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e ".[docs]"
	@touch $@
