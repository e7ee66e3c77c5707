# `make run` and `make test` are all you need on a machine with Python 3.11 or later. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin

# The server that the tests run against: empty for the Valkey that comes with the tests, or a program on PATH.
SERVER ?=
# What else `make bench` is told, as in `make bench BENCH='--only noop,growth'`.
BENCH ?=
# What else pytest is told, as in `make test PYTEST='-k crawl'`.
PYTEST ?=
# Tests at once, besides one of the workers. Most wait most of the time; more than that would have to wait for a CPU, and
# take it for a fault.
JOBS ?= 3
side_by_side := -n $(JOBS) --dist worksteal
# The tests of the workers run one by one in a process of their own, beside the others: they need little of the CPUs. What
# each of the two says comes as a whole, except in a terminal, where it is to be seen at once.
beside := --no-print-directory --keep-going --jobs=2 \
	$(if $(MAKE_TERMOUT),,$(if $(filter output-sync,$(.FEATURES)),--output-sync=target))

in_tests := $(if $(SERVER),PYTASK_TEST_SERVER=$(SERVER) )$(BIN)/python

# Every development environment can run the hello example too.
ready_to_run := $(if $(wildcard $(VENV)/.installed-dev),$(VENV)/.installed-dev,$(VENV)/.installed-embedded)

.PHONY: help run test test-main test-worker test-redis test-store test-setup test-setup-beside test-setup-store test-setup-worker test-setup-faults test-redis-py-cluster test-floors check bench bench-quick bench-recovery
.PHONY: bench-handover soak faults fuzz clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' Makefile

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
	@$(MAKE) $(beside) test-main test-worker

test-main: $(VENV)/.installed-dev
	$(in_tests) -m pytest $(side_by_side) tests --ignore=tests/worker $(PYTEST)

# What runs inside a worker is tested in a process that gevent has patched.
test-worker: $(VENV)/.installed-dev
	$(in_tests) -m gevent.monkey --module pytest tests/worker $(PYTEST)

# What could differ from one server to another.
test-redis: ## Run the tests of the store and the workers only, as for SERVER=redis-server.
	@$(MAKE) $(beside) test-store test-worker

test-store: $(VENV)/.installed-dev
	$(in_tests) -m pytest $(side_by_side) tests/store $(PYTEST)

# The set-ups that `make test` does not take: tests/support/servers/setups.py.
test-setup: ## The same, and the faults, on another set-up: SETUP=cluster-tag, or cluster: the default names.
	@$(MAKE) --no-print-directory --keep-going test-setup-beside test-setup-faults

test-setup-beside:
	@$(MAKE) $(beside) test-setup-store test-setup-worker

test-setup-store: $(VENV)/.installed-dev
	PYTASK_TEST_SETUP=$(or $(SETUP),cluster-tag) $(in_tests) -m pytest $(side_by_side) \
		tests/store tests/faults/test_every_request.py tests/faults/test_every_recovery_request.py --timeout 600 $(PYTEST)

test-setup-worker: $(VENV)/.installed-dev
	PYTASK_TEST_SETUP=$(or $(SETUP),cluster-tag) $(in_tests) -m gevent.monkey --module pytest tests/worker $(PYTEST)

# One by one: they look at how soon things happen.
test-setup-faults: $(VENV)/.installed-dev
	PYTASK_TEST_SETUP=$(or $(SETUP),cluster-tag) $(in_tests) -m pytest \
		$(addprefix tests/faults/test_,processes.py data.py users.py time.py network.py server.py) $(PYTEST)

# What the client library could spoil, in an environment of its own. It warns of itself: distutils, sockets left open.
OLD_VENV := .venv-redis-py-cluster
old_words := -W 'ignore:distutils Version classes are deprecated' -W ignore::ResourceWarning $(PYTEST)
# It neither shows its nodes nor waits for replicas.
old_store := tests/store $(addprefix --ignore=tests/store/,servers/test_cost.py servers/test_durability.py interleaving/test_half_cut.py servers/test_nodes.py)
old_worker := $(addprefix tests/worker/,tasks/test_commands.py claims/test_keepers.py claims/test_pool.py)

