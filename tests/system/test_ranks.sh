#!/bin/bash
# Ranks under both MPIs: each library's launcher starts the one program, which joins all ranks and
# trains data parallel. The same ranks end with the same bits, under either library, across a stop
# and a kill, whatever each keeps of the model; another number of ranks, with nearly the same loss.
set -uo pipefail

# Where a test runs as root in a container, Open MPI wants to be told that this is meant.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Where /sys is not mounted the libraries' hwloc says so in every process.
export HWLOC_HIDE_ERRORS=2
cd "$TMPDIR"

ok() { echo "ok $1"; }
bad() { echo "not ok $1: $2"; }
ranks() { # MPI N ARGUMENTS...: colossus on N ranks
    local options=()
    [[ $1 == openmpi ]] && options=(--oversubscribe)
    timeout 200 "mpirun.$1" "${options[@]}" -n "$2" "$COLOSSUS" "${@:3}" </dev/null 2>&1
}
weights() { cat "$1"/checkpoints/step-00000040/weights*.safetensors | sha256sum | cut -d' ' -f1; }
bits_per_byte() { grep -o '"valid_bits_per_byte":[0-9.]*' "$1/metrics.jsonl" | tail -n1 | cut -d: -f2; }

# ---------------------------------------------------------------- one process
for i in $(seq 400); do
    printf 'line %d of a text: %d squared is %d, %s.\n%%\n' "$i" "$i" $((i * i)) \
        "$([[ $((i % 3)) == 0 ]] && echo fizz || echo 'not fizz')"
done >text
"$COLOSSUS" data train-tokenizer text --format fortune --vocab-size 300 --out tok.json >log 2>&1 &&
    "$COLOSSUS" data tokenize text --format fortune --tokenizer tok.json --valid-fraction 0.1 \
        --out data >>log 2>&1 || { bad data "$(cat log)"; exit 1; }
cat >run.yaml <<'END'
data: {path: data}
model: {n_layers: 2, d_model: 64, n_heads: 4, n_kv_heads: 2, ffn_hidden: 64, n_experts: 4}
batch: {seq_len: 32, micro_batch: 1, global_batch: 8}
train: {tokens: 10240, precision: fp32, threads: 1}
optimizer: {kind: muon}
log: {valid_every: 20, peak_seconds: 0}
checkpoint: {every: 10}
END
"$COLOSSUS" train run.yaml --run-dir alone >log 2>&1 || bad alone "$(cat log)"

# ---------------------------------------------------------------- ranks
first=
for mpi in openmpi mpich; do
    for tool in mpirun.$mpi mpicc.$mpi; do
        command -v $tool >/dev/null && continue
        echo "skip $mpi: '$tool' is missing: apt-get install lib$mpi-dev $mpi"
        continue 2
    done
    if ! out=$(ranks $mpi 3 doctor mpi --json) || [[ $(grep -c '"ranks":3' <<<"$out") -ne 1 ]]; then
        bad "$mpi: doctor" "$out"
    else
        ok "$mpi: doctor"
    fi
    if ! out=$(ranks $mpi 2 check-golden grok-2-small --layout dp=2,zero=2) ||
        [[ $(grep -c 'every bound holds' <<<"$out") -ne 1 ]]; then
        bad "$mpi: reference" "$out"
    else
        ok "$mpi: reference"
    fi
    if ! out=$(ranks $mpi 2 train run.yaml --run-dir $mpi); then
        bad "$mpi: two ranks" "$out"
        continue
    fi
    first=${first:-$mpi}
    if [[ $(weights $mpi) != $(weights $first) ]]; then
        bad "$mpi: two ranks" "other weights than by $first"
    elif ! awk -v a="$(bits_per_byte alone)" -v b="$(bits_per_byte $mpi)" \
        'BEGIN { d = a - b; exit !(a > 0 && b > 0 && d * d < 0.01 ^ 2) }'; then
        bad "$mpi: two ranks" "$(bits_per_byte $mpi) bits per byte, alone $(bits_per_byte alone)"
    elif [[ $(grep -c '"step":' $mpi/metrics.jsonl) -ne 40 || $(grep -c '^step 40/40' <<<"$out") -ne 1 ]]; then
        bad "$mpi: two ranks" "not one line for each step: $out"
    else
        ok "$mpi: two ranks"
    fi
done
[[ $first ]] || exit 0

# A signal to one rank stops all of them in good order; the same command goes on, to the same bits.
timeout 200 mpirun.$first -n 2 "$COLOSSUS" train run.yaml --run-dir stopped </dev/null >log 2>&1 &
for ((i = 0; i < 600; i++)); do
    [[ -s stopped/metrics.jsonl ]] && break
    sleep 0.05
