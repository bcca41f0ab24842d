# Habits, one a target. `make` lists them; `make check` is what must pass before a commit lands.
#
# Everything runs in .venv, which is made when it is first needed and renewed when the lists of
# dependencies change. Tests get an environment of their own (.ci/clean): an empty HOME, no
# credential, no setting of the person who runs them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLEAN := .ci/clean
# Where there is an atheris to be had; elsewhere Hypothesis takes its time.
FUZZER := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),.tools/fuzz/lib)
SECONDS ?= 120
PYTEST := $(CLEAN) $(BIN)/python -m pytest

.PHONY: help run test check lint types layers cov chaos fuzz real guard bench bench-peers completions docs fix clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED) ## install here, fire drill, start the daemon, say what to type next
	@$(BIN)/claude-failover drill
	@$(BIN)/claude-failover start
	@printf '\nThe daemon runs. Next:\n'
	@printf '  %-42s %s\n' \
	  '$(BIN)/claude-failover run' 'Claude Code, through it' \
	  '$(BIN)/claude-failover status' 'am I protected?' \
	  '$(BIN)/claude-failover doctor' 'what is missing, and how to mend it' \
	  '$(BIN)/claude-failover stop' 'stop it'

test: $(INSTALLED) ## unit and integration tests: the loop while working
	$(PYTEST) tests/unit tests/integration -q

check: lint types layers cov chaos docs ## all of it, fastest failure first

lint: $(INSTALLED) ## formatting, ruff, spelling, what is installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/python -m pip check
	$(BIN)/python tests/dependency_audit.py

types: $(INSTALLED) ## mypy --strict on package and tests
	$(BIN)/mypy

layers: $(INSTALLED) ## who may import what
	$(BIN)/lint-imports

cov: $(INSTALLED) ## branch coverage: each core module 100 % by its own tests, the whole at least 90 %
	$(BIN)/coverage erase
	$(CLEAN) $(BIN)/coverage run -m pytest tests/unit tests/integration -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90
	$(CLEAN) $(BIN)/python tests/coverage_by_module.py

chaos: $(INSTALLED) ## misbehaving backends over sockets, seeded (SEED=N repeats a run)
	$(PYTEST) tests/chaos -q

fuzz: $(INSTALLED) $(FUZZER) ## whatever reads what others write, with atheris: SECONDS=120 for all together
ifneq ($(FUZZER),)
	$(CLEAN) env PYTHONPATH=$(FUZZER) $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)
else
	CLAUDE_FAILOVER_FUZZ_SECONDS=$$(($(SECONDS) / 10)) $(PYTEST) tests/integration/test_security_fuzz.py -q
endif

real: $(INSTALLED) ## the real Claude Code and the anthropic SDK against simulated backends
	$(PYTEST) tests/real -q

guard: $(INSTALLED) ## CPU per request beside a bare forwarder, imports of quick commands: under a minute
	$(CLEAN) $(BIN)/python tests/benchmarks/guard.py

bench: $(INSTALLED) ## measured against a bare forwarder and nginx; writes docs/benchmarks.md
	$(CLEAN) $(BIN)/python tests/benchmarks/run.py

bench-peers: $(INSTALLED) ## the same beside other gateways, each in an environment of its own
	$(CLEAN) $(BIN)/python tests/benchmarks/run.py --peers

completions: $(INSTALLED) ## rewrite what is generated: completions/, and the references in docs/
	$(CLEAN) $(BIN)/python tests/generated.py --write

docs: $(INSTALLED) ## completions and references are up to date, links lead somewhere
	$(CLEAN) $(BIN)/python tests/generated.py --check

fix: $(INSTALLED) ## let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what was made here, the environment too
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .run .tools
	rm -rf build dist *.egg-info .coverage .coverage.* tests/real/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq ($(FUZZER),)
$(FUZZER): tests/fuzz/requirements.txt | $(INSTALLED)
	@rm -rf $@
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $@ -r $<
	@touch $@
endif

$(INSTALLED): pyproject.toml requirements-ci.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo 'venv is missing: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-ci.txt -e '.[dev]'
	@touch $@