test-redis-py-cluster: ## Run the tests of the store and the workers with redis-py-cluster, alone and on a cluster.
	@$(MAKE) --no-print-directory VENV=$(OLD_VENV) $(OLD_VENV)/.installed-test,redis-py-cluster
	$(OLD_VENV)/bin/python -m pytest $(old_store) $(old_words)
	$(OLD_VENV)/bin/python -m gevent.monkey --module pytest $(old_worker) tests/worker/redis/test_outage.py $(old_words)
	PYTASK_TEST_SETUP=cluster-tag $(OLD_VENV)/bin/python -m pytest $(old_store) $(old_words)
	PYTASK_TEST_SETUP=cluster-tag $(OLD_VENV)/bin/python -m gevent.monkey --module pytest $(old_worker) tests/worker/redis/test_cluster.py $(old_words)

# The lowest versions that pyproject.toml allows, in an environment of their own; then the lowest redis-py for a cluster.
FLOORS_VENV := .venv-floors
old_redis := -W "ignore:distutils Version classes are deprecated" -W ignore::ResourceWarning $(PYTEST)

test-floors: ## Run a part of the tests with the lowest versions of all that pytask needs.
	@$(MAKE) --no-print-directory VENV=$(FLOORS_VENV) $(FLOORS_VENV)/.installed-test
	$(FLOORS_VENV)/bin/python -m tests.support.floors | $(FLOORS_VENV)/bin/python -m pip install --quiet --requirement /dev/stdin
	$(FLOORS_VENV)/bin/python -m pytest $(side_by_side) $(addprefix tests/store/,transitions/test_claim.py transitions/test_finish.py transitions/test_enqueue.py interleaving/test_hands.py servers/test_helpers.py transitions/test_keeping.py) \
		tests/ctl/test_top.py tests/process/startup/test_floors.py tests/process/interfaces/test_metrics.py tests/process/failure/test_respawn.py $(old_redis)
	$(FLOORS_VENV)/bin/python -m gevent.monkey --module pytest $(addprefix tests/worker/,tasks/test_commands.py claims/test_pool.py) $(old_redis)
	$(FLOORS_VENV)/bin/python -m pip install --quiet redis==5.2.0
	PYTASK_TEST_SETUP=cluster $(FLOORS_VENV)/bin/python -m pytest $(side_by_side) $(addprefix tests/store/,transitions/test_claim.py servers/test_nodes.py) $(old_redis)

check: $(VENV)/.installed-dev ## Look at format, lint, types, who imports whom, and what tests may touch.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layering.py tests/test_privates.py

bench: $(VENV)/.installed-dev ## Measure everything, and rivals beside it; RIVALS=dramatiq,huey, or all. Writes docs/benchmarks.rst.
	$(in_tests) -m tests.bench --write --rivals $(or $(RIVALS),installed) $(BENCH)

bench-quick: $(VENV)/.installed-dev ## The headline of it in two minutes.
	$(in_tests) -m tests.bench --quick $(BENCH)

bench-recovery: $(VENV)/.installed-dev ## Kill workers, and measure when their tasks run again; KILLS=200.
	$(in_tests) -m tests.bench.recovery --kills $(or $(KILLS),200)

bench-handover: $(VENV)/.installed-dev ## Restart all workers one by one under load, again and again; RESTARTS=20.
	$(in_tests) -m tests.bench.handover --restarts $(or $(RESTARTS),20)

soak: $(VENV)/.installed-dev ## Faults at random under load, then a verdict; SEED=1 DURATION=3600 (seconds).
	$(in_tests) -m tests.soak --seed $(or $(SEED),1) --duration $(or $(DURATION),3600)

faults: $(VENV)/.installed-dev ## Run the fault tests with more of everything; SCALE=20.
	FAULTS_SCALE=$(or $(SCALE),20) $(in_tests) -m pytest tests/faults --timeout 3600 $(PYTEST)

fuzz: $(VENV)/.installed-dev ## Write at random where the master, pytaskctl and a worker read; DURATION=3600 (seconds).
	@end=$$(($$(date +%s) + $(or $(DURATION),3600))); \
	while [ $$(date +%s) -lt $$end ]; do FUZZ_EXAMPLES=2000 $(in_tests) -m pytest -q tests/fuzz --timeout 3600 $(PYTEST) || exit 1; done

clean: ## Remove the environment and all caches.
	rm -rf $(VENV) $(OLD_VENV) $(FLOORS_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
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
