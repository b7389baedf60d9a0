#!/bin/bash
# An ingest of posts, killed at random moments: nothing that was acknowledged is lost, nothing is
# there twice, the index verifies. FEED_KILLS=50 for more of them.
set -u
if output=$(python3 "$COLOSSUS_ROOT/tests/system/feed_kill.py" "$COLOSSUS" "${FEED_KILLS:-6}" 2>&1); then
    echo "ok feed: kills: $output"
else
    echo "$output"
    echo "not ok feed: kills"
    exit 1
fi
