/* cluster.h: the ranks of a job and how they talk: groups with sums, gathers, exchanges, messages
 * and agreement.
 *
 * A job is one process or many. One process needs no MPI: its groups have one member and every call
 * returns at once. Many are started by mpirun or srun; the program then loads the shared object that
 * was built for that MPI (cluster_world.c), and asks no more of it than messages between two ranks:
 * what is built from them is ours, so that a sum is always taken in the order of the ranks and is
 * the same, bit for bit, under any library.
 *
 * Errors stick: once a message failed or waited too long, every later call of any group returns the
 * same error at once. Nobody acts on a result before its call returned 0. */
#ifndef COLOSSUS_CLUSTER_H
#define COLOSSUS_CLUSTER_H

#include "base/base.h"

/* ------------------------------------------------------------------ the job (cluster_world.c) */

typedef struct cluster cluster_t;

struct cluster_options {
    double timeout_s; /* a message that takes longer is an error that names the rank; 0: never */
};
/* Joins the job that this process was started in: the ranks of mpirun or srun, or this process
 * alone. An error where a launcher started several processes that cannot be joined. The variable
 * COLOSSUS_LINK plays a slower network (cluster_link.c). */
int cluster_open(const struct cluster_options *o, cluster_t **out, struct error *e);
/* From here on a message that takes longer than timeout_s is an error that names the rank; 0: none is.
 * Where for most of that time none came or went, this rank writes what it waits for and where each of
 * its threads is to the file report_path, whose folder is made then. */
int cluster_limit_waits(cluster_t *c, double timeout_s, const char *report_path, struct error *e);
/* Where the ranks of a machine may all use the same CPUs, binds this rank to its share of them, and so
 * the threads that it starts from here on; of every rank at once. Returns the number of CPUs of the
 * share; 0: nothing was bound, because ranks are bound already or are more than the CPUs. */
int cluster_bind(cluster_t *c, struct error *e);
/* Whether a message has failed: from then on ranks can only be taken down. */
bool cluster_is_lost(const cluster_t *c);
/* Of all ranks at once, after an orderly end. Accepts NULL. */
void cluster_close(cluster_t *c);
/* Takes every rank of the job down with this exit code: for an error of this rank that the others do
 * not know of. Returns where the job is this process alone. */
void cluster_abort(cluster_t *c, int exit_code);
int cluster_rank(const cluster_t *c);
int cluster_size(const cluster_t *c);
int cluster_local_size(const cluster_t *c); /* ranks on this machine; 0: not known */
/* CPUs of this machine that its control group may use, whichever this rank is bound to. */
int cluster_host_cpus(void);
const char *cluster_transport_name(const cluster_t *c); /* "none", "Open MPI 4.1.4", ... */

/* What the environment says about how this process was started, without joining anything. */
struct cluster_launch {
    const char *launcher; /* "none", "mpirun of Open MPI", "mpiexec of MPICH", "srun", ... */
    const char *mpi;      /* "openmpi", "mpich", or NULL: none is needed */
    const char *variable; /* that says so, or NULL */
    bool told;            /* by the user, with COLOSSUS_MPI */
    int rank, size;       /* as the launcher counts them; 0 and 1 without one */
};
void cluster_find_launch(struct cluster_launch *l);
/* Path of the shared object for an MPI ("openmpi"), in *a; NULL: it was not built. */
char *cluster_find_mpi(const char *mpi, struct arena *a);

/* ------------------------------------------------------------------ groups (cluster_group.c) */

typedef struct group group_t;

enum group_dtype { GROUP_F32, GROUP_F64, GROUP_BF16, GROUP_BYTE };
size_t group_dtype_size(enum group_dtype d);

/* The group of ranks[0 .. size), which must hold this rank, in this order; `name` ("dp") is for
 * messages and is borrowed. Every member makes its groups in the same order; no message is sent. */
