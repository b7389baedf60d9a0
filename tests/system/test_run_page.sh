#!/bin/bash
# The page of a training run in headless Chromium: tests/page/run_page.py. RUN_SHOTS=FOLDER keeps
# pictures.
set -eu
for program in python3 chromium chromedriver; do
    command -v $program >/dev/null || { echo "skip run_page: $program"; exit 77; }
done
exec python3 "$COLOSSUS_ROOT/tests/page/run_page.py" "$COLOSSUS" ${RUN_SHOTS:+--shots "$RUN_SHOTS"}