done
pgrep -f -- "^$COLOSSUS train run.yaml --run-dir stopped" | tail -n1 | xargs -r kill -TERM
wait $!
rc=$?
stopped=$(grep -c '"step":' stopped/metrics.jsonl)
if [[ $rc -ne 75 || $stopped -ge 40 ]]; then
    bad stop "exit code $rc after $stopped steps: $(cat log)"
elif ! out=$(ranks $first 2 train run.yaml --run-dir stopped) || [[ $out != *"resumed from"* ]]; then
    bad stop "$out"
elif [[ $(weights stopped) != $(weights $first) ]]; then
    bad stop "other weights than without a stop"
else
    ok stop
fi

# What each of three ranks keeps of the model changes no bit; a rank that is killed while checkpoints
# are written damages none, and the run goes on to the same end.
for zero in 0 1 2; do
    ranks $first 3 train run.yaml --run-dir zero-$zero --set batch.global_batch=3 \
        --set train.tokens=3840 --set cluster.zero=$zero --set checkpoint.every=1 >log ||
        bad "zero $zero" "$(cat log)"
done
if diff -r zero-0/checkpoints zero-1/checkpoints >log && diff -r zero-0/checkpoints zero-2/checkpoints >>log &&
    [[ -f zero-2/checkpoints/step-00000040/weights-00003-of-00003.safetensors ]]; then
    ok "zero 0, 1 and 2"
else
    bad "zero 0, 1 and 2" "$(cat log)"
fi
killed() { timeout 200 mpirun.$first $([[ $first == openmpi ]] && echo --oversubscribe) -n 3 "$COLOSSUS" \
    train run.yaml --run-dir killed --set batch.global_batch=3 --set train.tokens=3840 \
    --set cluster.zero=2 --set checkpoint.every=1 </dev/null 2>&1; }
killed >log &
for ((i = 0; i < 600; i++)); do
    [[ -d killed/checkpoints/step-00000005 ]] && break
    sleep 0.02
done
pgrep -f -- "^$COLOSSUS train run.yaml --run-dir killed" | tail -n1 | xargs -r kill -KILL
wait $!
if ! out=$(killed) || ! diff -r zero-2/checkpoints killed/checkpoints >log; then
    bad "a killed rank" "$out $(cat log)"
else
    ok "a killed rank"
fi
if ! "$COLOSSUS" eval zero-2 text >log 2>&1; then
    bad "a model in parts" "$(cat log)"
else
    ok "a model in parts"
fi

# Half the steps on four ranks, the rest by one process.
if ! out=$(ranks $first 4 train run.yaml --run-dir fewer --set train.max_steps=20); then
    bad "fewer ranks" "$out"
elif ! "$COLOSSUS" train run.yaml --run-dir fewer >log 2>&1 ||
    ! grep -q 'resumed from the checkpoint of step 20' log; then
    bad "fewer ranks" "$(cat log)"
elif ! awk -v a="$(bits_per_byte alone)" -v b="$(bits_per_byte fewer)" \
    'BEGIN { d = a - b; exit !(b > 0 && d * d < 0.01 ^ 2) }'; then
    bad "fewer ranks" "$(bits_per_byte fewer) bits per byte, alone $(bits_per_byte alone)"
else
    ok "fewer ranks"
fi

# The planner's layout, on a machine that is measured, is written into the run folder; on one that is
# not, that is said.
export XDG_CONFIG_HOME=$PWD/config
out=$(ranks $first 2 train run.yaml --run-dir unmeasured --set cluster.layout=auto)
if [[ $(grep -c 'measure this machine first' <<<"$out") -ne 1 ]]; then
    bad "a layout for an unknown machine" "$out"
else
    ok "a layout for an unknown machine"
fi
"$COLOSSUS" bench-machine --rounds 1 --precision fp32 >log 2>&1 || bad "bench-machine" "$(cat log)"
if ! out=$(ranks $first 2 train run.yaml --run-dir chosen --set cluster.layout=auto --set train.max_steps=5) ||
    [[ $(grep -c '^layout: dp [12], tp [12], pp [12], ep [12]: ' <<<"$out") -ne 1 ]] ||
    [[ $(grep -c 'layout: given  # derived' chosen/run.yaml) -ne 1 ]]; then
    bad "the planner's layout" "$out"
elif ! "$COLOSSUS" plan validate --local chosen >log 2>&1 || ! grep -q '^chosen ' log; then
    bad "the planner's layout" "$(cat log)"
else
    ok "the planner's layout"
