PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test build dev lint

demo: $(VENV)/installed-demo
	$(BIN)/cool train digits

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q

# Builds the engine in place, so that `PYTHONPATH=src python` runs the working tree.
dev:
	cmake -S . -B build/dev -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$$(command -v $(PYTHON)) $(CMAKE_ARGS)
	cmake --build build/dev --parallel && cp build/dev/_core*.so src/coolnn/

SOURCES = $(shell find cpp src -type f -not -name '*.so' -not -name '*.pyc') pyproject.toml CMakeLists.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-%: $(BIN)/python $(SOURCES)
	$(BIN)/pip install --quiet ".[$*]" && touch $@
