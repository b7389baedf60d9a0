#!/bin/sh
# run.sh: `make bench`: training speed beside PyTorch on the same cores. Options go to
# bench_compare.py (--help lists them). The last program that was built is measured.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
program=${COLOSSUS_BENCH_TRAIN:-}
if [ -z "$program" ]; then
    build=$(dirname "$(readlink "$root/colossus" 2>/dev/null || echo build/gcc/colossus)")
    program=$root/$build/bench/bench_train
fi
exec python3 "$here/bench_compare.py" --program "$program" "$@"
