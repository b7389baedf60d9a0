/* plan_local_internal.h: the files of plan_local.c and plan_local_run.c among themselves. */
#ifndef COLOSSUS_PLAN_LOCAL_INTERNAL_H
#define COLOSSUS_PLAN_LOCAL_INTERNAL_H

#include "compute/compute.h"
#include "plan/plan.h"

/* What of a run of `colossus train` decides its step. */
struct plan_local_run {
    struct model_config model;
    int64_t seq_len, micro_batch, global_batch, threads;
    bool bf16, muon;
    double muon_steps;
    double measured_s; /* median of the steps after the first three */
    size_t n_steps;    /* that it is the median of */
};

struct plan_local_step {
    double step_s, products_s, attention_s, vector_s, loss_s, optimizer_s;
};
void plan_local_step(const struct compute_machine *m, const struct plan_local_run *run,
                     struct plan_local_step *out);
/* The measurement in the number format of a run, from the file beside `path` (local.yaml). */
int plan_local_read(const char *path, bool bf16, struct compute_machine *out, struct error *e);

#endif
