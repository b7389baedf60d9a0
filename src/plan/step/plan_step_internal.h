/* plan_step_internal.h: what the two files of the step's model share: the work of one microbatch
 * on one accelerator, by kind of layer. */
#ifndef COLOSSUS_PLAN_STEP_INTERNAL_H
#define COLOSSUS_PLAN_STEP_INTERNAL_H

#include "plan/step/plan_constants_internal.h"

enum plan_family { PLAN_AMPERE, PLAN_HOPPER, PLAN_BLACKWELL }; /* by precisions offered */

struct plan_work { /* everything a layer's time depends on */
    const struct model_config *m;
    const struct machine_accelerator *a;
    const struct machine_cluster *c;
    const struct plan_layout *l;
    struct plan_place place;
    int64_t seq_len;
    int stack, family;
    double year;
    double microbatches;           /* of a replica, of several kinds their mean */
    double tokens;                 /* of a microbatch in one cp shard; the tp ranks share them */
    double own_tokens;             /* tokens / tp: what sequence parallelism leaves to one rank */
    double norm_tokens;            /* own_tokens, or tokens before sequence parallelism */
    double matrix_rate;            /* FLOP/s of weight products */
    double bf16_rate;              /* of attention, head and router */
    double vector_rate;            /* bytes/s */
    double cast_bytes;             /* per element of a product's input */
    double young_dense, young_moe; /* factors of the software's age, 1 when grown up */
};

/* Seconds of one block on one accelerator for one microbatch. Communication is the exposed part;
 * hidden is what runs under compute. */
struct plan_layer_time {
    double matmul_f, matmul_b, attention_f, attention_b, vector_f, vector_b;
    double tp_f, tp_b, ep_f, ep_b, cp_f, cp_b, hidden;
    double ep_woven; /* of experts, one pass, still to be laid under another microbatch */
    double kernels;  /* started forward */
};
/* A transformer layer is attention and then FFN or experts; a hybrid's blocks are one each. */
enum plan_block {
    PLAN_BLOCK_ATTENTION,
    PLAN_BLOCK_FFN,
    PLAN_BLOCK_EXPERTS,
    PLAN_BLOCK_MAMBA,
    PLAN_N_BLOCKS
};

void plan_work_init(struct plan_work *w, const struct model_config *m,
                    const struct machine_accelerator *a, const struct machine_cluster *c,
                    const struct plan_layout *l, const struct plan_batch *b,
                    const struct plan_software *s);
void plan_block_time(const struct plan_work *w, int block, struct plan_layer_time *t);
/* Lays ep_woven of a sum of blocks under their compute and counts what shows. */
void plan_weave_experts(const struct plan_work *w, struct plan_layer_time *t);
/* Output projection and loss, and the embedding. */
void plan_head_time(const struct plan_work *w, struct plan_layer_time *t);
double plan_work_width(
    const struct plan_work *w); /* bytes of an activation, weight or gradient sent */
double plan_work_peak(const struct machine_accelerator *a, int precision); /* never 0 */

#endif
