/* plan_search_internal.h: what the files of the search share: its bounds (for tests, too), and the
 * search for the best run beside that for the best step. */
#ifndef COLOSSUS_PLAN_SEARCH_INTERNAL_H
#define COLOSSUS_PLAN_SEARCH_INTERNAL_H

#include "plan/run/plan_run_internal.h"

/* What a step draws and costs, so that energy and money of a layout are two products each:
 * joules = low_w · step_s + more_w · seconds that compute. Whole cluster: accelerators that a layout
 * leaves idle are paid for and draw their idle watts. */
struct plan_search_rates {
    double low_w, more_w;
    double usd_per_s, usd_per_j;
};
void plan_search_rates(const struct machine_cluster *c, const struct plan_layout *l,
                       struct plan_search_rates *out);
void plan_search_price(const struct plan_search_rates *r, struct plan_candidate *out);

/* Seconds no layout with these tp, cp, ep, etp, microbatch and precision can go below, per pool:
 * one microbatch through all blocks of the model, forward and backward, without output head,
 * recomputation, messages and data parallelism. */
struct plan_search_bound {
    double work_s[MACHINE_MAX_POOLS]; /* forward and backward, exposed communication with it */
    double forward_compute_s[MACHINE_MAX_POOLS];
    double compute_s[MACHINE_MAX_POOLS]; /* of work_s, computing */
    double counts[MACHINE_MAX_POOLS];    /* accelerators of the pool */
    const struct plan_constant_values *k;
    int64_t n_pools;
    bool dualpipe;
    double again;  /* share of the forward pass that full recomputation repeats */
    double jitter; /* a step over what it would take if all ranks were alike */
};
void plan_search_bound_init(const struct plan_job *job, struct plan_search_bound *out);
/* The same bound for another number of stages and replicas. */
void plan_search_bound_ranks(struct plan_search_bound *bound, const struct plan_layout *l);
/* Never above plan_step's step_s (and, in busy_s, the seconds of it that compute). */
double plan_search_bound_step(const struct plan_search_bound *bound, const struct plan_layout *l,
                              const struct plan_batch *b, double *busy_s);

/* The search, where failures limit what more accelerators are good for: again on fewer of them, and
 * what makes the best run is kept (plan_search_run.c). Layout and part of *chosen are set. */
int plan_search_run(struct plan_request *chosen, struct arena *a, struct plan_search *out,
                    struct error *e);

#endif
