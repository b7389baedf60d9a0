#!/bin/sh
# Live streams of posts and the store over HTTP, against servers on loopback; what and how:
# feed_live.py beside this file. FEED_KILLS=50 for more kills.
command -v python3 >/dev/null || { echo "skip feed_live: python3"; exit 77; }
exec python3 "$(dirname "$0")/feed_live.py" "$COLOSSUS"
