#!/bin/sh
# A Slurm of three nodes on this machine, and a job that loses one of them: the short part of what
# `make test-slurm` tries; what and how: slurm_faults.py. Only where Slurm is installed: nothing is
# fetched in a test.
command -v python3 >/dev/null || { echo "skip slurm: python3"; exit 77; }
command -v mpirun >/dev/null || { echo "skip slurm: mpirun: apt-get install openmpi-bin"; exit 77; }
for program in /usr/sbin/slurmctld /usr/sbin/slurmd /usr/bin/sbatch; do
    [ -x "$program" ] ||
        { echo "skip slurm: $(basename "$program"): tools/deps slurm installs it"; exit 77; }
done
exec python3 "$(dirname "$0")/../slurm/slurm_faults.py" doctor killed
