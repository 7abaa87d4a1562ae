# `make demo`: set up and run the main job.  `make test`: set up and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REQUIREMENTS ?= requirements-dev.txt
BUILD := build/editable
SOURCES := $(shell find csrc -type f) CMakeLists.txt setup.py pyproject.toml

.PHONY: help venv demo test test-cpp test-python test-avx2 test-examples test-page lint format docs bench gpu-check gpu-prepare faults wheel clean

help:
	@echo "make demo    make a detection data set, train RefineDet on it, evaluate, draw images (runs/demo)"
	@echo "make test    C++ and Python tests, the detectors also as a processor with AVX2 alone sees them (test-avx2)"
	@echo "make test-examples  the examples that need LitServe, Ray and torchvision, which are installed"
	@echo "make test-page  the page that detects, in headless Chromium; that and npm are there"
	@echo "make lint    ruff, clang-format, mypy"
	@echo "make docs    the documentation, build/docs/index.html; a warning is an error"
	@echo "make bench   five minutes of benchmarks beside the peers that are installed (runs/bench)"
	@echo "make gpu-check  on a machine with a GPU: test, time, sanitize in eight minutes (runs/gpu_check; no downloads)"
	@echo "make gpu-prepare  before, without a GPU: what gpu-check would spend its first minutes on (build/gpu_*)"
	@echo "make faults  plant faults in the CUDA kernels and see whether the tests notice (an hour; what is known is not run again)"
	@echo "make wheel   a wheel for manylinux in dist/"

# The environment with the pinned tools, then the package in editable form, built again when a source changed.
$(VENV)/.tools: $(REQUIREMENTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r $(REQUIREMENTS)
	touch $@

$(VENV)/.package: $(VENV)/.tools $(SOURCES)
	REFINEDET_EXT_CMAKE=-DREFINEDET_WERROR=ON \
	    $(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

venv: $(VENV)/.package

demo: venv
	$(BIN)/refinedet demo

test: test-cpp test-python test-avx2

# In the build folder of the editable install: the kernels are compiled already.
test-cpp: venv
	$(BIN)/cmake -S . -B $(BUILD) -DREFINEDET_BUILD_TESTS=ON
	$(BIN)/cmake --build $(BUILD)
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure --parallel 2

# One process per core, each with one thread. Then the ops once more with the kernels for older processors.
test-python: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
	for level in baseline avx2; do \
	    REFINEDET_EXT_CPU_LEVEL=$$level $(BIN)/python -c 'import refinedet_ext as rx; rx.build_info()' || continue; \
	    OMP_NUM_THREADS=1 REFINEDET_EXT_CPU_LEVEL=$$level $(BIN)/python -m pytest -n auto -q tests/refinedet_ext/ops -k agrees -m "not cuda" || exit 1; \
	done

# The detectors once more as a processor with AVX2 and without AVX-512 or bfloat16 instructions sees them: most desktops.
# Where there is not even AVX2, nothing.
AVX2_ONLY := REFINEDET_EXT_CPU_LEVEL=avx2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 REFINEDET_TEST_AS_AVX2=1
test-avx2: venv
	if REFINEDET_EXT_CPU_LEVEL=avx2 $(BIN)/python -c 'import refinedet_ext as rx; rx.build_info()'; then \
	    OMP_NUM_THREADS=1 $(AVX2_ONLY) $(BIN)/python -m pytest -n auto -q --timeout=60 \
	        tests/refinedet/detectors tests/refinedet/optimize tests/refinedet/inference tests/refinedet/export; \
	fi

# The server, Ray, and the torchvision of the pinned torch: large packages, so not among the tools that every test needs.
test-examples: test-cpp
	$(BIN)/python -m pip install --quiet 'litserve>=0.2.19' 'ray[data]>=2.51' torchvision==0.28.0
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/examples

# Chromium comes from the system; the runtime that the page takes from a public server, from npm.
test-page: venv
	npm ci --prefix tests/docs/browser --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m pip install --quiet 'playwright>=1.50'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/docs/test_browser.py

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find csrc tests/csrc tests/cuda_on_host examples -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/mypy

format: $(VENV)/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests/csrc tests/cuda_on_host examples -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format -i

docs: venv
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

bench: venv
	mkdir -p runs/bench
	$(BIN)/python -m benchmarks --quick --json runs/bench/bench.json --markdown runs/bench/bench.md --plot runs/bench/bench.png

# With the machine's own python3, torch and nvcc: no environment is made. `make gpu-prepare` makes both folders; what is
# not there is built or computed.
GPU_PREBUILT := build/gpu_prebuilt
GPU_PREPARED := build/gpu_prepared.pt
gpu-check:
	$(PYTHON) -m benchmarks.gpu.check $(if $(wildcard $(GPU_PREBUILT)),--prebuilt $(GPU_PREBUILT)) \
	    $(if $(wildcard $(GPU_PREPARED)),--prepared $(GPU_PREPARED))

# On a machine with nvcc and no GPU, to carry build/gpu_prebuilt and build/gpu_prepared.pt to one with a GPU. There the
# NumPy module wants the Python whose headers are here; the torch ops serve every Python.
GPU_PYTHON ?= python3.12
gpu-prepare: venv
	$(BIN)/python -m benchmarks.gpu.libraries --into $(GPU_PREBUILT) --python $(GPU_PYTHON)
	$(BIN)/python -m benchmarks.gpu.check --prepare $(GPU_PREPARED)

# Against the CPU kernels in the build folder of the editable install.
faults: venv
	$(BIN)/python -m tests.cuda_on_host.faults --table tests/cuda_on_host/faults.md

# In the build folder of the editable install. setuptools would pack what it finds of earlier builds. torch's libraries
# stay out: who has torch has them.
wheel: $(VENV)/.tools
	rm -rf build/lib.* build/bdist.* build/wheel
	REFINEDET_EXT_BUILD=$(BUILD) $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/wheel .
	PATH=$(abspath $(BIN)):$$PATH auditwheel repair --exclude libtorch_cpu.so --wheel-dir dist build/wheel/*.whl

clean:
	rm -rf build dist *.egg-info refinedet_ext/*.so
