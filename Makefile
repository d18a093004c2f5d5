# Every target makes its own environment when it is not there.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv peers engines run test lint bench fixtures docs sbom lock clean

PYTHON ?= python3
BIN := .venv/bin

# Two stamps, named for what they were made from: content, not time, which a checkout changes at will.
# A stamp is written last, so an interrupted run leaves none and the next run starts again.
sum = $(firstword $(shell { $(PYTHON) -V; cat $(1); } 2>&1 | cksum))
DEPENDENCIES := .venv/.dependencies-$(call sum,requirements-dev.lock)
PROJECT := .venv/.project-$(call sum,requirements-dev.lock pyproject.toml cds_service/__init__.py)
PEERS := .venv/peers/.installed-$(call sum,requirements-dev.lock requirements-peers.lock)
ENGINES := .venv/engines/.installed-$(call sum,requirements-dev.lock requirements-engines-build.lock requirements-engines.lock)
RELEASE := .venv/release/.installed-$(call sum,requirements-dev.lock requirements-release.lock)

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

venv: $(PROJECT)  ## .venv with everything pinned; quick when nothing changed

peers: $(PEERS)  ## .venv/peers with what asks for older versions than ours (interop tests)

engines: $(ENGINES)  ## .venv/engines with Dask and Spark (tests of screening); Spark needs a Java besides

run: venv  ## the service with its sandbox page, on this machine only
	@exec $(BIN)/cds-service demo

test: lint peers engines $(RELEASE)  ## lint, then every test
	$(BIN)/pytest -n 2

# The compose schema and hadolint need no container engine, so they run everywhere.
lint: venv  ## style, types, floors, compose file, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

bench: venv  ## what a call costs, against a bare Flask that only reads the same body
	$(BIN)/python -m bench.bench

fixtures: venv  ## write fixtures/requests and the golden fixtures/responses anew; read the diff before you commit it
	$(BIN)/python -m tests.fixtures

docs: venv  ## what is generated in docs/ anew; tests hold that it is what the rules and services say
	$(BIN)/cds-service rules --markdown docs/rules.md
	$(BIN)/cds-service collection docs

sbom: $(RELEASE)  ## dist/sbom.cdx.json: what a release consists of (CycloneDX), from the lock that it is installed by
	@mkdir -p dist
	.venv/release/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible -o dist/sbom.cdx.json

# Why no uv.lock: it records the address of the registry that was asked, which is each site's own business.
# These files hold versions and hashes only, for every platform and Python that pyproject.toml allows (--universal).
# --exclude-newer: a release younger than a week waits; most poisoned uploads are found within days.
# `make lock` keeps the versions it can; `make lock UPGRADE=--upgrade` takes the newest.
# Without a working .venv: `make lock UV=uv` with any uv.
UV ?= $(BIN)/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --exclude-newer '7 days' \
	--no-header $(UPGRADE)
lock: $(if $(filter $(BIN)/%,$(UV)),venv)  ## requirements*.lock from pyproject.toml
	$(COMPILE) pyproject.toml --extra postgres -o requirements.lock
	$(COMPILE) --group build -o requirements-build.lock
	$(COMPILE) --group peers -o requirements-peers.lock
	$(COMPILE) --group release -o requirements-release.lock
	$(COMPILE) --group engines-build -o requirements-engines-build.lock
	$(COMPILE) pyproject.toml --extra dask --extra spark --group engines -c requirements.lock -c requirements-build.lock \
		-c requirements-engines-build.lock -o requirements-engines.lock
	$(COMPILE) pyproject.toml --group dev -c requirements.lock -c requirements-build.lock -o requirements-dev.lock

clean:  ## everything that can be made again
	rm -rf .venv dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find cds_service tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# From scratch (--clear): a half-made or older environment is not repaired by guessing, and nothing lingers in it.
# Wheels only: a source package would be built with tools that no lock pins.
$(DEPENDENCIES):
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install -qq --require-hashes --only-binary=:all: -r requirements-dev.lock
	@touch $@

# --no-index: nothing may come from anywhere but the lock.
$(PROJECT): $(DEPENDENCIES)
	@rm -f .venv/.project-*
	$(BIN)/pip install -qq --no-index --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS): $(DEPENDENCIES)
	$(PYTHON) -m venv --clear .venv/peers
	.venv/peers/bin/pip install -qq --require-hashes --only-binary=:all: -r requirements-peers.lock
	@touch $@

$(RELEASE): $(DEPENDENCIES)
	$(PYTHON) -m venv --clear .venv/release
	.venv/release/bin/pip install -qq --require-hashes --only-binary=:all: -r requirements-release.lock
	@touch $@

# PySpark is a source package: it is built here, by tools that were pinned and installed before (--no-build-isolation).
$(ENGINES): $(DEPENDENCIES)
	$(PYTHON) -m venv --clear .venv/engines
	.venv/engines/bin/pip install -qq --require-hashes --only-binary=:all: -r requirements-engines-build.lock
	.venv/engines/bin/pip install -qq --require-hashes --only-binary=:all: --no-binary=pyspark --no-build-isolation \
		-r requirements-engines.lock
	.venv/engines/bin/pip install -qq --no-index --no-deps --no-build-isolation -e .
	@touch $@
