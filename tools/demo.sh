#!/bin/bash
# demo.sh: the main job on real text, in two to three minutes on two cores.
#
#   tools/demo.sh [--fresh]      (./run demo builds the program and installs what is missing first)
#
# Debian's fortunes are split into training and held-out text; a tokenizer and a small Grok, a
# mixture of eight experts, are trained on the training text; then the held-out text is scored beside
# zstd and xz, and the model writes ten fortunes. The dataset becomes data/fortunes and the run
# runs/fortunes, which the examples of `colossus help` name; all else is made under demo/. What is
# there already is kept: a run that was interrupted goes on, and a second call shows the results
# again. --fresh begins anew; so does another preset or another program, unless somebody else has
# made or continued the run.
#
# The comparison is one of code lengths for the same held-out text, in bits per byte of it:
#   colossus   -log2 of the probability of every token, ends of documents included; the tokenizer,
#              too, was learned from the training text alone
#   zstd -19   --patch-from the training text: the whole of it is the compressor's window
#   xz -9e     size of training and held-out text together, less that of the training text alone
# The compressors get the held-out documents with one byte between them, which is not counted.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
colossus=${COLOSSUS:-./colossus}
fortunes=${FORTUNES:-/usr/share/games/fortunes}
preset=presets/runs/fortunes.yaml
out=demo data=data/fortunes run=runs/fortunes
vocabulary=2048

die() { echo "demo: $1" >&2; exit 1; }
[[ -x $colossus ]] || die "no program '$colossus': ./run demo builds it"
[[ -d $fortunes ]] || die "no fortunes in '$fortunes': ./run deps installs them"
for tool in zstd xz; do
    command -v $tool >/dev/null || die "'$tool' is missing: ./run deps installs it"
done
case ${1:-} in '' | --fresh) ;; *) die "there is no option '$1', only --fresh" ;; esac

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
steps() { cat $run/metrics.jsonl 2>/dev/null | wc -l; }

# One stamp for what the results depend on.
stamp=$(cat "$preset" "$0" "$colossus" | cksum)
if [[ ${1:-} == --fresh ]]; then
    rm -rf $out $data $run
elif [[ $(cat $out/stamp 2>/dev/null) != "$stamp" ]]; then
    [[ -f $out/stamp || ! -e $data ]] && [[ $(steps) -le $(cat $out/steps 2>/dev/null || echo 0) ]] ||
        die "$data or $run is not as the demo made it: move them away, or ./run demo --fresh"
    rm -rf $out $data $run
fi
mkdir -p $out
echo "$stamp" >$out/stamp

# ---------------------------------------------------------------- text
# A document goes to the held-out split by the hash of its text, whatever the tokenizer, so a
# tokenizer of plain bytes serves to take the splits apart before the real one is learned.
say "1. text: Debian's fortunes, one document in twenty held out"
split=(--valid-fraction 0.05)
if [[ ! -f $out/valid.txt ]]; then
    $colossus data train-tokenizer "$fortunes" --vocab-size 260 --out $out/bytes.json --force \
        >/dev/null 2>&1
    $colossus data tokenize "$fortunes" --tokenizer $out/bytes.json "${split[@]}" \
        --out $out/bytes --force >/dev/null 2>&1
    $colossus data inspect $out/bytes --split train --text >$out/train.txt
    $colossus data inspect $out/bytes --split valid --text >$out/valid.tmp
    mv $out/valid.tmp $out/valid.txt
fi
ls -l $out/train.txt $out/valid.txt | awk '{ printf "%-18s %9d bytes\n", $NF, $5 }'

say "2. tokenizer: $vocabulary ids, learned from the training text"
if [[ ! -f $data/index.json ]]; then
    $colossus data train-tokenizer $out/train.txt --format fortune --vocab-size $vocabulary \
        --out $out/tokenizer.json --force
    $colossus data tokenize "$fortunes" --tokenizer $out/tokenizer.json "${split[@]}" \
        --out $data --force
    $colossus data inspect $data --split valid --text | cmp - $out/valid.txt