group_t *group_new(cluster_t *c, const char *name, const int *ranks, int size);
/* Of all ranks. */
group_t *group_world(cluster_t *c);
void group_free(group_t *g);
int group_rank(const group_t *g);
int group_size(const group_t *g);

/* Every function below returns 0 or a negative code with *e filled, must be called by every member
 * in the same order, and blocks until this member's part is done. Counts are of elements. */

/* x[i] becomes x_0[i] + x_1[i] + ..., added in the order of the ranks; BF16 is added in fp32 and
 * rounded once. Not for GROUP_BYTE. */
int group_sum(group_t *g, void *x, size_t n, enum group_dtype d, struct error *e);
/* Part r of x is x[bounds[r] .. bounds[r + 1]). Afterwards this member's part holds the sum over
 * the group, as group_sum gives it; the other parts are as they were. */
int group_reduce(group_t *g, void *x, const size_t *bounds, enum group_dtype d, struct error *e);
/* Every part of x is taken from the member that it belongs to. */
int group_gather(group_t *g, void *x, const size_t *bounds, enum group_dtype d, struct error *e);
/* Bytes send[send_at[r] .. send_at[r + 1]) go to member r; what it sent here arrives at
 * recv[recv_at[our rank there] ...]: recv_at [size + 1] must say how much comes from each. */
struct group_exchange {
    const void *send;
    const size_t *send_at; /* [size + 1] */
    void *recv;
    const size_t *recv_at; /* [size + 1] */
};
int group_exchange(group_t *g, const struct group_exchange *x, struct error *e);
/* A message to, or from, one other member; both must name the same number of bytes. */
int group_send(group_t *g, int to, const void *data, size_t bytes, struct error *e);
int group_recv(group_t *g, int from, void *data, size_t bytes, struct error *e);
/* data of member `root` for all. */
int group_broadcast(group_t *g, int root, void *data, size_t bytes, struct error *e);
/* Each values[i] becomes the largest of any member: verdicts, stop flags, error codes. */
int group_agree(group_t *g, int64_t *values, size_t n, struct error *e);
/* Returns when every member has called it. */
int group_barrier(group_t *g, struct error *e);

/* Work in the background, on a thread of the job, in the order in which it was started; the arrays
 * must stay until group_wait. One ticket for each piece of work that is under way. */
enum group_work { GROUP_WORK_SUM, GROUP_WORK_REDUCE, GROUP_WORK_GATHER };
struct group_ticket {
    group_t *group;
    enum group_work work;
    void *x;
    const size_t *bounds; /* of REDUCE and GATHER */
    size_t n;             /* of SUM */
    enum group_dtype dtype;
    /* the rest is the room's */
    struct group_ticket *next;
    bool done;
};
/* The caller's ticket, its first six fields filled; it stays until group_wait. */
void group_start(struct group_ticket *t);
int group_wait(struct group_ticket *t, struct error *e);

/* Without a group, for plans: bytes that member `rank` of `size` sends for a piece of work (the
 * ticket's group is not looked at), and the memory that a group takes for messages at most. */
uint64_t group_work_sends(const struct group_ticket *t, int rank, int size);
size_t group_scratch_bytes(int size);

/* ------------------------------------------------------------------ is it well? (cluster_doctor.c) */

/* One MPI's shared object, as a process alone can see it. */
struct cluster_mpi {
    const char *name; /* "openmpi" */
    const char *path; /* NULL: it was not built */
    char why[256];    /* it does not load; empty: it does */
};
/* Of every MPI that the program knows; returns their number. Strings in *a. */
size_t cluster_list_mpis(struct cluster_mpi *list, size_t cap, struct arena *a);

