# Everything that anyone runs here is a target of this file: `make help`.
#
# A clone, Python 3.11 to 3.13, make and git are enough. Environments live in .venv (all), .venv-signer
# (the signer alone) and .tools (uv, which makes the others); each is rebuilt when its lock changes,
# and nothing enters any of them whose hash is not in a requirements-*.lock file.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p > /dev/null && \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' && \
	echo $$p && break; done)
UV := .tools/uv/bin/uv --no-python-downloads --quiet
PY := .venv/bin/python
# Two workers: the smallest machine we care for has two cores. NO_SKIPS=1 makes a skipped test a failure.
WORKERS ?= 2
PYTEST_FLAGS := $(if $(NO_SKIPS),--no-skips)
# Which vault the demo runs on, and other words for it: `make demo VAULT=wsh-sortedmulti`.
DEMO_FLAGS := $(if $(VAULT),--vault $(VAULT))

DEV := .venv/.installed
SIGNER := .venv-signer/.installed
NODE := tests/js_client/node_modules/.installed
# What the signer's own environment tests, without custodyd.
SIGNER_TESTS := __init__.py conftest.py kernel signer adversaries guarantees world vectors

.PHONY: help demo quorum test pytest test-signer lint bench tools proto proto-release lock format docs docs-check clean setup

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# ---------------------------------------------------------------------------------- what people run
demo: $(DEV) ## a whole exchange day on a quorum of real processes, then stop; writes build/demo/
	@$(PY) -m deploy.local.demo $(DEMO_FLAGS)

quorum: $(DEV) ## the same quorum kept running, with what to try printed; ends with ctrl-C
	@$(PY) -m deploy.local.quorum

test: $(DEV) ## all checks and tests: lint, pytest, the signer in its own environment
	@if [ -n "$$($(MAKE) -s missing-tools)" ]; then $(MAKE) --no-print-directory tools; fi
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-signer
	@# What the signer's environment has tested is not tested twice.
	@$(MAKE) --no-print-directory pytest \
		LEFT_OUT="$$(cd build/signer-tests && find tests -name 'test_*.py' -printf '--ignore=%p ')"

pytest: $(DEV) js-client ## the tests alone, all rooms
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_FLAGS) $(LEFT_OUT)

test-signer: $(SIGNER) ## kernel and signer tests where custodyd cannot be found
	@rm -rf build/signer-tests && mkdir -p build/signer-tests/tests build/signer-tests/empty
	@for t in $(SIGNER_TESTS); do if [ -e tests/$$t ]; then cp -r tests/$$t build/signer-tests/tests/; fi; done
	@# What needs the coordinator too is tested in the whole environment.
	@grep -rlE '^(from|import) (custodyd|sqlalchemy|deploy|tests\.world\.whole|tests\.stages)\b' \
		build/signer-tests/tests | xargs -r rm --
	@cp tests/signer-only.ini build/signer-tests/pytest.ini
	@cd build/signer-tests/empty && ../../../.venv-signer/bin/python -P -c "$$SIGNER_IS_ALONE"
	@cd build/signer-tests/empty && ../../../.venv-signer/bin/python -P -m pytest \
		-c ../pytest.ini --rootdir .. $(PYTEST_FLAGS) ../tests

define SIGNER_IS_ALONE
import importlib.util as u, sys
import signer_node
found = [n for n in ("custodyd", "sqlalchemy", "alembic", "psycopg") if u.find_spec(n)]
inside = "site-packages" in signer_node.__file__
sys.exit(f"the signer's environment can import {found}" if found else
         None if inside else f"signer_node is not the installed one: {signer_node.__file__}")
endef
export SIGNER_IS_ALONE

lint: $(DEV) ## ruff, mypy, borders between rooms, house rules, protos, generated code, documents
	@failed=""; run() { "$$@" || failed="$$failed [$$*]"; }; \
	run .venv/bin/ruff check --quiet; \
	run .venv/bin/ruff format --check --quiet; \
	run .venv/bin/mypy; \
	run .venv/bin/lint-imports --no-logo; \
	run $(PY) -m tests.house; \
	run .venv/bin/buf lint proto; \
	run .venv/bin/buf breaking proto --against proto/released.binpb; \
	run $(PY) proto/generate.py --check; \
	run $(PY) -m tests.house.documents; \
	test -z "$$failed" || { echo "lint failed:$$failed"; exit 1; }

bench: $(DEV) ## measures ourselves beside a baseline, in one run; writes build/bench.json
	@$(PY) -m tests.bench

