#!/bin/bash
# 64 ranks of a tiny model, dp 16 x tp 2 x pp 2 with ep 2 inside, are killed in the middle of a step
# and resume as dp 4; they end with the bits of a run that changed its layout at the same checkpoint
# and was never killed.
set -uo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 HWLOC_HIDE_ERRORS=2
cd "$TMPDIR"

if ! command -v mpirun.openmpi >/dev/null; then
    echo "skip 64 ranks: 'mpirun.openmpi' is missing: apt-get install openmpi-bin"
    exit 0
fi
ranks() { # N ARGUMENTS...
    timeout 600 mpirun.openmpi --oversubscribe -n "$1" "$COLOSSUS" "${@:2}" </dev/null 2>&1
}

for i in $(seq 400); do
    printf 'line %d of a text: %d squared is %d.\n%%\n' "$i" "$i" $((i * i))
done >text
"$COLOSSUS" data train-tokenizer text --format fortune --vocab-size 300 --out tok.json >log 2>&1 &&
    "$COLOSSUS" data tokenize text --format fortune --tokenizer tok.json --out data >>log 2>&1 ||
    { echo "not ok data: $(cat log)"; exit 1; }
cat >run.yaml <<'END'
data: {path: data}
model: {n_layers: 2, d_model: 16, n_heads: 4, n_kv_heads: 2, ffn_hidden: 16, n_experts: 4}
batch: {seq_len: 16, micro_batch: 1, global_batch: 32}
train: {tokens: 7168, precision: fp32, threads: 1}
log: {peak_seconds: 0}
checkpoint: {every: 1, keep_last: 100}
END
wide=(--set cluster.dp=16 --set cluster.tp=2 --set cluster.pp=2 --set cluster.ep=2)

# Killed at random behind the second step: every rank at once, as when power fails.
ranks 64 train run.yaml --run-dir killed "${wide[@]}" >log 2>&1 &
for ((i = 0; i < 8000; i++)); do
    [[ -d killed/checkpoints/step-00000002 ]] && break
    sleep 0.05
done
sleep "0.$((RANDOM % 10))"
pkill -KILL -f -- "^$COLOSSUS train run.yaml --run-dir killed"
wait $!
last=$(ls killed/checkpoints 2>/dev/null | grep -v tmp | tail -n1)
step=$((10#${last#step-}))
if ((step < 2 || step >= 14)); then
    echo "not ok 64 ranks: killed at '$last': $(tail -n5 log)"
    exit 1
fi
if ! out=$(ranks 4 train run.yaml --run-dir killed) || [[ $out != *"resumed from the checkpoint of step $step"* ]]; then
    echo "not ok go on as dp 4: $out"
    exit 1
fi

# The same without a kill.
if ! out=$(ranks 64 train run.yaml --run-dir calm "${wide[@]}" --set train.max_steps="$step") ||
    ! out=$(ranks 4 train run.yaml --run-dir calm); then
    echo "not ok undisturbed: $out"
    exit 1
fi
if diff -r killed/checkpoints calm/checkpoints >log; then
    echo "ok 64 ranks, killed behind step $step, end as if they had not been"
else
    echo "not ok 64 ranks: killed behind step $step: $(head -n3 log)"
    exit 1
fi
