#!/bin/bash
# The page of a site's run in headless Chromium, and what can be put in by it: tests/page/site_page.py.
# SITE_SHOTS=FOLDER keeps pictures.
set -eu
for program in python3 chromium chromedriver; do
    command -v $program >/dev/null || { echo "skip site_page: $program"; exit 77; }
done
cat >site.yaml <<END
cluster: 8192 x h100
days: 4
grid: {contract_w: 20 MW}
gas: [{name: turbines, units: 2, unit_w: 2 MW}]
jobs: [{name: train, accelerators: 8000}]
END
exec python3 "$COLOSSUS_ROOT/tests/page/site_page.py" "$COLOSSUS" site.yaml \
    ${SITE_SHOTS:+--shots "$SITE_SHOTS"}
