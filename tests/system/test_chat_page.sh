#!/bin/bash
# The chat page in headless Chromium against a model that is trained here for a few steps; what and
# how: tests/page/chat_page.py. CHAT_MODEL=FILE takes another model, CHAT_SHOTS=FOLDER keeps pictures.
set -eu
for program in python3 chromium chromedriver; do
    command -v $program >/dev/null || { echo "skip chat_page: $program"; exit 77; }
done
bytes=$(cat "$COLOSSUS_ROOT"/web/chat* "$COLOSSUS_ROOT/web/style.css" | wc -c)
if [ "$bytes" -le 150000 ]; then
    echo "ok chat page: its files are $bytes bytes, 150,000 at most"
else
    echo "not ok chat page: its files are $bytes bytes, more than 150,000"
fi
model=${CHAT_MODEL:-}
if [ -z "$model" ]; then
    cat >run.yaml <<END
name: tiny
data:
  path: data
model:
  n_layers: 2
  d_model: 32
  n_heads: 2
  ffn_hidden: 32
  n_experts: 4
batch:
  seq_len: 256
  micro_batch: 2
train:
  tokens: 25600
  precision: fp32
log:
  every: 50
  peak_seconds: 0
checkpoint:
  every: 50
END
    for i in $(seq 2000); do printf 'the cat moves %d boxes\nto house %d\n%%\n' "$i" $((i * 7)); done >t.txt
    "$COLOSSUS" data train-tokenizer t.txt --format fortune --vocab-size 300 --out tok.json >log 2>&1
    "$COLOSSUS" data tokenize t.txt --format fortune --tokenizer tok.json --out data >log 2>&1
    "$COLOSSUS" train run.yaml >log 2>&1 || { cat log; exit 1; }
    model=runs/tiny
fi
exec python3 "$COLOSSUS_ROOT/tests/page/chat_page.py" "$COLOSSUS" "$model" \
    ${CHAT_SHOTS:+--shots "$CHAT_SHOTS"}
