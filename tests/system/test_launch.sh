#!/bin/sh
# Faults of whole runs of several ranks, and going on after them; what and how: launch_faults.py beside
# this file.
command -v python3 >/dev/null || { echo "skip launch: python3"; exit 77; }
command -v mpirun >/dev/null || { echo "skip launch: mpirun: apt-get install openmpi-bin"; exit 77; }
exec python3 "$(dirname "$0")/launch_faults.py" "$@"
