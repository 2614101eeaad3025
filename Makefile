# billtrack: `make` lists what can be done. Everything happens inside .venv.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test e2e check bench postman lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: ## set up, then start billtrack with demo data on http://localhost:6009
	@PYTHON='$(PYTHON)' scripts/set-up run
	@exec env BILLTRACK_DEMO="$${BILLTRACK_DEMO-1}" $(BIN)/billtrack up

test: ## set up, then run the whole test suite (ARGS='-k rating' for a part)
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

e2e: ## run the tests in a real browser (tests/browser)
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m pytest tests/browser $(ARGS)

check: ## format, lint, types and layers, as CI runs them
	@PYTHON='$(PYTHON)' scripts/set-up check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: ## measure speed and print each figure beside its limit
	@PYTHON='$(PYTHON)' scripts/set-up test
	@$(BIN)/python -m bench $(ARGS)

postman: ## write docs/billtrack.postman_collection.json anew from the API
	@PYTHON='$(PYTHON)' scripts/set-up check
	@$(BIN)/billtrack openapi --postman --output docs/billtrack.postman_collection.json

lock: ## re-create both requirements files from pyproject.toml (ARGS=--upgrade for newer)
	@PYTHON='$(PYTHON)' scripts/lock $(ARGS)

clean: ## remove .venv and caches; data in ./instance stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
