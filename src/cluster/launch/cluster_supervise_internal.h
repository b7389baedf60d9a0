/* cluster_supervise_internal.h: what the files of the supervisor share. */
#ifndef COLOSSUS_CLUSTER_SUPERVISE_INTERNAL_H
#define COLOSSUS_CLUSTER_SUPERVISE_INTERNAL_H

#include "cluster/launch/cluster_launch_internal.h"

enum { LAUNCH_STEP_TIMES = 1 << 12, LAUNCH_OLD_MAX = 64 };

/* The clock of work (cluster_account.c). */
struct launch_account {
    bool begun;                     /* a step is known that an attempt went on from */
    int64_t first, kept;            /* the earliest step known, and from which on at_s is */
    int64_t step;                   /* of the state that there is now */
    double work_s;                  /* that its steps took, behind `first` */
    double done_s;                  /* when `step` was done, or gone on from */
    double again_s;                 /* work that was lost and has not been told of */
    double at_s[LAUNCH_STEP_TIMES]; /* work_s as step i % LAUNCH_STEP_TIMES was done last */
};

struct launch_link { /* a connection */
    int fd;
    int rank; /* -1: it has not said who it is */
    double since_s;
    struct launch_lines lines;
};

struct supervisor {
    const struct cluster_supervisor *o;
    int listen_fd, signal_fd, port;
    char key[17];
    struct launch_limits limits;
    struct launch_history history;
    struct cluster_fault faults[CLUSTER_FAULTS_MAX]; /* not done yet */
    size_t n_faults;
    bool *excluded; /* [n_nodes] */
    size_t doubted; /* the node that was excluded last, for a death; n_nodes: none since a step */

    /* The attempt. */
    int attempt, n; /* its number, and how many ranks it has */
    struct launch_rank *ranks;
    struct launch_link *links; /* [n_links], more than ranks while strangers try */
    size_t n_links;
    pid_t child; /* the group of processes; 0: it has ended */
    int child_status;
    double child_s;  /* when it ended */
    char shared[32]; /* folder of the files that Open MPI's ranks share in memory; "": none */
    bool stopping;   /* the ranks were told to save and to end */
    int stop_signal; /* that came here; 0: none */
    double signal_s; /* when it first did */
    bool stop_now;   /* it came again: the ranks are not waited for */
    int64_t resumed; /* step that the attempt goes on from; -1: not known yet */
    bool stepped;
    int corrupt_rank; /* -2: no corruption was told; -1: of one that cannot be named */
    int64_t corrupt_step, good_step;

    /* Across attempts. */
    struct launch_old {
        pid_t pid;
        double since_s;
        bool told;         /* by SIGTERM; once, since srun answers each with a line */
    } old[LAUNCH_OLD_MAX]; /* children that were left behind */
    size_t n_old;
    int fruitless; /* restarts in a row without progress */
    int restarts;
    bool fruitful;                /* some step was done */
    int64_t last_step, best_step; /* of any attempt */
    double progress_s;            /* when a step last ended, or the first attempt went on */
    struct launch_account account;
    struct launch_verdict lost; /* what the last attempt ended with */
    double lost_s, attempt_s, loop_s;
    int slow_kept; /* a straggler that is there again is lived with; -1: none */
    struct str line;
    struct json_writer json;
    int events_fd;
    bool holds; /* lines of a run that is over are kept back until it does a step, if it does */
    struct str held; /* these lines */
};

/* ------------------------------------------------------------------ cluster_account.c */

/* An attempt goes on from the state of that step. */
void launch_account_resume(struct launch_account *a, int64_t step, double now_s);
/* It has done that step, a later one than any that it has told of. */
void launch_account_step(struct launch_account *a, int64_t step, double now_s);

/* ------------------------------------------------------------------ cluster_attempt.c */

/* Listens, and makes the key. */
int launch_listen(struct supervisor *s, struct error *e);
/* Starts attempt s->attempt of s->n ranks on nodes. */
int launch_start(struct supervisor *s, const char *const *nodes, size_t n_nodes, struct error *e);
/* Takes the ranks of the attempt down without waiting for them. */
void launch_leave(struct supervisor *s);
/* Collects children that have ended, and kills those left behind that have not after a while. */
void launch_reap(struct supervisor *s);
/* Files of the attempt in memory that its processes have left. */
void launch_remove_shared(struct supervisor *s);
void launch_accept(struct supervisor *s);
void launch_drop(struct supervisor *s, size_t link);
void launch_tell(struct supervisor *s, enum launch_note_kind kind);
/* When the end of a connection has come (`end`: recv has answered 0), or else the last bytes of it, by
 * the kernel's clock; the time now where it does not say. A turn of the loop may see several ends at
 * once, and what counts is which came first. */
double launch_came_s(int fd, bool end);

/* ------------------------------------------------------------------ cluster_report.c
 * Lines of events.jsonl, beside those of rank 0. Each has "by": "launch". */
int launch_report_open(struct supervisor *s, struct error *e);
struct json_writer *launch_event_begin(struct supervisor *s, const char *event);
void launch_event_end(struct supervisor *s);
/* Writes the lines that were kept back, and from here on every line at once. */
void launch_release_events(struct supervisor *s);
void launch_report_lost(struct supervisor *s, const struct launch_verdict *v, const char *action);
/* "rank 1 on node2 hangs in 'forward' of step 6: 4.1 s without progress, ranks 0, 2 wait for it" */
void launch_verdict_text(const struct supervisor *s, const struct launch_verdict *v,
                         struct str *out);

#endif
