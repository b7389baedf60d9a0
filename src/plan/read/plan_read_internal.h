/* plan_read_internal.h: what the readers of plans and models share. */
#ifndef COLOSSUS_PLAN_READ_INTERNAL_H
#define COLOSSUS_PLAN_READ_INTERNAL_H

#include "plan/plan.h"

extern const struct section plan_request_section, plan_batch_section, plan_layout_section,
    plan_software_section;

/* What a model's file may say beside the model: a run file has a batch and tokens. */
struct plan_model_extra {
    struct plan_batch batch; /* 0: not said */
    double tokens;           /* 0: not said */
    const char *note;        /* an assumption that had to be made, or NULL */
    struct plan_run_beside { /* of a run file: what its step depends on beside these */
        int64_t micro_batch, threads;
        int64_t dp, tp, pp, ep; /* ranks, 1 where nothing is said */
        bool parts;             /* each updates its part of the weights only */
        int64_t muon_steps;     /* 0: AdamW */
        int32_t precision;      /* enum machine_precision; -1: auto */
        int32_t recompute;      /* enum plan_recompute */
        const char *folder;     /* of the run; "" where the file's name is not known */
    } run;
};
enum { PLAN_N_RUN_SECTIONS = 12 };
extern const char *const plan_run_sections[PLAN_N_RUN_SECTIONS]; /* what a run file holds */
/* The batch of a run file: its own defaults where it says nothing. */
struct plan_run_batch {
    int64_t seq_len, micro_batch, global_batch; /* global_batch 0: micro_batch */
};
int plan_read_run_batch(const struct yaml_reader *r, const struct yaml_node *root,
                        struct plan_run_batch *out);
int plan_read_model(const struct yaml_reader *r, const struct yaml_node *node,
                    struct model_config *out, struct plan_model_extra *extra);
/* Is this map a run file of `colossus train`, or its model section? */
bool plan_is_run_file(const struct yaml_node *root);
/* A whole run file: its model, batch and tokens. */
int plan_read_run_file(const struct yaml_reader *r, const struct yaml_node *root,
                       struct model_config *out, struct plan_model_extra *extra);

/* The rows' own readers, named in plan_rows.c: a figure or a word; a list of modules. */
int plan_read_tokens(const struct yaml_reader *r, const struct option *f,
                     const struct yaml_node *node, void *target);

int plan_read_modules(const struct yaml_reader *r, const struct option *f,
                      const struct yaml_node *node, void *target);

/* A whole plan, or a run file as one. */
int plan_read_root(const struct yaml_reader *r, const struct yaml_node *root,
                   struct plan_request *out);

/* What follows from machine and software together: who trains on one machine, with what its operations
 * take (plan_read_local.c). After reading, and after each change. */
int plan_settle(struct plan_request *r, struct arena *a, struct error *e);
/* What the run in this folder has measured, into r, if it is one of these settings; the vocabulary, too,
 * where it is assumed. Returns what must be said beside, or NULL. */
const char *plan_read_measured(const char *folder, bool vocab_assumed, struct plan_request *r,
                               struct arena *a);
struct plan_local_run; /* plan/step/plan_local_internal.h */
/* Reads run.yaml and metrics.jsonl of a run folder of `colossus train`. */
int plan_local_load(const char *folder, struct plan_local_run *out, struct error *e);

/* What a change that forgets the plan's layout leaves of it: what options ask for (plan_override.c),
 * and the precision where every accelerator computes in it. */
struct plan_layout plan_layout_asked(const struct plan_request *r);

#endif