struct cluster_place { /* where a rank runs */
    char host[64];
    int32_t cpus; /* of that machine, whichever the rank is bound to */
};
struct cluster_health {
    struct cluster_place *places; /* [size of the job], in the caller's arena */
    int peer;                     /* the rank that rank 0 exchanged messages with: the last */
    double latency_s;             /* of a message of 8 bytes, one way */
    double bytes_per_s;           /* of a long message, one way: 8 MiB, less on a slow link */
    double sum_s;                 /* of 1 MiB over all ranks */
};
/* Of every rank at once; the same answer for all but the times, which are rank 0's. A sum that came
 * out wrong is an error. */
int cluster_examine(cluster_t *c, struct cluster_health *h, struct arena *a, struct error *e);

/* ------------------------------------------------------------------ when (cluster_spans.c) */

struct cluster_span {
    const char *name, *group; /* literals, and a group's name; group NULL: work of this rank */
    enum { CLUSTER_SPAN_WORK, CLUSTER_SPAN_CALL, CLUSTER_SPAN_BACKGROUND } kind;
    double begin_s, end_s; /* since the recording began */
};
/* From here on spans go into spans[cap], which must stay until the next call; NULL: no more. */
void cluster_record(cluster_t *c, struct cluster_span *spans, size_t cap);
/* How many were kept so far, and how many found no place. */
size_t cluster_recorded(cluster_t *c, size_t *lost);
/* Work between begin and end, where a recording is under way; c may be NULL. */
double cluster_span_begin(const cluster_t *c);
void cluster_span_end(cluster_t *c, double begin_s, const char *name);

/* ------------------------------------------------------------------ traffic */

/* Bytes sent by this rank since the job began, seconds that calls of this rank waited, and of these
 * the seconds that its own thread stood still, not the one of the background; in those it used as much
 * of a CPU, asking whether it has to wait on. And what the background's thread had to do without. */
struct cluster_traffic {
    uint64_t bytes, messages;
    double wait_s, blocked_s, blocked_cpu_s, starved_s;
};
struct cluster_traffic cluster_traffic(const cluster_t *c);

/* What the machine of this process is called: by Slurm, or by itself. Of letters, digits, '_', '-' and
 * '.' (launch/cluster_watch.c). */
#define CLUSTER_NODE_MAX 64
void cluster_node_name(char node[CLUSTER_NODE_MAX]);

/* ------------------------------------------------------------------ a rank under a launcher
 * (launch/cluster_watch.c). What a rank says of itself, and what it is told. Every function but
 * _open accepts NULL, which stands for a rank that nobody watches. */

typedef struct cluster_watch cluster_watch_t;
/* Connects to the launcher that the environment names, before the ranks have joined; *out is NULL
 * where it names none. A launcher that cannot be reached is an error. */
int cluster_watch_open(cluster_watch_t **out, struct error *e);
/* The job that has been joined: from now on it is said whom this rank waits for. */
void cluster_watch_join(cluster_watch_t *w, cluster_t *c);
/* Says farewell with the exit code of this process; before the job is closed. */
void cluster_watch_close(cluster_watch_t *w, int exit_code);
/* Which start of the ranks this is, from 1; 0: nobody watches. */
int cluster_watch_attempt(const cluster_watch_t *w);
/* What this rank does from here on, "forward"; a word that stays (letters and '+' for a space). */
void cluster_watch_at(cluster_watch_t *w, const char *word);
/* Steps that are done, and what this rank's own work of the last one took: of a CPU, where others have
 * that, too. */
void cluster_watch_step(cluster_watch_t *w, int64_t step, double busy_s);
/* Whether the state is to be saved and the run to end: it was told so, or the launcher is gone. */
bool cluster_watch_stops(const cluster_watch_t *w);
/* Results of that rank (-1: of one of several) were wrong at a step; the state of `good` is not. */
void cluster_watch_corrupt(cluster_watch_t *w, int rank, int64_t step, int64_t good);

/* ------------------------------------------------------------------ the launcher itself
 * (launch/cluster_supervise.c): starts the ranks, watches them, and starts them again. */

