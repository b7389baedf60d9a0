#!/bin/bash
# Ranks under both MPIs: each library's launcher starts the one program, which joins all ranks.
set -uo pipefail

# Where a test runs as root in a container, Open MPI wants to be told that this is meant.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

for mpi in openmpi mpich; do
    case $mpi in
        openmpi) options=(--oversubscribe) ;;
        mpich) options=() ;;
    esac
    for tool in mpirun.$mpi mpicc.$mpi; do
        command -v $tool >/dev/null && continue
        echo "skip $mpi: '$tool' is missing: apt-get install lib$mpi-dev $mpi"
        continue 2
    done
    if ! out=$(timeout 120 mpirun.$mpi "${options[@]}" -n 3 "$COLOSSUS" doctor mpi --json </dev/null 2>&1); then
        echo "not ok $mpi: doctor mpi: $out"
    elif [[ $(grep -c '"ranks":3' <<<"$out") -ne 1 ]]; then
        echo "not ok $mpi: three ranks did not join: $out"
    else
        echo "ok $mpi"
    fi
done

# srun without MPI is found out, and the cure is named.
if out=$(SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=1 "$COLOSSUS" doctor mpi 2>&1); then
    echo "not ok srun: $out"
elif [[ $out == *"srun started 4 tasks"*"--mpi=pmix"* ]]; then
    echo "ok srun"
else
    echo "not ok srun: $out"
fi
