#!/bin/bash
# Too little address space, too few threads or descriptors: whatever a command was at, it ends with
# exit code 1 and a message, or has enough and does its work; it never aborts, crashes or hangs. The
# sizes are swept, as each of them stops the program at another place.
set -u
bad=0
report() {
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}
ulimit -c 0

for i in $(seq 800); do echo "line $i of a small corpus, with the words $((i * 7919 % 1000)) and more"; done >corpus.txt
"$COLOSSUS" data train-tokenizer corpus.txt -f lines --vocab-size 300 --out tok.json >/dev/null 2>&1
"$COLOSSUS" data tokenize corpus.txt -f lines -t tok.json -o data -v 0.1 >/dev/null 2>&1
cat >run.yaml <<'END'
name: r
data: {path: data}
model: {n_layers: 2, d_model: 64, n_heads: 2, ffn_hidden: 64, n_experts: 4}
batch: {seq_len: 32, micro_batch: 2}
train: {tokens: 200, threads: 2}
log: {peak_seconds: 0}
END
"$COLOSSUS" train run.yaml --run-dir model >/dev/null 2>&1
report "limits: a run to look at" $?

# Below 'first' kB not even the libraries can be loaded, which the system says with 127.
first=0
for v in $(seq 20000 4000 200000); do
    if (ulimit -v "$v"; "$COLOSSUS" --version >/dev/null 2>&1); then first=$v; break; fi
done
[[ $first -gt 0 ]]
report "limits: a size at which the program starts" $?

# sweep NAME STEPS STEP COMMAND...: it works with enough, and no third outcome is seen.
sweep() {
    local name=$1 steps=$2 step=$3 done=0 wrong=0 v rc
    shift 3
    for ((v = first; v < first + steps * step; v += step)); do
        rm -rf out out.json
        (ulimit -v "$v"; exec timeout 60 "$@") >log 2>&1
        rc=$?
        if [[ $rc -eq 0 ]]; then
            done=1
        elif [[ $rc -ne 1 ]] || ! grep -q 'colossus.*\(memory\|thread\|cannot\)' log; then
            echo "ulimit -v $v: $*: exit code $rc: $(tail -1 log)"
            wrong=1
        fi
    done
    [[ $done -eq 1 && $wrong -eq 0 ]]
    report "limits: $name in too little address space" $?
}
if [[ $(ldd "$COLOSSUS") == *san.so* ]]; then
    echo "skip limits: a sanitizer reserves more than any of these sizes"
else
    sweep train 30 10000 "$COLOSSUS" train run.yaml --run-dir out
    # Below AVX-512 oneDNN writes the code of its products later: at their first run.
    ONEDNN_MAX_CPU_ISA=AVX2 sweep "train on AVX2" 60 5000 "$COLOSSUS" train run.yaml --run-dir out
    sweep generate 24 10000 "$COLOSSUS" generate model --prompt a --max-tokens 2 --threads 2
    sweep eval 24 10000 "$COLOSSUS" eval model corpus.txt --threads 2
    sweep tokenize 20 8000 "$COLOSSUS" data tokenize corpus.txt -f lines -t tok.json -o out --threads 2
    sweep train-tokenizer 8 4000 "$COLOSSUS" data train-tokenizer corpus.txt --vocab-size 300 --out out.json
    sweep plan 8 4000 "$COLOSSUS" plan laptop
fi

# The limit on threads is for a user without rights; root has none.
if [[ $(id -u) -ne 0 ]] || ! command -v setpriv >/dev/null; then
    echo "skip limits: threads: root and setpriv"
else
    chmod 755 . .. && cp "$(readlink -f "$COLOSSUS")" program
    mkdir -p open && chmod 777 open && cp -r "$COLOSSUS_ROOT/presets" presets
    export COLOSSUS_PRESETS=$PWD/presets
    wrong=0 refused=0 said=
    for n in 1 2 3 4 5; do
        for command in "train run.yaml --run-dir open/r-$n --set train.threads=4" \
            "eval model corpus.txt --threads 4" "plan llama-3-405b"; do
            # shellcheck disable=SC2086
            setpriv --reuid=54321 --clear-groups bash -c \
                "ulimit -c 0; ulimit -u $n; exec ./program $command" >log 2>&1
            rc=$?
            said+="ulimit -u $n: $command: exit code $rc: $(tail -1 log)"$'\n'
            [[ $rc -eq 1 ]] && grep -q 'cannot start' log && refused=1
            [[ $rc -eq 0 || $rc -eq 1 ]] && continue
            grep -q 'fork\|Permission denied' log && continue # the shell's own
            echo "ulimit -u $n: $command: exit code $rc: $(tail -1 log)"
            wrong=1
        done
    done
    [[ $refused -eq 1 ]] || echo "no command met the limit on threads: $said"
    [[ $wrong -eq 0 && $refused -eq 1 ]]
    report "limits: too few threads" $?
fi

wrong=0
for n in 3 4 5 6 7 8 12; do
    rm -rf out
    (exec >log 2>&1; ulimit -n "$n"; exec timeout 60 "$COLOSSUS" train run.yaml --run-dir out)
    rc=$?
    [[ $rc -eq 0 ]] && continue
    [[ $rc -eq 1 ]] && grep -q '^colossus' log && continue
    [[ $rc -eq 127 && $n -lt 4 ]] && continue # the libraries
    echo "ulimit -n $n: exit code $rc: $(tail -1 log)"
    wrong=1
done
report "limits: too few descriptors" $wrong
exit $bad
