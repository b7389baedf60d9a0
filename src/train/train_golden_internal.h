/* train_golden_internal.h: a golden folder in memory, and how far a computation is from it. */
#ifndef COLOSSUS_TRAIN_GOLDEN_INTERNAL_H
#define COLOSSUS_TRAIN_GOLDEN_INTERNAL_H

#include "train/train_internal.h"

struct golden {
    const char *dir;
    struct arena arena;
    struct train_config config; /* of model, optimiser, layout and batch */
    struct train_ranks ranks;
    struct param_table params;
    struct safetensors batch, expected;
    int64_t steps, B, T;
    uint32_t *tokens;           /* [steps, B, T + 1] */
    uint32_t *inputs, *targets; /* [B, T] scratch, of a rank its rows */
    struct pool *pool;
};

/* Numbers of a folder that are compared. */
enum golden_quantity {
    GOLDEN_LOGITS_LARGEST, /* largest error over largest logit */
    GOLDEN_LOGITS,         /* relative L2 */
    GOLDEN_CE,             /* losses of the first batch: relative */
    GOLDEN_AUX,
    GOLDEN_Z,
    GOLDEN_LOSS,
    GOLDEN_WORST_GRADIENT, /* relative L2 of one tensor */
    GOLDEN_GRADIENTS,      /* relative L2 of all gradients as one vector */
    GOLDEN_CURVE,          /* worst of the steps: relative */
    GOLDEN_NORMS,          /* the same of the gradient norm */
    GOLDEN_TRAINED,        /* weights after the last step, worst tensor: relative L2 */
    GOLDEN_QUANTITIES
};
struct golden_errors {
    double of[GOLDEN_QUANTITIES]; /* NAN fails every bound */
    double *gradient;             /* [params.n_rows] relative L2 of each tensor */
    bool *vanishes; /* [params.n_rows] the expected gradient is nothing beside the others */
    double *load;   /* [L, E] slots routed to each expert in the first batch; zeros when dense */
    const char *worst_trained;
    int greedy_same, greedy_total;
};

/* ranks: laid out without any of them being there; 0: the cluster's. */
int golden_open(struct golden *g, const char *dir, const struct train_golden_options *o, int ranks,
                struct error *e);
void golden_close(struct golden *g);
/* Computes everything and compares. disturb > 0: the weights are multiplied by 1 + disturb * x
 * first, x uniform in [-1, 1) from the seed. */
struct golden_run {
    enum compute_dtype dtype;
    enum compute_backend backend;
    double disturb;
    uint64_t seed;
};
int golden_measure(struct golden *g, const struct golden_run *r, struct golden_errors *out,
                   const char **backend_name, struct error *e);

#endif
