# Every target sets up what it needs: a virtual environment in .venv, made once and again when
# pyproject.toml or constraints.txt change. Needs Python 3.11 or later and make; no root.
#
#   make test PYTEST="-k sse"        a part of the tests
#   make PYTHON=python3.13 test      another Python, for a new environment
#   make VENV=.venv-313 test         an environment beside the first

VENV ?= .venv
PYTHON ?=
BIN := $(VENV)/bin
PYTEST ?=
# More than the cores of a small machine: many tests wait, for a time or for another process.
WORKERS ?= -n 4 --dist worksteal
SEEDS ?= 1000000
SOAK ?= --streams 10000
COMPARE ?= --write
TRIALS ?= --write
BENCH ?=

DEV := $(VENV)/.set-up-dev
DEMO := $(VENV)/.set-up-demo
MADE_FROM := pyproject.toml constraints.txt scripts/setup.sh

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types contracts news format bench soak simulate knowledge compare docs constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## see it: a stream that breaks again and again, without and with Unbroken
	@$(BIN)/unbroken demo

test: check ## everything: style, types, layers, then all tests
	@$(BIN)/python -m pytest $(WORKERS) $(PYTEST)

check: lint types contracts news ## style, types, layers and news, without the tests

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(DEV)
	@$(BIN)/mypy

contracts: $(DEV)
	@$(BIN)/lint-imports --no-logo

news: $(DEV)
	@$(BIN)/towncrier build --draft --version next > /dev/null 2>&1 || $(BIN)/towncrier build --draft --version next

format: $(DEV) ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV) ## measure speed and memory (BENCH=decode for one of them)
	@$(BIN)/python scripts/bench.py $(BENCH)

soak: $(DEV) ## Unbroken against the lab with random faults (SOAK="--streams 10000" or "--minutes 60")
	@$(BIN)/python scripts/soak.py $(SOAK)

simulate: $(DEV) ## the long tests of the core, with progress (SEEDS=1000000, or as many as you like)
	@SEEDS=$(SEEDS) $(BIN)/python -m pytest -m soak -s --timeout 0 $(PYTEST)

knowledge: $(DEV) ## play every record of the knowledge base in the lab, and write what was measured (TRIALS="--only llm/...")
	@$(BIN)/python -m trials $(TRIALS)

compare: $(DEV) ## repeat the published comparison (COMPARE="--only openai*" for a part of it)
	@$(BIN)/python -m compare $(COMPARE)

docs: $(DEV) ## write the generated pages again, then run every command and example in the docs
	@$(BIN)/python scripts/seed_table.py
	@$(BIN)/python scripts/option_table.py
	@$(BIN)/python scripts/ladder_table.py
	@$(BIN)/python scripts/fault_table.py
	@$(BIN)/python scripts/config_table.py
	@$(BIN)/python scripts/knowledge_table.py
	@$(BIN)/python -m pytest tests/docs $(PYTEST)

constraints: $(DEV) ## look for newer versions and pin them
	@PATH="$(BIN):$$PATH" scripts/pin.sh

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -not -path './.env*' -prune -exec rm -rf {} +

$(DEV): $(MADE_FROM)
	@VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/setup.sh dev

$(DEMO): $(MADE_FROM)
	@VENV="$(VENV)" PYTHON="$(PYTHON)" scripts/setup.sh demo
