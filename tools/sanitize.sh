#!/usr/bin/env bash
# Builds the engine with the address and undefined-behaviour sanitizers and runs the kernel tests on it.
# Usage: tools/sanitize.sh PYTHON  (an interpreter with the requirements of the tests)
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
bin=$(dirname "$python")
build=build/sanitize
"$python" -m pip install --quiet nanobind cmake ninja
"$bin/cmake" -S . -B $build -G Ninja -DCMAKE_MAKE_PROGRAM="$PWD/$bin/ninja" -DCMAKE_BUILD_TYPE=Release \
  -DCOOLNN_SANITIZE=ON -DPython_EXECUTABLE="$PWD/$python" >/dev/null
"$bin/cmake" --build $build >/dev/null
rm -rf $build/package && mkdir -p $build/package
cp -r src/coolnn $build/package/
rm -f $build/package/coolnn/_core*.so
cp $build/_core*.so $build/package/coolnn/

# Python itself is not built with the sanitizers, so their runtime must be loaded before it. What the interpreter never
# frees is not looked for: kernels are checked for bad reads, bad writes and undefined arithmetic.
compiler=${CXX:-c++}
export LD_PRELOAD=$($compiler -print-file-name=libasan.so):$($compiler -print-file-name=libubsan.so)
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
PYTHONPATH=$build/package "$python" -m pytest -q -p no:cacheprovider tests/test_kernels_*.py
