/* plan_local_internal.h: this machine, among the files that measure, plan and validate it: what
 * bench-machine wrote (plan_local.c), and what a step of `colossus train` is made of
 * (plan_local_price.c). */
#ifndef COLOSSUS_PLAN_LOCAL_INTERNAL_H
#define COLOSSUS_PLAN_LOCAL_INTERNAL_H

#include "compute/compute.h"
#include "plan/step/plan_step_internal.h"

/* What of a run of `colossus train` decides its step. */
struct plan_local_run {
    struct model_config model;
    int64_t seq_len, micro_batch, global_batch, threads;
    bool bf16;
    int64_t muon_steps; /* iterations; 0: AdamW */
    int recompute;      /* enum model_recompute */
    double measured_s;  /* median of the steps after the first three */
    size_t n_steps;     /* that it is the median of; 0: none yet */
    /* Of a run on several ranks of this machine (0 counts as 1), which all of its threads share. */
    int64_t dp, tp, pp, ep;
    bool parts;         /* each rank updates its part only (zero 1 and 2) */
    double sent_bytes;  /* that rank 0 sends in a step, as the run says */
    double bytes_per_s; /* of a message between two of them, as the run has measured */
};

struct plan_local_step {
    double step_s, products_s, attention_s, vector_s, loss_s, optimizer_s;
    double messages_s, bubble_s; /* of several ranks */
    double again_s;              /* of vector_s of a microbatch, what is computed again */
    double forward_s, weight_s;  /* of a microbatch; products for the gradients of weights */
};
/* Of a run on several ranks the sums over a step are of all its ranks' CPU time, as parts of the step. */
void plan_local_step(const struct compute_machine *m, const struct plan_local_run *run,
                     struct plan_local_step *out);
/* What of a model one process works on: the whole, or a rank's part of it. */
struct plan_local_part {
    struct model_config model; /* its heads, hidden units, layers; n_experts: those that are here */
    double experts;            /* that its router knows */
    bool head;
    double update, update_experts; /* share of what it holds that it updates */
    double rows;                   /* share of a microbatch's rows whose residual it has */
};
/* One microbatch and one update of a process that has all threads of the machine. */
void plan_local_one(const struct compute_machine *m, const struct plan_local_run *run,
                    const struct plan_local_part *part, struct plan_local_step *out);
/* plan_local_ranks.c */
void plan_local_ranks(const struct compute_machine *m, const struct plan_local_run *run,
                      struct plan_local_step *out);
/* Times of the operations of one machine, by number format. */
struct plan_local {
    const char *from;                  /* the accelerator's `operations` */
    struct compute_machine machine[2]; /* by enum compute_dtype; threads 0: not known */
    bool estimated;                    /* from the accelerator's figures, and not measured */
};
/* What bench-machine wrote into the file of times. */
int plan_local_read(const char *name, struct plan_local *out, struct error *e);
/* That file's name, beside local.yaml at `path`. In *a. */
const char *plan_local_times(const char *path, struct arena *a);
/* Whether there are times in this number format. */
int plan_local_check(const struct plan_local *l, bool bf16, struct error *e);
/* Of an accelerator whose `operations` are given. In *a. */
int plan_local_of(const struct machine_accelerator *x, struct arena *a,
                  const struct plan_local **out, struct error *e);
/* The step of stack colossus: its parts, times and microbatches. */
void plan_local_price(const struct plan_job *job, struct plan_step *out);
/* What `colossus train` allocates, as its --plan prints it. */
void plan_local_memory(const struct plan_job *job, struct plan_memory *out);

#endif