format: $(DEV) ## write the code as ruff formats it
	@.venv/bin/ruff check --fix --quiet || true
	@.venv/bin/ruff format

docs: $(DEV) ## write the generated pages of docs/reference again
	@$(PY) -m tests.house.documents --write

docs-check: $(DEV) ## links and commands in documents exist; generated pages are current
	@$(PY) -m tests.house.documents

proto: $(DEV) ## generate the Python code from proto/
	@$(PY) proto/generate.py

proto-release: $(DEV) ## freeze today's .proto files: later ones may not break them
	@cd proto && ../.venv/bin/buf build --exclude-source-info -o released.binpb

# -------------------------------------------------------------------------------- what they stand on
setup: $(DEV) $(SIGNER) js-client ## make all environments

tools: ## install Debian's postgresql, prometheus (promtool) and nodejs where they are missing and one may
	@missing="$$($(MAKE) -s missing-tools)"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get > /dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "NOT INSTALLED (needs root and apt-get): $$missing. Tests that need them are skipped."; exit 0; fi; \
	echo "installing: $$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing > /dev/null \
		|| echo "NOT INSTALLED: $$missing. Tests that need them are skipped."

.PHONY: missing-tools js-client
missing-tools:
	@command -v promtool > /dev/null || echo prometheus
	@ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || command -v initdb > /dev/null || echo postgresql
	@command -v npm > /dev/null || printf 'nodejs\nnpm\n'

js-client:
	@if [ ! -e tests/js_client/package-lock.json ]; then exit 0; fi; \
	if command -v npm > /dev/null; then $(MAKE) --no-print-directory $(NODE); \
	else echo "NOT INSTALLED: npm. The test of the client in another language is skipped."; \
		test -z "$(NO_SKIPS)"; fi

$(NODE): tests/js_client/package-lock.json
	@cd tests/js_client && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.tools/uv/.installed: requirements-uv.lock
	@test -n "$(PYTHON)" || { echo "custodyd needs Python 3.11, 3.12 or 3.13 on PATH (or: make PYTHON=...)"; exit 1; }
	@$(PYTHON) -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--only-binary :all: --require-hashes -r requirements-uv.lock
	@touch $@

# Build back ends first: nothing is built in an environment whose content is not in a lock.
$(DEV): requirements-build.lock requirements-dev.lock pyproject.toml signer_node/pyproject.toml | .tools/uv/.installed
	@test -x $(PY) || $(UV) venv --python $(PYTHON) .venv
	@$(UV) pip install --python $(PY) --no-build --require-hashes -r requirements-build.lock
	@$(UV) pip sync --python $(PY) --no-build-isolation --require-hashes requirements-dev.lock
	@$(UV) pip install --python $(PY) --no-deps --no-build-isolation -e . -e ./signer_node
	@touch $@

SIGNER_SOURCES = $(shell find signer_node -name '*.py' -o -name pyproject.toml)
$(SIGNER): requirements-signer-test.lock $(SIGNER_SOURCES) | .tools/uv/.installed
	@test -x .venv-signer/bin/python || $(UV) venv --python $(PYTHON) .venv-signer
	@$(UV) pip sync --python .venv-signer/bin/python --no-build --require-hashes requirements-signer-test.lock
	@$(UV) pip install --python .venv-signer/bin/python --no-deps --no-build-isolation \
		--reinstall-package signer-node --no-cache ./signer_node
	@touch $@

COMPILE = $(UV) pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
OURS = --no-emit-package signer-node --no-emit-package custodyd
lock: | .tools/uv/.installed ## resolve the requirements-*.lock files again (UPGRADE=1: to newest versions)
	@$(COMPILE) pyproject.toml --all-extras --group dev $(OURS) -o requirements-dev.lock
	@$(COMPILE) --group build -c requirements-dev.lock -o requirements-build.lock
	@$(COMPILE) pyproject.toml --extra coordinator --extra postgres -c requirements-dev.lock $(OURS) -o requirements-coordinator.lock
	@$(COMPILE) signer_node/pyproject.toml -c requirements-dev.lock -o requirements-signer.lock
	@$(COMPILE) signer_node/pyproject.toml --group signer_node/pyproject.toml:build --group signer_node/pyproject.toml:test \
		-c requirements-dev.lock -o requirements-signer-test.lock
	@echo uv | $(COMPILE) - -o requirements-uv.lock

clean: ## remove what was built, environments too
	@rm -rf build dist .venv .venv-signer .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage* tests/js_client/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
