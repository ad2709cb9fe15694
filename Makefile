# `make` lists the targets. Everything is installed into .venv, by scripts/set_up.py.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-exhaustive coverage lock check format docs clean

# The first Python on PATH that is new enough; `make PYTHON=/path/to/python3` takes another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c "$(NEW_ENOUGH)" 2> /dev/null && echo $$name && break; done)
IN_VENV := .venv/bin/python

# The lock names the public index, whatever index this machine's settings name.
UV := env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(IN_VENV) -m uv

# Half of a test's time it waits, for processes and for polls: five workers keep two cores busy.
WORKERS ?= 5
# One group of real-server tests stays on one worker, so that two vLLM servers never share the cores.
PYTEST := $(IN_VENV) -m pytest --numprocesses $(WORKERS) --dist loadgroup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv: whisperctl, its tools and vLLM; quick when nothing changed
	@test -n "$(PYTHON)" || { echo "whisperctl needs Python 3.11 or newer on PATH (or make PYTHON=...)" >&2; exit 1; }
	@"$(PYTHON)" scripts/set_up.py

demo: setup ## plan, apply, transcribe and destroy specs/demo.yaml on a local UbiOps with a real vLLM
	@$(IN_VENV) scripts/demo.py

test: setup ## every test, those with a real vLLM too; ARGS="..." goes to pytest
	$(PYTEST) $(ARGS)

test-exhaustive: setup ## every test, and the long sweeps in full
	WHISPERCTL_EXHAUSTIVE=1 $(PYTEST) $(ARGS)

coverage: setup ## every test, and which lines none of them runs; fails below the floor in pyproject.toml
	$(PYTEST) --cov --cov-report=term $(ARGS)

lock: ## make uv.lock fit pyproject.toml; ARGS=--upgrade takes the newest releases that it allows
	$(UV) lock $(ARGS)

check: setup ## formatting, lint, types and layering
	scripts/check

format: setup ## put the code into its format
	.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format .

docs: setup ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

clean: ## remove what builds and checks leave behind, but not .venv
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
