# Two commands set everything up: `make demo` and `make test`. Both make and share .venv, as `make docs` does.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-long quality docs package clean

# torch comes first and alone: with a torch installed, nothing asks for another one.
$(READY): setup.cfg setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

# The demonstration of a task: `make demo`, `make demo TASK=depth`, `make demo TASK=detection`.
TASK ?= segmentation
SCRIPT_segmentation := run_seg_distill.py
SCRIPT_depth := run_depth_distill.py
SCRIPT_detection := run_det_distill.py
DEMO := $(or $(SCRIPT_$(TASK)),$(error TASK must be segmentation, depth or detection, got '$(TASK)'))

demo: $(READY)
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
		examples/$(DEMO)

test: $(READY)
	$(PYTEST) -m "not long"

test-long: $(READY)
	$(PYTEST) -m long

quality: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

package: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# The documentation site, in build/site; a warning is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv outputs build dist
