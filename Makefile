# HematoVision. `make help` lists what there is; `make run` and `make test` need nothing but python3.

PYTHON ?= python3
BIN = .venv/bin
# The tests' processes share the cores: without this OpenBLAS' threads spin against each other.
export OPENBLAS_NUM_THREADS ?= 1
# `check --deploy` looks at a production's settings; the key is thrown away.
PRODUCTION = HEMATOVISION_PRODUCTION=1 DJANGO_SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))')

.PHONY: help run test test-scaled lint format train bench install install-dev

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: install  ## Install, prepare and start everything; PORT=8001 for another port, Ctrl-C stops it
	@exec $(BIN)/python -m scripts.run

test: install-dev  ## Run the tests on SQLite; ARGS="-k upload" for some of them
	$(BIN)/python -m pytest $(ARGS)

test-scaled: install-dev  ## Run the same tests on a real PostgreSQL and a real Redis
	$(BIN)/python -m tests.services $(BIN)/python -m pytest $(ARGS)

lint: install-dev  ## Check style, types, templates, arrows between rooms, migrations and settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/djlint --check --lint .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

format: install-dev  ## Format Python and templates
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint --reformat --quiet .

train: install  ## Train a model; ARGS="--data FOLDER ... --weights FILE"
	$(BIN)/python manage.py train $(ARGS)

bench: install  ## Measure the engine beside its peers, and the running system
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.pipeline

install:
	@$(PYTHON) scripts/setup.py requirements.txt

install-dev:
	@$(PYTHON) scripts/setup.py requirements-dev.txt