else
    echo "$data is there already"
fi

# ---------------------------------------------------------------- training
say "3. training: $preset"
trap 'steps >$out/steps' EXIT # how far it came is the demo's own
$colossus train $preset
steps >$out/steps
trap - EXIT

say "4. curves"
$colossus plot $run

# ---------------------------------------------------------------- comparison
say "5. the held-out text, in bits per byte"
# The fortune format ends each document with a line end and a line "%"; one byte instead is all that
# a compressor needs.
for split in train valid; do
    awk 'BEGIN { ORS = "" } /^%$/ { print "\001"; join = ""; next } { print join $0; join = "\n" }' \
        $out/$split.txt >$out/$split.packed
done
cat $out/train.packed $out/valid.packed >$out/both.packed
field() { sed -n "s/.*\"$1\":\([0-9.e+-]*\).*/\1/p"; }
bytes=$($colossus data inspect $data --split valid --documents 0 --top 0 --json |
    sed 's/.*"valid"//' | field bytes)
model=$(grep valid_bits_per_byte $run/metrics.jsonl | tail -n1 |
    field valid_bits_per_byte)
size() { wc -c | tr -d ' '; }
zstd_alone=$(zstd -19 --single-thread --stdout -qq $out/valid.packed | size)
zstd_with=$(zstd -19 --single-thread --stdout -qq --patch-from=$out/train.packed $out/valid.packed | size)
xz_alone=$(xz -9e --quiet --stdout $out/valid.packed | size)
xz_with=$(($(xz -9e --quiet --stdout $out/both.packed | size) - $(xz -9e --stdout $out/train.packed | size)))
# Of the steps themselves, whether in one go or continued.
took=$(field step_s <$run/metrics.jsonl | awk '{ t += $1 } END { printf "%.0f", t }')
best=$(awk -v b="$bytes" -v z="$zstd_with" -v x="$xz_with" \
    'BEGIN { printf "%.4f", 8 * (z < x ? z : x) / b }')
row() { awk -v n="$1" -v s="$2" -v b="$bytes" 'BEGIN { printf "  %-44s %7.4f\n", n, 8 * s / b }'; }
awk -v m="$model" 'BEGIN { printf "  %-44s %7.4f\n", "colossus", m }'
row "xz -9e, given the training text" "$xz_with"
row "zstd -19, given the training text" "$zstd_with"
row "xz -9e alone" "$xz_alone"
row "zstd -19 alone" "$zstd_alone"

# ---------------------------------------------------------------- text again
say "6. ten new fortunes"
for seed in 1 2 3 4 5 6 7 8 9 10; do
    $colossus generate $run --prompt "" --seed $seed --temperature 0.7 --min-p 0.05 \
        --max-tokens 120 --quiet
    echo "%"
done

say "summary"
awk -v m="$model" -v b="$best" -v t="$took" -v n="$bytes" 'BEGIN {
    printf "After %d s of training the model needs %.4f bits per byte of %d bytes it never saw,\n", \
        t, m, n
    printf "%.0f %% less than the better compressor (%.4f), which had the same training text.\n", \
        100 * (1 - m / b), b
}'
echo "run folder: $run   curves: $run/loss.svg"
if awk -v m="$model" -v b="$best" 'BEGIN { exit !(m >= b) }'; then
    die "the model should have beaten the compressors"
fi

say "now try"
root=$PWD
[[ ${COLOSSUS_DEMO_FROM:-$root} == "$root" ]] || printf '  cd %q\n' "$root"
cat <<END
  ./colossus generate $run --prompt "Never trust" --count 3
  ./colossus eval $run $out/valid.txt --format fortune
  ./colossus train fortunes --set train.tokens=4M
  ./colossus plan llama-3-405b
  ./colossus help
The tutorial, docs/tutorial.md, goes through all of it with text of your own.
END
