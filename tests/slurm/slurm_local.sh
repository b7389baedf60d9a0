#!/bin/bash
# slurm_local.sh: a Slurm of several nodes on this one machine, from Debian's own packages, for tests.
#
#   slurm_local.sh up FOLDER NODES     starts it; FOLDER/env is then to be read by a shell that uses it
#   slurm_local.sh down FOLDER         ends what it started, by process number
#
# No munge, no systemd, nothing outside FOLDER. Where Slurm is not installed its packages are fetched
# with apt-get and unpacked there. Debian's slurmd may run several times on one machine where every node has
# a NodeHostname of its own; the nodes' address is the loopback. Timeouts are Slurm's defaults, but that
# a job which is queued again need not wait two minutes for old credentials to expire.
set -eu
what=$1
D=$(mkdir -p "$2" && cd "$2" && pwd)
root=$D/root
[ ! -x /usr/sbin/slurmctld ] || [ ! -x /usr/sbin/slurmd ] || [ ! -x /usr/bin/sbatch ] || root=
# Those of `tools/deps slurm`, and what they cannot be without.
packages="slurmctld slurmd slurm-client slurm-wlm-basic-plugins libmunge2 libpmix2"

unpack() {
    [ "$root" ] || return 0
    [ -x "$root/usr/sbin/slurmctld" ] || [ -x "$root/usr/sbin/slurmctld-wlm" ] && return
    mkdir -p "$D/debs"
    (cd "$D/debs" && apt-get -q download $packages >"$D/apt.log" 2>&1) || {
        tail -n 3 "$D/apt.log" >&2
        return 1
    }
    for deb in "$D"/debs/*.deb; do dpkg -x "$deb" "$root"; done
}

write_config() {
    local plugins=$1 nodes=$2
    cat <<END
ClusterName=colossus
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/state/slurmctld.pid
SlurmdPidFile=$D/spool/%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.%n.log
TmpFS=$D/tmpfs/%n
PluginDir=$plugins
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
NodeName=DEFAULT CPUs=2 RealMemory=500
END
    for ((i = 1; i <= nodes; i++)); do
        echo "NodeName=n$i NodeHostname=n$i NodeAddr=127.0.0.1 Port=$((port + 10 + i))"
    done
    echo "PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

# Whether nobody listens at any of the ports that a cluster of so many nodes takes.
are_free() {
    local i
    for i in 0 1 $(seq 11 $((10 + $2))); do
        (exec 3<>"/dev/tcp/127.0.0.1/$(($1 + i))") 2>/dev/null && return 1
    done
    return 0
}

up() {
    local nodes=$1 lib=/usr/lib/x86_64-linux-gnu
    # Below the ports that Linux gives to connections, so that none of these takes one.
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
    for ((i = 0; i < 50; i++)); do
        are_free $port "$nodes" && break
        port=$((10000 + (port + 97) % 20000))
    done
    mkdir -p "$D"/{etc,state,spool,log,tmpfs}
    unpack
    write_config "$root$lib/slurm-wlm" "$nodes" >"$D/etc/slurm.conf"
    cat >"$D/env" <<END
export SLURM_CONF=$D/etc/slurm.conf
export LD_LIBRARY_PATH=$root$lib/slurm-wlm:$root$lib:$root$lib/pmix2/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export PATH=$root/usr/bin:$root/usr/sbin:\$PATH
END
    . "$D/env"
    : >"$D/pids"
    local ctld=slurmctld slurmd=slurmd stepd=slurmstepd
    [ -x "$root/usr/sbin/slurmctld" ] || ctld=slurmctld-wlm slurmd=slurmd-wlm stepd=slurmstepd-wlm
    "$root/usr/sbin/$ctld" -D -f "$D/etc/slurm.conf" >"$D/log/slurmctld.out" 2>&1 &
    echo "slurmctld $!" >>"$D/pids"
    sleep 1
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$D/spool/n$i" "$D/tmpfs/n$i"
        "$root/usr/sbin/$slurmd" -D -f "$D/etc/slurm.conf" -N "n$i" -d "$root/usr/sbin/$stepd" >"$D/log/slurmd.n$i.out" 2>&1 &
        echo "n$i $!" >>"$D/pids"
    done
    # Linked under their plain names, where Debian's alternatives would.
    [ ! "$root" ] || for tool in srun sbatch scontrol scancel sinfo squeue; do
        [ -e "$root/usr/bin/$tool" ] || ln -sf "$tool-wlm" "$root/usr/bin/$tool" 2>/dev/null || true
    done
    for ((i = 0; i < 100; i++)); do
        [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = "$nodes" ] && return
        sleep 0.2
    done
    echo "slurm_local: the nodes did not come up" >&2
    tail -n 5 "$D"/log/* >&2
    return 1
}

# A node that was stopped still ends; what is left of its job ends with it.
down() {
    local name pid
    [ -f "$D/pids" ] || return 0
    while read -r name pid; do
        kill -CONT "$pid" 2>/dev/null || continue
        kill -TERM "$pid" 2>/dev/null || true
    done <"$D/pids"
    sleep 1
    while read -r name pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$D/pids"
    rm -f "$D/pids"
}

case $what in
    up) up "$3" ;;
    down) down ;;
    *) echo "slurm_local: up FOLDER NODES, or down FOLDER" >&2; exit 2 ;;
esac
