# make repro   the whole paper at the scale that params.yaml names, from nothing to outputs/<scale>/report.html
# make test    lint and all tests
# make lab     JupyterLab on the notebooks
# make bench   the timings of bench/, side by side
# make env     the set-up alone (every other target does it as well, once)
# make lock    write requirements.lock anew from the pins in pyproject.toml

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: repro test lab bench env lock
.DEFAULT_GOAL := repro

env: $(VENV)/ready

$(VENV)/ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[dev]"
	touch $@

repro: env
	dvc repro

test: env
	ruff check .
	ruff format --check .
	pytest

lab: env
	jupyter lab notebooks

bench: env
	for file in bench/*.py; do python $$file || exit 1; done

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed --report $(VENV)/report.json --editable ".[dev]"
	$(BIN)/python -c "import json; rows = json.load(open('$(VENV)/report.json'))['install']; \
	print('\n'.join(sorted(f\"{r['metadata']['name'].lower()}=={r['metadata']['version'].partition('+')[0]}\" for r in rows if r['metadata']['name'] != 'pslcore')))" > requirements.lock
