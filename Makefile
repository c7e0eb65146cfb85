# make test   set up .venv, run the test suite          (what .ci/run calls)
# make test-kernels   the physics tests once for each kind of processor that this one can stand in
#             for (BLAS kernels, numpy's loops), and again with each interpreter in PYTHONS
# make demo   set up .venv, train, close the DMFT loop, write a report
# make lint   ruff's checks and format;  make format   apply both;  make types   mypy
# make netket set up .venv-netket, compare the optimiser of neural states with NetKet's
# make wheel  build the wheel and try every command of it in an empty environment; minutes
# make cards  data/README.md and weights/*/README.md anew;  make clean   remove what runs left
#
# Variables: PYTHON (3.11 or later), JOBS (parallel tests), PIP_FLAGS, handed to pip install
#   ORDER=random [SEED=n]   tests in random order; the seed is printed, and repeats the order. By
#       default the order is that of the files, so that two runs of `make test` are the same run.
#       The plugin shuffles and does nothing else: reseeding random generators before each test, as
#       pytest-randomly does, would hide a test that depends on what another one drew.
#   KERNELS, PYTHONS   of test-kernels, e.g. KERNELS="default Haswell" PYTHONS="python3.12 python3.13"

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
JOBS ?= 2
PIP_FLAGS ?=
ORDER ?= files
ifndef SEED
SEED := $(shell od -An -N3 -tu4 /dev/urandom | tr -d ' ')
endif
KERNELS ?= default Nehalem Sandybridge Haswell Zen SkylakeX
PYTHONS ?=
U_VALUES ?= 1.0 2.0 3.2 4.0
DEMO := outputs/demo

VENV := .venv
READY := $(VENV)/.installed
SWEEPS := .venv-sweeps
SWEEPS_READY := $(SWEEPS)/.installed
NETKET := .venv-netket
NETKET_READY := $(NETKET)/.installed
PY := $(VENV)/bin/python

# what the physics tests need, without torch: for other interpreters
PHYSICS := filelock h5py hypothesis numba numpy physics-tenpy pyscf pytest pytest-random-order \
	pytest-xdist pyyaml rich scipy sparse-ir threadpoolctl
# xdist would sort the files by their number of tests
RANDOM := --random-order-bucket=module --random-order-seed=$(SEED) --no-loadscope-reorder
PYTEST_FLAGS := -n $(JOBS) --dist loadfile $(if $(filter random,$(ORDER)),$(RANDOM))

export OMP_NUM_THREADS ?= $(JOBS)
export WANDB_MODE ?= offline
export MPLBACKEND := Agg

.PHONY: demo test test-kernels lint format types netket wheel cards clean

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found; install one or set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q $(PIP_FLAGS) -c constraints.txt "pip>=25.1"  # knows --group
	$(PY) -m pip install -q $(PIP_FLAGS) -c constraints.txt -e . --group dev
	@touch $@

$(SWEEPS_READY): requirements-sweeps.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found; install one or set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(SWEEPS)
	$(SWEEPS)/bin/python -m pip install -q $(PIP_FLAGS) -r requirements-sweeps.txt
	$(SWEEPS)/bin/python -m pip install -q $(PIP_FLAGS) --no-deps sweeps==0.3.0
	@touch $@

$(NETKET_READY): requirements-netket.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found; install one or set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(NETKET)
	$(NETKET)/bin/python -m pip install -q $(PIP_FLAGS) -r requirements-netket.txt
	@touch $@

test: $(READY) $(SWEEPS_READY)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(PY) -m pytest $(PYTEST_FLAGS)

test-kernels: $(READY)
	@status=0; \
	$(PY) tests/kernels.py $(KERNELS) -- -q $(PYTEST_FLAGS) || status=1; \
	for python in $(PYTHONS); do \
		env=.venv-physics-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
		$$python -m venv $$env && \
		$$env/bin/python -m pip install -q $(PIP_FLAGS) -c constraints.txt $(PHYSICS) && \
		$$env/bin/python -m pip install -q $(PIP_FLAGS) --no-deps -e . && \
		$$env/bin/python tests/kernels.py $(KERNELS) -- -q $(PYTEST_FLAGS) || status=1; \
	done; exit $$status

demo: $(READY)
	rm -rf $(DEMO)
	$(PY) train.py model=crossquery hydra.run.dir=$(DEMO)/train
	for U in $(U_VALUES); do \
		$(PY) dmft.py solver=network solver.checkpoint=$(DEMO)/train problem.U=$$U \
			hydra.run.dir=$(DEMO)/dmft_U$$U || [ $$? -eq 1 ] || exit 2; \
	done  # 1 is a loop that did not converge, which the report shows
	$(PY) evaluate.py 'checkpoints=[$(DEMO)/train]' hydra.run.dir=$(DEMO)/report
	@echo "report: $(DEMO)/report/report.html"

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(READY)
	@mkdir -p build/types && ln -sfn ../../src build/types/dmftnet
	$(PY) -m mypy

netket: $(READY) $(NETKET_READY)
	$(PY) -m pytest -q tests/models/test_nqs_netket.py

wheel: $(READY)
	$(PY) tools/try_wheel.py

cards: $(READY)
	$(PY) tools/cards.py

clean:
	rm -rf outputs multirun wandb lightning_logs build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
