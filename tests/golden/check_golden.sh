#!/bin/bash
# check_golden.sh: `colossus check-golden` on every folder of golden numbers: the small ones of the
# repository, and those of the reference where they lie beside the checkout. fp32 within the fixed
# bounds on every backend, bf16 within what 8 bits of mantissa explain, JSON that says the same; and
# the check itself must be able to fail, and to say what is wrong with a folder.
set -u
here=$COLOSSUS_ROOT/tests/golden
shared=${COLOSSUS_SHARED:-$COLOSSUS_ROOT/../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

result() { # NAME STATUS: 0 is good; the log explains
    if [[ $2 -eq 0 ]]; then
        echo "ok $1"
    else
        echo "not ok $1: $(grep -h -m1 -E 'FAILS|colossus' "$work/log" || tail -n1 "$work/log")"
        failed=1
    fi
}

check() { # NAME FOLDER OPTIONS...
    local name=$1 folder=$2
    shift 2
    "$COLOSSUS" check-golden "$folder" "$@" >"$work/log" 2>&1
    result "$name" $?
}

expect_failure() { # NAME FOLDER WORDS: exit code 1, and a message with these words
    local code
    "$COLOSSUS" check-golden "$2" >"$work/log" 2>&1
    code=$?
    [[ $code -eq 1 ]] && grep -q -- "$3" "$work/log"
    result "$1" $?
}

folders=("$here"/data/*/)
for name in grok-moe grok-2 grok-dense; do
    if [[ -f $shared/reference/golden/$name/config.json ]]; then
        folders+=("$shared/reference/golden/$name/")
    else
        echo "skip fp32 $name: no ../shared/reference/golden/$name (or \$COLOSSUS_SHARED)"
    fi
done

for folder in "${folders[@]}"; do
    name=$(basename "$folder")
    check "fp32 $name" "$folder"
    check "fp32 reference kernels $name" "$folder" --backend reference
    if grep -qw avx2 /proc/cpuinfo; then
        check "fp32 avx2 $name" "$folder" --backend avx2
    fi
    check "bf16 $name" "$folder" --precision bf16
done

first=${folders[0]}
"$COLOSSUS" check-golden "$first" --json >"$work/log" 2>&1 &&
    python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); assert o["holds"] is True
assert all(r["holds"] for r in o["errors"].values()) and o["greedy_same"] == o["greedy_total"]' \
        "$work/log"
result "json" $?

# A single wrong weight must be noticed: the last float of the weights is flipped in sign.
cp -r "$first" "$work/wrong"
chmod -R u+w "$work/wrong"
python3 - "$work/wrong/weights.safetensors" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[-1] ^= 0x80
open(sys.argv[1], "wb").write(data)
PY
expect_failure "a wrong weight fails" "$work/wrong" "FAILS"

cp -r "$first" "$work/missing"
chmod -R u+w "$work/missing"
rm "$work/missing/expected.safetensors"
expect_failure "a missing file is named" "$work/missing" "expected.safetensors"
cp -r "$first" "$work/torn"
chmod -R u+w "$work/torn"
head -c 1000 "$first/batch.safetensors" | head -c 60 >"$work/torn/batch.safetensors"
expect_failure "a torn file is named" "$work/torn" "batch.safetensors"
cp -r "$first" "$work/other"
chmod -R u+w "$work/other"
sed -i 's/"vocab_size": [0-9]*/"vocab_size": 7/' "$work/other/config.json"
expect_failure "another vocabulary is named" "$work/other" "7"
exit $failed
