#!/usr/bin/env bash
# Builds the program that runs the kernel tests' problems without Python, and runs it.
# Usage: tools/run_cases.sh here|arm FILE  (FILE: written by tests/kernel_cases.py)
#
# here: on this processor, with all of its instruction sets, and, on x86-64 with qemu-user installed, on an emulated one
#       without AVX: nothing but the kernels of an instruction set may hold its instructions. (AVX2 is not emulated: the
#       emulator's masked loads touch memory behind the mask, which processors do not, and so end at a guard page.)
# arm: as an AArch64 program under qemu.
set -euo pipefail
case=$1 file=$(realpath "$2")
cd "$(dirname "$0")/.."
build=build/run_cases_$case
options=(-DCMAKE_BUILD_TYPE=Release -DCOOLNN_PYTHON=OFF -DCOOLNN_RUN_CASES=ON)
if [ "$case" = arm ]; then
  options+=(-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++)
  for program in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v $program >/dev/null || { echo "$program is missing: apt install g++-aarch64-linux-gnu qemu-user"; exit 1; }
  done
fi
# shellcheck disable=SC2086
cmake -S . -B "$build" "${options[@]}" ${CMAKE_ARGS:-} >/dev/null
cmake --build "$build" --parallel >/dev/null

if [ "$case" = arm ]; then
  qemu-aarch64 "$build/run_cases" "$file"
  exit
fi
"$build/run_cases" "$file"
[ "$(uname -m)" = x86_64 ] || exit 0

# Wide vectors are for the kernels alone, and what the linker may take from any of several files must be named after an
# instruction set: else the copy for a newer processor could serve an older one.
if find "$build/CMakeFiles/run_cases.dir" -name '*.o' -exec objdump -d {} + | grep -m 3 -E '%[yz]mm'; then
  echo "the files around the kernels hold instructions that older processors lack"; exit 1
fi
if find "$build" -path '*/kernels_*' -name '*.o' -exec nm -C {} + | grep ' [VWu] ' | grep -m 3 -v 'coolnn::[a-z0-9]*::'; then
  echo "the kernels share these with other files"; exit 1
fi
if command -v qemu-x86_64 >/dev/null; then
  qemu-x86_64 -cpu Nehalem "$build/run_cases" "$file" 1 baseline
fi
