#!/bin/bash
# Every order of events of the protocol by which a run that loses ranks goes on (tests/spin): nothing
# that must hold is ever broken; and a search that must find something does: with one file for copies
# instead of two, and with one folder for all attempts.
set -uo pipefail
command -v spin >/dev/null || { echo "skip spin: spin is missing: apt-get install spin"; exit 77; }
command -v gcc >/dev/null || { echo "skip spin: gcc is missing: apt-get install gcc"; exit 77; }
cd "$TMPDIR" || exit 1

# search NAME: the model of that name; prints what the search came to
search() {
    mkdir -p "$1" && cd "$1" && spin -a "../$1.pml" >log 2>&1 &&
        gcc -w -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=1500 -o pan pan.c >>log 2>&1 && ./pan -m100000 >>log 2>&1
    grep -E 'errors:|states, stored|assertion violated|Search not completed|memory limit' log
    cd ..
}
model=$COLOSSUS_ROOT/tests/spin/recovery.pml
cp "$model" whole.pml
said=$(search whole)
if grep -q 'errors: 0' <<<"$said" && ! grep -q 'limit' <<<"$said"; then
    echo "ok spin: every order of events ($(grep -o '[0-9]* states' <<<"$said"))"
else
    echo "not ok spin: every order of events: $said"
fi
sed 's/step % 2\]/0]/g' "$model" >one-file.pml
sed 's/a \* RANKS/0 * RANKS/g' "$model" >one-folder.pml
for broken in one-file one-folder; do
    cmp -s "$model" $broken.pml && { echo "not ok spin: $broken changes nothing"; continue; }
    said=$(search $broken)
    if grep -q 'assertion violated' <<<"$said"; then
        echo "ok spin: $broken is found out"
    else
        echo "not ok spin: $broken is not found out: $said"
    fi
done
