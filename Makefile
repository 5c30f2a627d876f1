# `make train PRESET=minimal` and `make test` set everything up themselves; `make help` lists the rest.

PRESET ?= lora
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# The first of these that is Python 3.11 or later; PYTHON=… names another.
PYTHONS := python3 python3.13 python3.12 python3.11
STACK := $(VENV)/.stack
# Another transformers over the same torch: many who serve a model, and llama.cpp's converter, read with it.
OLDER := $(VENV)/transformers4
OLDER_PINS := transformers==4.57.6 huggingface_hub==0.36.2 tokenizers==0.22.2
# Where it is set, every start compiles the whole stack's bytecode again: twice the import time.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup train lint test-fast test test-all test-toolkits test-slurm test-faults bench docs snapshot lock release

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

setup: $(STACK) ## make .venv with the pinned stack; does nothing when nothing changed

$(STACK): pyproject.toml constraints.txt
	@python=; for candidate in $(or $(PYTHON),$(PYTHONS)); do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	test -n "$$python" || { echo "setup needs Python 3.11 or later: install it, or name it with PYTHON=…" >&2; exit 1; }; \
	$$python -c 'import venv, ensurepip' 2>/dev/null || { echo "setup needs Python's venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }; \
	command -v "$${CXX:-c++}" >/dev/null || { echo "setup needs a C++ compiler, which DeepSpeed compiles with: install it (Debian: apt-get install g++)" >&2; exit 1; }; \
	echo "setting up $(VENV) with $$python: about 6 GB, about a minute" && \
	$$python -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train,eval,dev]' && \
	touch $(STACK)

$(OLDER): $(STACK) Makefile
	@rm -rf $@
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $@ --no-deps $(OLDER_PINS)
	@touch $@

train: setup ## train PRESET (default: lora); ARGS="-s num_train_epochs=1" passes options on
	@$(BIN)/qtune train $(PRESET) $(ARGS)

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test-fast: setup ## the tests without torch
	@$(BIN)/pytest --numprocesses logical --dist worksteal --ignore tests/e2e

test: lint test-fast ## what must pass before a change: lint, fast tests, every preset trained for real
	@$(BIN)/python bench/startup.py --loose
	@$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow" tests/e2e

test-all: setup $(OLDER) ## the slow suites that `make test` leaves out
	@$(BIN)/pytest --numprocesses 2 --dist loadfile -m "slow and not faults" tests/e2e

test-toolkits: setup ## other toolkits' own parsers read the configs that importing is tested with
	@$(BIN)/python tests/toolkits/run.py $(ARGS)

test-faults: setup ## a training killed at 32 random moments, and resumed until it ends as one left alone
	@$(BIN)/pytest --numprocesses 2 -m faults tests/e2e

test-slurm: setup ## install Slurm where it is missing (Debian, as root), and train in its jobs
	@test -x /usr/sbin/slurmctld || { apt-get update && apt-get install --yes --no-install-recommends slurmctld slurmd slurm-client munge; }
	@$(BIN)/pytest tests/e2e/test_slurm.py

bench: setup ## the ratios that README quotes
	@$(BIN)/python bench/startup.py
	@$(BIN)/python bench/check.py
	@$(BIN)/python bench/presets.py
	@$(BIN)/python bench/data_check.py
	@$(BIN)/python bench/runs.py
	@$(BIN)/python bench/redaction.py
	@$(BIN)/python bench/overhead.py

docs: setup ## write the generated blocks of README.md and docs/ anew
	@$(BIN)/python docs/blocks.py

snapshot: setup ## regenerate the snapshots of the installed LLaMA-Factory and transformers
	@$(BIN)/python adapter/tools/schema_snapshot.py
	@$(BIN)/python adapter/tools/architecture_snapshot.py

# The pins are those of the machine that they were tested on; setuptools comes with the virtual environment.
lock: setup ## renew constraints.txt from pyproject.toml; ARGS=--upgrade moves every pin
	@cp constraints.txt $(VENV)/lock
	@$(BIN)/uv pip compile --quiet --all-extras --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    --no-header --no-annotate --no-emit-package setuptools --output-file $(VENV)/lock $(ARGS) pyproject.toml
	@head -n 1 constraints.txt | cat - $(VENV)/lock > $(VENV)/constraints
	@cmp -s $(VENV)/constraints constraints.txt || cp $(VENV)/constraints constraints.txt

release: setup ## build the source distribution and the wheel into dist/, and try the wheel
	@rm -rf dist
	@$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python
	@$(BIN)/pytest tests/e2e/test_wheel.py --wheel dist/*.whl
	@ls -l dist/*
