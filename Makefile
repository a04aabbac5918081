PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PYTHON_FILES = src tests tools benchmarks
SOURCES = $(shell find cpp src -type f -not -name '*.so' -not -name '*.pyc') pyproject.toml CMakeLists.txt

.PHONY: demo test lint fuzz bench build dev sanitize kernels arm conformance clean

demo: $(VENV)/installed-demo
	$(BIN)/cool train digits

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q

lint: $(VENV)/installed-dev
	$(BIN)/ruff check $(PYTHON_FILES) && $(BIN)/ruff format --check $(PYTHON_FILES) && $(BIN)/mypy

bench: $(VENV)/installed-demo
	$(BIN)/cool bench --markdown && $(BIN)/cool bench zoo --markdown && $(BIN)/cool bench plan

# Damaged files for each reader of weights and of ONNX, ten minutes each; for weights guided by coverage where atheris is installed.
fuzz: $(VENV)/installed-test
	for kind in torch-zip torch-legacy npz safetensors pickle; do $(BIN)/python tools/fuzz_formats.py $$kind; done
	$(BIN)/python tests/onnx_mutants.py 600 build/onnx-findings

# A wheel in dist/.
build: $(BIN)/python
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

# Builds the engine in place, so that `PYTHONPATH=src python` runs the working tree.
dev:
	cmake -S . -B build/dev -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$$(command -v $(PYTHON)) $(CMAKE_ARGS)
	cmake --build build/dev --parallel && cp build/dev/_core*.so src/coolnn/

# What of the ONNX standard's own suite passes.
conformance: $(VENV)/installed-test
	$(BIN)/python tests/onnx_conformance.py $(CASES)

# The kernel tests with the address and undefined-behaviour sanitizers in the engine.
sanitize: $(VENV)/installed-test
	tools/sanitize.sh $(BIN)/python

# The kernel tests' problems, run by a program without Python: here, on older processors and on ARM, which are emulated.
kernels: build/cases.bin
	tools/run_cases.sh here build/cases.bin
arm: build/cases.bin
	tools/run_cases.sh arm build/cases.bin

build/cases.bin: $(VENV)/installed-test $(wildcard tests/*.py)
	mkdir -p build && $(BIN)/python tests/kernel_cases.py $@

clean:
	rm -rf build dist $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-%: $(BIN)/python $(SOURCES)
	$(BIN)/pip install --quiet ".[$*]" && touch $@
