# make repro   the whole paper at the scale that params.yaml names, from nothing to outputs/<scale>/report.html;
#              make repro SCALE=laptop names another scale there first, make repro SEEDS=20 the seeds to stop at;
#              make repro CLUSTER=tcp://HOST:PORT runs on the workers of a Dask cluster (docs/batch.md)
# make report  that page from the records that are there, without running anything (make report SCALE=laptop)
# make check   lint, types, and every test that needs no pipeline, no browser and no minutes
# make test    the same lint and types, and all tests
# make lab     JupyterLab, open at the notebooks (make lab LAB=--ip=0.0.0.0: to be reached from outside a container)
# make bench   the timings of bench/ that need no folder or program of yours, side by side; hours
# make torture what kills, full disks and flipped bits leave (make torture SEED=1: other moments); a table
# make docs-site  the site: pages, API reference, executed notebooks, into build/site/index.html
# make docs    the tables of README and docs written anew from the records (make docs FILL=--pictures: the figures too)
# make publish the table of published runs in the package written anew from the records, for `pslcore benchmark` and `verify`
# make house   the parts of both packages and their imports in docs/house.md, drawn anew
# make machine what this kind of machine makes of `quick`, into outputs/machines.json, for others to compare with
# make schema  params.schema.json and docs/settings.md written anew from the classes that check the settings
# make env     the set-up alone (every other target does it as well, once); on Linux without a GPU spare yourself CUDA by
#              make env INSTALL="uv pip install --torch-backend=cpu" (which wants uv)
# make lock    requirements.lock written anew from the ranges in pyproject.toml, versions kept where they fit
#              (make lock UPGRADE=--upgrade takes the newest)

# The first that runs; a name alone may lead to nothing (pyenv).
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c pass 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
INSTALL ?= python -m pip install --quiet --disable-pip-version-check
# Not abspath, which takes a path with a space for two.
BIN := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin
export PATH := $(BIN):$(PATH)
# One thread a process: on busy cores more are many times slower.
test check: export OMP_NUM_THREADS := 1
ifdef CLUSTER
export PSL_CLUSTER := $(CLUSTER)
endif

QUICK := not slow and not pipeline and not browser
PARALLEL := -n 2 --dist worksteal

.PHONY: repro report machine check lint test lab bench torture docs docs-site publish house schema env lock
.DEFAULT_GOAL := repro

# A ZIP or a release has no .git, which dvc asks for.
env: $(VENV)/ready
	@test -e .git -o -e .dvc/config.local || dvc config --quiet --local core.no_scm true

$(VENV)/ready: pyproject.toml requirements.lock
	@"$(PYTHON)" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" || \
	{ echo "Python 3.11 to 3.14 is needed; '$(PYTHON)' is none: name one with make PYTHON=/path/to/python." >&2; exit 1; }
	@"$(PYTHON)" -m venv "$(VENV)"
	@VIRTUAL_ENV="$(BIN:/bin=)" PIP_ROOT_USER_ACTION=ignore $(INSTALL) --constraint requirements.lock --editable ".[dev]"
	@touch $@

# The page is no output, so dvc does not miss it.
repro: env
ifdef SCALE
	@grep -q '^  $(SCALE):$$' params.yaml || { echo "params.yaml has no scale '$(SCALE)': name one of its sections." >&2; exit 2; }
	@sed 's/^scale: .*/scale: $(SCALE)/' params.yaml > params.new && mv params.new params.yaml
endif
ifdef SEEDS
	@echo '$(SEEDS)' | grep -Eqx '[1-9][0-9]*' || { echo "SEEDS = $(SEEDS) is no number of seeds: give one from 1." >&2; exit 2; }
	@grep -q '^seeds: ' params.yaml || { echo "params.yaml has no line 'seeds: …' at its top: add one." >&2; exit 2; }
	@sed 's/^seeds: [^ ]*/seeds: $(SEEDS)/' params.yaml > params.new && mv params.new params.yaml
endif
	@scale=$$(sed -n 's/^scale: *\([^ ]*\).*/\1/p' params.yaml); page=outputs/$$scale/report.html; \
	if python tools/stage.py lacking $$scale; then \
		PSL_LAST=here dvc repro && { test -e $$page || PSL_LAST=here dvc repro --force --single-item report; } && \
		echo && python tools/machine.py --compare $$scale && echo "The page: $$page"; \
	else python -m pslcore grid all --scale $$scale && python tools/page.py $$scale; fi

report: env
	@python tools/page.py $(SCALE)

machine: env
	python tools/machine.py

lint: env
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache

check: lint
	pytest -m "$(QUICK)" $(PARALLEL)

test: lint
	pytest $(PARALLEL)

lab: env
	jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) --LabApp.default_url=/lab/tree/notebooks $(LAB)

bench: env
	for name in samplers heads train rivals scale memory bits album cluster remote eq5; do python bench/$$name.py || exit 1; done

torture: env
	python tools/torture.py --seed $(or $(SEED),0)
	python tools/torture_wire.py --seed $(or $(SEED),0)

docs: env
	python tools/fill.py $(FILL)

docs-site: env
	python tools/docs_site.py

publish: env
	python tools/publish.py

house: env
	python tools/house.py

schema: env
	python -m psllab.grid.schema

lock: env
	uv pip compile pyproject.toml --extra dev --python-version 3.11 --no-header --no-annotate $(UPGRADE) -o requirements.lock
