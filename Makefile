# slakeeper: every target sets up what it needs (a .venv beside this file) and needs nothing before it.
#
#   make install             the set-up alone
#   make run ARGS="…"        start the service in the foreground; Ctrl-C stops it
#   make test ARGS="-k …"    all tests: fast, slow, system
#   make soak SEEDS=1000     the SLA tree on virtual time with faults, 1000 seeds; FIRST, HOURS, CLIMATE, JOBS
#   make soak SEED=7 TRACE=1 one of them again, with every event
#   make lint                ruff, mypy, import-linter, codespell
#   make format              let ruff rewrite the files
#   make bench               the benchmarks
#   make lock                work out the lock files again; LOCK_ARGS=--upgrade for newer versions
#   make clean               remove what was built and installed

SHELL := /bin/sh
PYTHON ?= python3
ARGS ?=
BENCH_ARGS ?= $(ARGS)
LOCK_ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

export PYTHON
.DEFAULT_GOAL := install
.PHONY: install dev run test soak lint format bench lock clean

install:
	@tools/venv.sh runtime

dev:
	@tools/venv.sh dev

run: install
	@exec $(BIN)/slakeeper start --demo $(ARGS)

test: dev
	@tools/test.sh $(ARGS)

soak: dev
	@exec $(BIN)/python -m tests.simulation.soak $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(HOURS),--hours $(HOURS)) $(if $(CLIMATE),--climate $(CLIMATE)) \
	  $(if $(JOBS),--jobs $(JOBS)) $(if $(TRACE),--trace) $(ARGS)

lint: dev
	@tools/lint.sh

format: dev
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: dev
	@exec $(BIN)/python -m bench $(BENCH_ARGS)

lock:
	@tools/lock.sh $(LOCK_ARGS)

clean:
	@rm -rf .venv .venv.lock build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@echo "clean: done"
