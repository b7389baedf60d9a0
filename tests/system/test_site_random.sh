#!/bin/bash
# A hundred scenarios of `colossus site` whose numbers are drawn: each comes to an end, and its energy
# and the time of its jobs add up.
set -u
if python3 "$COLOSSUS_ROOT/tests/system/site_random.py" "$COLOSSUS" 1 100; then
    echo "ok site: a hundred scenarios that were drawn"
else
    echo "not ok site: a hundred scenarios that were drawn: see above"
    exit 1
fi