fi

# A recorded step of every rank, as a table and as a picture; one process has one, too.
if ! out=$("$COLOSSUS" plot $first --timeline 2>&1) || [[ $(grep -c '^ *[01]  *[0-9.]*  ' <<<"$out") -ne 2 ]] ||
    [[ $(grep -c 'step 3, dp 2' <<<"$out") -ne 1 ]] || [[ $(grep -c '>rank 1<' $first/timeline.svg) -ne 1 ]]; then
    bad "a timeline" "$out"
elif ! "$COLOSSUS" plot alone --timeline --quiet >log 2>&1 || ! grep -q '>rank 0<' alone/timeline.svg; then
    bad "a timeline" "$(cat log)"
elif out=$("$COLOSSUS" plot none --timeline 2>&1) || [[ $out != *"has no recorded step"* ]]; then
    bad "a timeline" "$out"
else
    ok "a timeline"
fi

# A slower network takes its time and changes no bit; a wrong one is refused.
if ! out=$(COLOSSUS_LINK='50 MB/s, 0.5 ms' ranks $first 2 train run.yaml --run-dir slow); then
    bad "a slower network" "$out"
elif [[ $(weights slow) != $(weights $first) ]]; then
    bad "a slower network" "other weights than without it"
elif out=$(COLOSSUS_LINK='50 apples' ranks $first 2 train run.yaml --run-dir slow) ||
    [[ $out != *"COLOSSUS_LINK is '50 apples'"*"1.25 GB/s"* ]]; then
    bad "a slower network" "$out"
else
    ok "a slower network"
fi

# Who started this process, and the MPI that it was given, have to be one.
for told in 'OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0' 'PMI_RANK=0 PMI_SIZE=2'; do
    [[ $told == OMPI* && -e $(dirname "$COLOSSUS")/colossus-openmpi.so ]] ||
        [[ $told == PMI* && -e $(dirname "$COLOSSUS")/colossus-mpich.so ]] || continue
    if out=$(env $told "$COLOSSUS" train run.yaml --run-dir alone-of-two 2>&1) ||
        [[ $out != *"is one of 2 that"*" knows of 1"*"COLOSSUS_MPI="* ]]; then
        bad "one of two by $told" "$out"
    else
        ok "one of two by ${told%% *}"
    fi
done

# A rank that is frozen: the others name it, and say what they were at.
ranks $first 2 train run.yaml --run-dir frozen --set train.tokens=100M --set cluster.timeout=3 >log &
for ((i = 0; i < 600; i++)); do
    [[ -s frozen/metrics.jsonl ]] && break
    sleep 0.05
done
pid=$(pgrep -f -- "^$COLOSSUS train run.yaml --run-dir frozen" | tail -n1)
kill -STOP "$pid"
for ((i = 0; i < 300; i++)); do
    grep -q 'has waited 3 s for rank' log && break
    sleep 0.1
done
kill -KILL "$pid" 2>/dev/null
wait $!
if [[ $(grep -c 'has waited 3 s for rank' log) -lt 1 ]] || ! grep -q "frozen/stacks/rank-" log ||
    ! grep -q 'waits .*for rank .*in a.* of group' frozen/stacks/rank-*.txt ||
    ! grep -q '^  thread [0-9]' frozen/stacks/rank-*.txt; then
    bad "a frozen rank" "$(cat log; cat frozen/stacks/*)"
else
    ok "a frozen rank"
fi

# What cannot be trained is said once, not once a rank.
out=$(ranks $first 2 train run.yaml --run-dir none --set cluster.dp=4)
if [[ $(grep -c 'cluster.dp 4 x tp 1 x pp 1 is of 4 ranks, and 2 were started' <<<"$out") -ne 1 ]]; then
    bad "errors are said once" "$out"
else
    ok "errors are said once"
fi

# A layout that cannot work is refused with the nearest that can; ranks are started by the check
# itself, with the MPI that it finds.
out=$("$COLOSSUS" check-golden one-token --layout dp=2 2>&1)
if [[ $out == *"batches of 1 rows, which 2 ranks cannot share"*"--ranks 1"* ]] &&
    "$COLOSSUS" check-golden top-1 --ranks 2 >log 2>&1; then
    ok "layouts of a check"
else
    bad "layouts of a check" "$out $(cat log)"
fi

# srun without MPI is found out, and the cure is named.
if out=$(SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=1 "$COLOSSUS" doctor mpi 2>&1); then
    bad srun "$out"
elif [[ $out == *"srun started 4 tasks"*"--mpi=pmix"* ]]; then
    ok srun
else
    bad srun "$out"
fi
