#!/bin/sh
# A Slurm of three nodes on this machine, and a job that loses one of them: the short part of what
# `make test-slurm` tries; what and how: slurm_faults.py. Slurm's packages are fetched, not installed.
command -v python3 >/dev/null || { echo "skip slurm: python3"; exit 77; }
command -v mpirun >/dev/null || { echo "skip slurm: mpirun: apt-get install openmpi-bin"; exit 77; }
exec python3 "$(dirname "$0")/../slurm/slurm_faults.py" doctor killed
