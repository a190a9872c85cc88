# Every target does the set-up it needs; `make` alone lists them. Paths are relative, so that the folder may have any name.

PYTEST := .venv/bin/python -m pytest
# Two workers with one torch thread each (tests/conftest.py): CI has two cores. Each begins with
# one half, so that tests of a file stay together with what they share, and takes from the other when it is idle.
JOBS ?= 2
WORKERS = -n $(JOBS) --dist worksteal
# Passed on to the command of train, test, test-all and bench: make train ARGS="trainer.max_epochs=2"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all check format bench docs dist clean clean-all

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## .venv with everything pinned; needs only Python 3.11 or newer (PYTHON=... names one)
	@bash scripts/setup.sh

train: setup ## fine-tune a pretrained encoder on human-rated sentiment, minutes on two cores
	.venv/bin/runwright train experiment=vader $(ARGS)

test: setup ## the default tests: on the CPU, without a network
	@CUDA_VISIBLE_DEVICES= $(PYTEST) $(WORKERS) -m "not slow and not gpu and not network" $(ARGS) \
	  && echo "Next: make check (lint and types), make test-all (full counts and real recipes)." \
	  || { echo "Again, only what failed: $(PYTEST) --last-failed -x"; exit 1; }

test-all: setup ## all tests that this machine can run (RUNWRIGHT_TEST_NETWORK=1 for those that need a network)
	@$(PYTEST) $(WORKERS) $(ARGS) \
	  || { echo "Again, only what failed: $(PYTEST) --last-failed -x"; exit 1; }

check: setup ## lint, formatting and types
	@failed=0; \
	.venv/bin/ruff check . || failed=1; \
	.venv/bin/ruff format --check . || { failed=1; echo "make format mends it."; }; \
	.venv/bin/pyright || failed=1; \
	exit $$failed

format: setup ## rewrite the sources as ruff wants them
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

bench: setup ## speed against the named baselines
	.venv/bin/runwright bench $(ARGS)

docs: setup ## the documentation as a site: build/site/index.html
	@.venv/bin/python -c "import ipykernel, material, mkdocstrings, nbclient" 2>/dev/null \
	  || PIP_CONSTRAINT=constraints.txt .venv/bin/python -m pip install --quiet -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet && echo "build/site/index.html"

dist: setup ## wheel and sdist of the last commit in dist/, built in a clean clone and checked
	@bash scripts/dist.sh

clean: ## remove caches and builds; outputs/ and .venv stay
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis .coverage
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## remove .venv too; outputs/ stays
	@rm -rf .venv
