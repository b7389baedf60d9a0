#!/bin/bash
# The kernels for GPUs in an emulator: the short part of `make test-cuda` (tests/cuda/cuda_run.py).
set -uo pipefail
if [[ $(uname -m) != x86_64 ]]; then
    echo "skip cuda: the emulator's fibers are written for x86-64"
    exit 77
fi
exec python3 "$COLOSSUS_ROOT/tests/cuda/cuda_run.py" --build "$COLOSSUS_BUILD" --short
