# `make run` and `make test` are all that a fresh checkout needs: both first make .venv from
# requirements.lock. `make run SOURCE=path.jsonl SAMPLE=3000` takes one's own file.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# the first Python that the locked versions were made for
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
WHAT ?= all

# Values as they were typed, whatever quotes or dollars are in them: only the shell reads them
unexport SOURCE POSTS
export GIVEN_SOURCE := $(value SOURCE)
export GIVEN_POSTS := $(value POSTS)

export UV_COMPILE_BYTECODE := 1
export UV_NO_CONFIG := 1
export DO_NOT_TRACK := 1

.PHONY: help install run up down serve test faults unattended bench load hostile mutations audit check format lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/installed ## the environment, from requirements.lock, bytecode compiled

# uv comes from the same lock as everything else, so its digest is checked too
$(VENV)/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "expected Python 3.11, 3.12 or 3.13 on the PATH, found none" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(VENV)/uv.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## train everything and print where the report is: WHAT=comments SOURCE=... SAMPLE=...
	$(BIN)/neural-classifiers run $(WHAT) $(if $(GIVEN_SOURCE),--source "$$GIVEN_SOURCE") $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(ENCODER),--encoder '$(ENCODER)')

up: install ## Prefect server with UI, schedules and worker, in the foreground: PORT=...
	@exec $(BIN)/neural-classifiers up $(if $(PORT),--port $(PORT))

down: install ## stop what `make up` started
	@$(BIN)/neural-classifiers down

serve: install ## the promoted models over HTTP, in the foreground: PORT=...
	@exec $(BIN)/neural-classifiers serve $(if $(PORT),--port $(PORT))

test: install ## the tests, one process a core
	$(BIN)/python -m pytest -n logical --no-loadscope-reorder $(TESTS)

faults: install ## kill the small flow N times at random moments; writes docs/faults.md
	$(BIN)/python benchmarks/faults.py $(if $(N),--kills $(N))

unattended: install ## server, database and worker go away during deployed runs; half an hour
	$(BIN)/python benchmarks/unattended.py

bench: install ## our search against its peer, and large files: POSTS=posts.jsonl; hours
	@test -n "$$GIVEN_POSTS" || { echo "expected POSTS=posts.jsonl, lines of {\"cat\": ..., \"txt\": ...}" >&2; exit 1; }
	$(BIN)/python benchmarks/search.py "$$GIVEN_POSTS" --repetitions 3 $(foreach part,$(ONLY),--only $(part))
	$(if $(ONLY),,$(BIN)/python benchmarks/large.py steps "$$GIVEN_POSTS" --rows 100000 606000 --repetitions 3)
	$(if $(ONLY),,$(BIN)/python benchmarks/large.py steps "$$GIVEN_POSTS" --rows 10000000)
	$(if $(ONLY),,$(BIN)/python benchmarks/large.py peers "$$GIVEN_POSTS" --rows 606000 --repetitions 3)
	$(if $(ONLY),,$(BIN)/python benchmarks/large.py stems "$$GIVEN_POSTS" --rows 10000000)
	$(if $(ONLY),,$(BIN)/python benchmarks/large.py kills "$$GIVEN_POSTS" --rows 606000)

load: install ## requests a second that the promoted model answers over HTTP; four minutes
	$(BIN)/python benchmarks/http_load.py

check: install ## lint, format, types, imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

audit: install ## known vulnerabilities of the locked packages; says so where nobody can tell
	$(BIN)/python benchmarks/audit.py

hostile: install ## files made to cost, of growing size: seconds must grow with the size alone
	$(BIN)/python benchmarks/hostile.py

mutations: install ## change the code one definition at a time: what reruns, and what had to; half an hour
	$(BIN)/python benchmarks/mutations.py $(RUN)

format: install ## lay the code out
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

lock: install ## requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-strip-extras --no-header --output-file requirements.lock

clean: ## remove the environment; data and artifacts stay
	rm -rf $(VENV)