struct cluster_attempt {      /* one start of all ranks */
    int number, ranks;        /* the first is 1 */
    const char *const *nodes; /* [n_nodes] to run on; none: this machine */
    size_t n_nodes;
};
enum { CLUSTER_RANKS_MAX = 1 << 16 };
struct cluster_supervisor {
    int ranks;
    const char *host;   /* this machine's address for the ranks; NULL: 127.0.0.1 */
    const char *events; /* path of the run's events.jsonl */
    bool is_over; /* the run has nothing left to do: nothing is written unless it does a step */
    const struct cluster_fault *faults;
    size_t n_faults;
    double silence_s;  /* a rank that sends nothing for so long is frozen */
    double hang_s;     /* no operation may take longer, nor 8 times as long as any before */
    double start_s;    /* until the first step */
    double slow_times; /* its own time of a step beside the others': a straggler; 0: nobody is */
    int restarts;      /* without progress, before it gives up */
    const char *const *nodes; /* [n_nodes] that may be used, spares behind the others; none: here */
    size_t n_nodes, n_spares;
    /* The command line that starts an attempt, NULL behind its end, in *a. */
    int (*command)(void *ctx, const struct cluster_attempt *at, struct arena *a, const char ***argv,
                   struct error *e);
    /* Whether the run can be on that many ranks; NULL: on no other number. */
    bool (*can_have)(void *ctx, int ranks);
    /* Before each attempt, whose number it gets: waits until nobody writes to the run any more. NULL:
     * nobody does. */
    int (*settle)(void *ctx, int attempt, struct error *e);
    void *ctx;
};
/* Until the run has ended: 0; or ERROR_AGAIN where it was told to stop and the state is saved,
 * ERROR_NO_REQUEUE after restarts without progress, or whatever error the ranks ended with; ERROR_FAILED
 * where all of them did so before the first one knew where the run goes on. SIGTERM,
 * SIGINT, SIGHUP and SIGUSR1 are ignored from then on. */
int cluster_supervise(const struct cluster_supervisor *s, struct error *e);

/* An allocation of Slurm that this process is in (launch/cluster_slurm.c). */
struct cluster_allocation {
    const char *job;    /* its number; NULL: it is in none */
    const char **nodes; /* [n_nodes] */
    size_t n_nodes;
    int tasks_per_node; /* as was asked for; 1 where that was not said */
};
/* 1: there is one; 0: there is none; negative: its list of nodes cannot be read. In *a. */
int cluster_find_allocation(struct cluster_allocation *out, struct arena *a, struct error *e);
/* "n[1-3,07],login" as names, in *a. */
int cluster_expand_nodes(const char *list, struct arena *a, const char ***names, size_t *n,
                         struct error *e);

/* Faults for tests of all this (launch/cluster_fault.c), "kill:rank=1@step=5,hang:rank=0@step=9". */
enum cluster_fault_kind {
    CLUSTER_FAULT_KILL,   /* the process is gone */
    CLUSTER_FAULT_HANG,   /* it does nothing any more, and lives */
    CLUSTER_FAULT_FREEZE, /* it stands still, as a stopped process does */
    CLUSTER_FAULT_SLOW,   /* from then on each of its steps takes half a second more */
    CLUSTER_FAULT_FLIP,   /* from then on one bit of each of its gradients is wrong */
    CLUSTER_FAULTS
};
struct cluster_fault {
    enum cluster_fault_kind kind;
    int rank;
    int64_t step;
};
#define CLUSTER_FAULTS_MAX 64
/* Negative: `list` is none; it says where, and how one is written. *n at most CLUSTER_FAULTS_MAX. */
int cluster_faults_parse(const char *list, struct cluster_fault *out, size_t *n, struct error *e);
/* Does to this rank what it was told to do in that step, each once; may not return. */
void cluster_watch_inject(cluster_watch_t *w, int64_t step);
/* Whether its gradients are to be falsified. */
bool cluster_watch_flips(const cluster_watch_t *w);

#endif
