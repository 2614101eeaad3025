# billtrack: `make` lists what can be done. Everything happens inside .venv.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-long e2e check docker-test bench soak postman env lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## set up, then start billtrack with demo data on http://localhost:6009
	@PYTHON='$(PYTHON)' scripts/set-up run
	@exec env BILLTRACK_DEMO="$${BILLTRACK_DEMO-1}" $(BIN)/billtrack up

test: ## set up, then run the whole test suite (ARGS='-k rating' for a part)
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: ## run what needs neither server nor browser, on SQLite, in about a minute
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --fast $(ARGS)

test-long: ## run the whole suite with ten times the kills, races and random cases
	@PYTHON='$(PYTHON)' scripts/set-up test
	@BILLTRACK_TEST_EFFORT="$${BILLTRACK_TEST_EFFORT-10}" $(BIN)/python -m pytest -n auto \
		--dist loadfile --no-loadscope-reorder --timeout 3000 $(ARGS)

e2e: ## run the tests in a real browser (tests/browser)
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m pytest tests/browser $(ARGS)

check: ## format, lint, types and layers, as CI runs them
	@PYTHON='$(PYTHON)' scripts/set-up check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
ifeq ($(shell uname -s),Linux)
	$(BIN)/hadolint Dockerfile
	@POSTGRES_PASSWORD=x REDIS_PASSWORD=x BILLTRACK_SECRET_KEY=x \
		$(BIN)/docker-compose --env-file /dev/null config --quiet
endif

docker-test: ## build the image, run it, then all of docker-compose.yml (needs Docker or Podman)
	@$(PYTHON) -m tests.docker $(ARGS)

bench: ## measure speed and CPU time beside limits (ARGS='records --full', BENCH_BASELINE=FOLDER)
	@PYTHON='$(PYTHON)' scripts/set-up bench
	@$(BIN)/python -m bench $(ARGS)

soak: ## kill web and database under load for minutes (ARGS='--seconds 600 --database sqlite')
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m tests.scenarios.soak $(ARGS)

postman: ## write docs/billtrack.postman_collection.json anew from the API
	@PYTHON='$(PYTHON)' scripts/set-up check
	@$(BIN)/billtrack openapi --postman --output docs/billtrack.postman_collection.json

env: ## write .env with new secrets for docker compose, unless there is one
	@scripts/env

lock: ## re-create both requirements files from pyproject.toml (ARGS=--upgrade for newer)
	@PYTHON='$(PYTHON)' scripts/lock $(ARGS)

clean: ## remove .venv and caches; data in ./instance stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
