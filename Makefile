# The few commands a newcomer needs. A fresh machine with Python 3.11+, make and git runs any of them: the first makes .venv.
#
#   make demo       three nodes, a kill -9, and the worker that goes on elsewhere       make run      a node in the foreground
#   make test       examples and all tests                                               make torture  the long crash tests
#   make check      lint, types, import contracts, house rules                           make bench    the benchmarks
#   make simulate   10,000 seeds of simulated networks under all faults, compiled where a C compiler is: half an hour and more
#   make examples   build the example components (cached)                                make clean    remove what was built
#
# PYTHON=/path/to/python3 picks the Python; ARGS="..." adds arguments (make run ARGS="--http 127.0.0.1:8080",
# make simulate ARGS="--protocol shard --seeds 500 --seed 20000").

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done; echo python3)
BIN := .venv/bin
STAMP := .venv/.installed
COPY := build/sim
SOURCES := golemp2p node gateway tests benchmarks examples simulations .ci

.DELETE_ON_ERROR:
.PHONY: demo run test torture simulate bench check format examples install clean

demo: $(STAMP)
	$(BIN)/python examples/build.py cart-python
	$(BIN)/python examples/demo.py $(ARGS)

run: $(STAMP)
	$(BIN)/golemp2p node run $(ARGS)

test: examples
	$(BIN)/python -m pytest $(ARGS)

torture: examples
	$(BIN)/python tests/integration/kill_under_load.py --kills 200 --clients 8
	$(BIN)/python tests/integration/mesh_under_fire.py --minutes 10 $(ARGS)

# From the compiled copy, where one can be made; a PYTHONPATH that is not there changes nothing.
simulate: $(STAMP)
	@if $(BIN)/python -m golemp2p_sim.compiled --check; then $(MAKE) --no-print-directory $(COPY)/.proved; else rm -rf $(COPY); fi
	PYTHONPATH=$(COPY) $(BIN)/golemp2p sim run everything --protocol mesh --seeds 10000 --jobs 2 $(ARGS)

$(COPY)/.proved: $(STAMP) $(shell find golemp2p simulations/golemp2p_sim -name '*.py')
	@echo "compiling the simulator into $(COPY): two minutes"
	@rm -rf $(COPY)
	@$(BIN)/python -m golemp2p_sim.compiled $(COPY)
	@touch $@

bench: examples
	$(BIN)/python -m benchmarks $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/house

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

examples: $(STAMP)
	$(BIN)/python examples/build.py

install: $(STAMP)

$(STAMP): pyproject.toml .ci/environment.py
	$(PYTHON) .ci/environment.py
	@touch $@

clean:
	rm -rf build examples/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
