# `make run` and `make test` are all you need on a machine with Python 3.11 or later. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin

# The server that the tests run against: empty for the Valkey that comes with the tests, or a program on PATH.
SERVER ?=
# What else pytest is told, as in `make test PYTEST='-k crawl'`.
PYTEST ?=

in_tests := $(if $(SERVER),PYTASK_TEST_SERVER=$(SERVER) )$(BIN)/python

# Every development environment can run the hello example too.
ready_to_run := $(if $(wildcard $(VENV)/.installed-dev),$(VENV)/.installed-dev,$(VENV)/.installed-embedded)

.PHONY: help run test test-main test-worker test-redis check bench bench-recovery soak clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

define about_run

Starting four workers, a Valkey server of their own, and a few sample tasks (docs/examples/hello.py).
Try these in another terminal, from this folder:

    $(BIN)/pytaskctl --redis embedded start hello name=you --wait
    $(BIN)/pytaskctl --redis embedded list
    $(BIN)/pytaskctl --redis embedded stop sample-clock

Ctrl-C ends it: running tasks go back to the queue, and run on after the next start.

endef
export about_run

# In a terminal, `set -m` makes the supervisor the foreground job, so that Ctrl-C is for it alone and not for make too.
# Elsewhere it takes the place of the shell, so that make passes on a SIGTERM.
run: $(ready_to_run) ## Start the embedded server and four workers with the hello example.
	@echo "$$about_run"
	@set -- $(BIN)/pytask-supervisor --workers 4 --redis embedded --app docs.examples.hello:app; \
	if [ -t 0 ]; then set -m; "$$@"; else exec "$$@"; fi

test: ## Run all tests; SERVER=redis-server: against that one instead of Valkey.
	@$(MAKE) --no-print-directory --keep-going test-main test-worker

test-main: $(VENV)/.installed-dev
	$(in_tests) -m pytest tests --ignore=tests/worker $(PYTEST)

# What runs inside a worker is tested in a process that gevent has patched.
test-worker: $(VENV)/.installed-dev
	$(in_tests) -m gevent.monkey --module pytest tests/worker $(PYTEST)

# What could differ from one server to another.
test-redis: $(VENV)/.installed-dev ## Run the tests of the store and the workers only, as for SERVER=redis-server.
	$(in_tests) -m pytest tests/store $(PYTEST)
	$(in_tests) -m gevent.monkey --module pytest tests/worker $(PYTEST)

check: $(VENV)/.installed-dev ## Look at format, lint, types and who imports whom.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py

bench: $(VENV)/.installed-dev ## Measure no-op tasks beside what Redis itself allows.
	$(in_tests) -m tests.bench.bench

bench-recovery: $(VENV)/.installed-dev ## Kill workers, and measure when their tasks run again; KILLS=200.
	$(in_tests) -m tests.bench.recovery --kills $(or $(KILLS),200)

soak: $(VENV)/.installed-dev ## Faults at random under load, then a verdict; SEED=1 DURATION=3600 (seconds).
	$(in_tests) -m tests.soak --seed $(or $(SEED),1) --duration $(or $(DURATION),3600)

clean: ## Remove the environment and all caches.
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp says what was installed into it, so that it is done once for each pyproject.toml.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing pytask and what it needs into $(VENV); this takes a minute, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "pytask needs Python 3.11 or later, and this machine has: $$(python3 --version 2>&1 || true)." \
			"Install a newer one, or name it: make PYTHON=/path/to/python3.12 run" >&2; \
		exit 1; \
	fi; \
	if ! $$found -m venv $(VENV); then \
		rm -rf $(VENV); \
		echo "$$found cannot create an environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	fi
