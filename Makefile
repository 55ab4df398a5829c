# Two commands carry everything: `make run` and `make test`. `make help` lists the rest.
# The logic lives in Python; this file only names it.

PYTHON ?= python3
VENV   := .venv/bin/python
LANES  ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test chaos mutants lint fmt bench reset screenshots notebook setup setup-dev lock

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup ## Set up, start everything and print where the pages are
	@exec $(VENV) -m local.run

test: setup-dev ## Set up and run the whole suite, browser tests included (LANES=1: one test at a time)
	@$(VENV) -m local.chromium
	@$(VENV) -m local.postgrest_install
	@$(VENV) -m pytest -n $(LANES) --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: setup-dev ## Kill, freeze and cut off engines at every point (LONG=1: ten times the seeds)
	@$(VENV) -m local.postgrest_install
	@CHAOS=$(if $(LONG),long,full) $(VENV) -m tests.support.chaos_run $(ARGS)

mutants: setup-dev ## Plant deliberate bugs and see whether the tests notice
	@$(VENV) -m local.postgrest_install
	@$(VENV) -m scripts.mutants $(ARGS)

lint: setup-dev ## Check style, types and import rules
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy
	.venv/bin/lint-imports

fmt: setup-dev ## Format the code
	$(VENV) -m ruff check --fix --quiet .
	$(VENV) -m ruff format .

bench: setup-dev ## Measure the rows of the speed table (PEERS=1: beside NautilusTrader, installed apart)
	$(VENV) -m bench

reset: setup ## Wipe what Interlock keeps on this machine, after asking (FORCE=1 does not ask)
	@$(VENV) -m local.reset

screenshots: setup-dev ## Take the documentation's screenshots
	$(VENV) -m scripts.screenshots

notebook: setup-dev ## Run the notebooks from top to bottom
	$(VENV) -m pytest --nbmake notebooks

setup:
	@$(PYTHON) local/setup_venv.py requirements.txt

setup-dev:
	@$(PYTHON) local/setup_venv.py requirements-dev.txt

lock: setup-dev
	$(VENV) -m pip freeze --all --exclude pip --exclude setuptools > requirements.lock
