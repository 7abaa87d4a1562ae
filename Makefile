# `make demo`: set up and run the main job.  `make test`: set up and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BUILD ?= build/cpp
SOURCES := $(shell find csrc -type f) CMakeLists.txt setup.py pyproject.toml

.PHONY: help venv demo test test-cpp test-python lint format typecheck bench wheel clean

help:
	@echo "make demo    make a detection data set, train RefineDet on it, evaluate, draw pictures (runs/demo)"
	@echo "make test    C++ and Python tests"
	@echo "make lint    ruff, clang-format, mypy"
	@echo "make bench   the benchmarks of the ops"
	@echo "make wheel   a wheel in dist/"

# The environment with the pinned tools, then the package in editable form, built again when a source changed.
$(VENV)/.tools: requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

$(VENV)/.package: $(VENV)/.tools $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

venv: $(VENV)/.package

demo: venv
	$(BIN)/refinedet demo

test: test-cpp test-python

test-cpp: $(VENV)/.tools
	$(BIN)/cmake -S . -B $(BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	    -DPython_EXECUTABLE=$(abspath $(BIN))/python -DREFINEDET_WERROR=ON -DREFINEDET_TORCH=OFF -DREFINEDET_NUMPY=OFF
	$(BIN)/cmake --build $(BUILD)
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure

test-python: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find csrc tests/cpp -name '*.h' -o -name '*.cpp' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests/cpp -name '*.h' -o -name '*.cpp' | xargs $(BIN)/clang-format -i

bench: venv
	$(BIN)/python -m pytest benchmarks --benchmark-enable

wheel: $(VENV)/.tools
	$(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

clean:
	rm -rf build dist *.egg-info refinedet_ext/*.so
