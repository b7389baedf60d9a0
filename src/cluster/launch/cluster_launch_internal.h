/* cluster_launch_internal.h: what the files of the launcher share: the lines that ranks and launcher
 * send each other, what the launcher knows of each rank, and how it judges. */
#ifndef COLOSSUS_CLUSTER_LAUNCH_INTERNAL_H
#define COLOSSUS_CLUSTER_LAUNCH_INTERNAL_H

#include "cluster/cluster_internal.h"

#include <sys/types.h>

#define LAUNCH_VARIABLE        "COLOSSUS_LAUNCHER" /* "ADDRESS PORT KEY ATTEMPT", of the ranks */
#define LAUNCH_FAULTS_VARIABLE "COLOSSUS_INJECT"
#define LAUNCH_BEAT_S          0.1 /* between two lines of a rank */
#define LAUNCH_ALIVE_S         1.0 /* between two lines of the launcher */
/* A rank without a launcher that has done nothing for so long, and for so many times its own part of
 * a step, waits for one that is gone: it leaves. */
#define LAUNCH_STUCK_S     60.0
#define LAUNCH_STUCK_TIMES 20
#define LAUNCH_ALONE_S     60.0 /* a rank that has heard nothing for so long is alone */

/* ------------------------------------------------------------------ cluster_note.c */

#define LAUNCH_LINE_MAX 192 /* bytes of a line, its end included */
enum { LAUNCH_WORD_MAX = 32 };

enum launch_note_kind {
    NOTE_HELLO,   /* the first line of a rank */
    NOTE_BEAT,    /* ten times a second: where it is */
    NOTE_FAULT,   /* it does now what --inject told it to */
    NOTE_CORRUPT, /* results of a rank are wrong; the state of `good` is not */
    NOTE_BYE,     /* it ends in good order, with that exit code */
    NOTE_ALIVE,   /* of the launcher, and all below */
    NOTE_STOP,    /* save, and end with 75 */
    NOTE_LEAVE,   /* end at once: the job goes on without you */
    NOTE_KINDS
};
struct launch_note {
    enum launch_note_kind kind;
    char key[17]; /* HELLO: proves that the rank is of this launcher */
    int attempt, rank, size;
    int64_t pid;
    char node[CLUSTER_NODE_MAX];
    int64_t step;               /* BEAT: done, -1: none yet; FAULT, CORRUPT: at which */
    int64_t good;               /* CORRUPT */
    uint64_t ticks;             /* BEAT: operations that the rank has begun */
    double idle_s;              /* BEAT: since the last of them */
    double busy_s;              /* BEAT: of the last step, without waiting for others */
    int waits;                  /* BEAT: the rank that it waits for; -1: none */
    int code;                   /* BYE */
    char word[LAUNCH_WORD_MAX]; /* BEAT: the operation; FAULT: its kind */
};
/* The line with its end; returns its length. Words that do not fit the form are a CHECK. */
size_t launch_note_print(const struct launch_note *n, char line[LAUNCH_LINE_MAX]);
/* A line of `size` bytes without its end. 0, or negative: it is none of these. */
int launch_note_parse(const char *line, size_t size, struct launch_note *out);

/* Bytes of a connection, cut into lines. */
struct launch_lines {
    char data[4 * LAUNCH_LINE_MAX];
    size_t size;
};
/* The next whole line as a note: 1; 0: none is there yet; negative: what came is no such line. */
int launch_lines_next(struct launch_lines *l, struct launch_note *out);

/* ------------------------------------------------------------------ cluster_verdict.c */

enum { LAUNCH_BUSY = 5 }; /* steps in a row that make a straggler */

/* What the launcher knows of a rank. */
struct launch_rank {
    bool here; /* it has said hello */
    bool gone; /* its connection has ended */
    bool bye;  /* it had said so before */
    int code;  /* of its farewell */
    double since_s, heard_s;
    double gone_s; /* its connection's end or its farewell, as the kernel saw them come */
    int64_t pid, step;
    char node[CLUSTER_NODE_MAX]; /* before it has come: where it is to be; "": not known */
    uint64_t ticks;
    double idle_s; /* as it said itself, at heard_s */
    int waits;
    char word[LAUNCH_WORD_MAX];
    double busy_s[LAUNCH_BUSY]; /* of its last steps, in a ring */
    int64_t n_busy;
};
struct launch_limits {
    double silence_s;  /* no line for so long: frozen */
    double hang_s;     /* at least so long without progress: hanging */
    double hang_times; /* and so many times the longest that an operation ever took */
    double start_s;    /* until the first step */
    double slow_times; /* the median of all ranks' own time of a step: a straggler; 0: nobody is */
};
enum launch_why {
    LAUNCH_WELL,
    LAUNCH_DEATH,
    LAUNCH_FROZEN,
    LAUNCH_HANG,
    LAUNCH_SLOW,
    LAUNCH_CORRUPT,
    LAUNCH_FAILED, /* it said so itself, by an exit code */
    LAUNCH_START   /* it never came */
};
const char *launch_why_text(enum launch_why w); /* "death" */
struct launch_verdict {
    enum launch_why why;
    int rank;       /* -1: nobody can be named */
    double after_s; /* without progress, or silent */
};
/* Longest that a finished operation of any rank took; updated with each beat. */
struct launch_history {
    double longest_s, started_s; /* of a whole start, up to the first step; 0: none yet */
};
/* ranks [n] at the time now_s. `stepped`: a step of this attempt is done. */
struct launch_verdict launch_judge(const struct launch_rank *ranks, int n,
                                   const struct launch_limits *l, const struct launch_history *h,
                                   bool stepped, double now_s);
/* Takes a beat into what is known, and into the history. */
void launch_take_beat(struct launch_rank *r, const struct launch_note *b, struct launch_history *h,
                      double now_s);

/* ------------------------------------------------------------------ cluster_fault.c */

const char *launch_fault_word(enum cluster_fault_kind k);
/* As cluster_faults_parse reads them back, behind what *out has. */
void launch_faults_print(const struct cluster_fault *f, size_t n, struct str *out);

#endif
