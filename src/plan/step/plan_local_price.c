/* plan_local_price.c: a step of `colossus train` as a plan has it: stack colossus, on one machine.
 *
 * There is one model of such a step, the sum of its operations (plan_local.c), for plans, searches
 * and `plan validate --local` alike. Where bench-machine has measured the machine, its times are
 * taken. Of a machine that is only described (`operations: estimated`, the laptop of the presets)
 * they follow from what it says: products at a share of its best one, everything else by the bytes
 * that it moves, as counted from the kernels; good to a factor of two.
 *
 * Memory is what the program itself allocates (model_plan_memory, as `train --plan` prints it). */
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ where the times are from */

/* Products of small models beside the best one: 0.4 to 0.9 on two AMX cores and on AVX2. */
#define PRODUCT_SHARE 0.6
/* Attention beside products: its tiles are small and half masked. */
#define ATTENTION_SHARE 0.35
/* Of the bandwidth, by kernels over several arrays. */
#define VECTOR_SHARE 0.7

/* Arrays that one element of an operation moves through memory, in activations and in fp32. */
static const struct {
    double activations, floats;
} MOVED[COMPUTE_N_OPS] = {
    [COMPUTE_OP_SEAM_F] = {2, 2}, [COMPUTE_OP_SEAM_B] = {3, 3},    [COMPUTE_OP_GLU_F] = {3, 0},
    [COMPUTE_OP_GLU_B] = {5, 0},  [COMPUTE_OP_ROPE] = {2, 0},      [COMPUTE_OP_ROUTER] = {0.5, 0.5},
    [COMPUTE_OP_GATHER] = {2, 0}, [COMPUTE_OP_COMBINE] = {1.5, 0}, [COMPUTE_OP_LOSS] = {2, 4},
    [COMPUTE_OP_ADAMW] = {0, 7},  [COMPUTE_OP_REFRESH] = {1, 1},   [COMPUTE_OP_SQUARES] = {0, 1},
};

static void estimate(const struct machine_accelerator *x, enum compute_dtype dtype,
                     struct compute_machine *out)
{
    const int precision =
        machine_offered_precision(x, dtype == COMPUTE_BF16 ? MACHINE_BF16 : MACHINE_FP32);
    double best = x->ceiling_flops[precision].mid > 0 ? x->ceiling_flops[precision].mid
                                                      : x->peak_flops[precision].mid;
    double rate = PRODUCT_SHARE * best, bytes_per_s = VECTOR_SHARE * x->hbm_bytes_per_s.mid;
    memset(out, 0, sizeof *out);
    if (!(best > 0)) return;
    out->dtype = dtype;
    out->threads = 1;
    out->peak_flops = out->linear_flops = best;
    out->copy_bytes_per_s = x->hbm_bytes_per_s.mid;
    out->n_products = 1;
    out->products[0] = (struct compute_machine_product){1, 1, 1, 1, {2 / rate, 2 / rate, 2 / rate}};
    for (int i = 0; i < COMPUTE_N_OPS; i++)
        out->op_s[i] = (MOVED[i].activations * (double)compute_dtype_size(dtype) +
                        MOVED[i].floats * sizeof(float)) /
                       bytes_per_s;
    out->op_s[COMPUTE_OP_NEWTON] = 1 / rate;
    /* 4 FLOP forward and 10 backward for each of a query's keys, of which half are seen */
    double forward = 2 / (ATTENTION_SHARE * best), backward = 5 / (ATTENTION_SHARE * best);
    out->op_s[COMPUTE_OP_ATTENTION_F_256] = out->op_s[COMPUTE_OP_ATTENTION_F_1024] = forward;
    out->op_s[COMPUTE_OP_ATTENTION_B_256] = out->op_s[COMPUTE_OP_ATTENTION_B_1024] = backward;
}

int plan_local_of(const struct machine_accelerator *x, struct arena *a,
                  const struct plan_local **out, struct error *e)
{
    struct plan_local *l = arena_alloc(a, sizeof *l);
    *l = (struct plan_local){0};
    if (strcmp(x->operations, MACHINE_ESTIMATED) == 0) {
        l->estimated = true;
        estimate(x, COMPUTE_F32, &l->machine[COMPUTE_F32]);
        estimate(x, COMPUTE_BF16, &l->machine[COMPUTE_BF16]);
    } else {
        TRY(plan_local_read(x->operations, l, e));
    }
    l->from = x->operations;
    *out = l;
    return 0;
}

/* ------------------------------------------------------------------ a step of a plan */

static bool is_bf16(const struct plan_job *job)
{
    return job->layout->precision != MACHINE_FP32;
}

void plan_local_price(const struct plan_job *job, struct plan_step *out)
{
    const struct plan_local *l = job->software->local;
    const struct plan_local_run run = {.model = *job->model,
                                       .seq_len = job->batch->seq_len,
                                       .micro_batch = MAX(job->layout->micro_batch, 1),
                                       .global_batch = job->batch->global_batch,
                                       .muon_steps = job->software->muon_steps,
                                       .recompute = MAX(job->layout->recompute, 0)};
    struct plan_local_step s = {0};
    CHECK_MSG(l && l->machine[is_bf16(job)].threads > 0, "stack colossus without its operations");
    plan_local_step(&l->machine[is_bf16(job)], &run, &s);
    out->step_s = s.step_s;
    out->part_s[PLAN_PART_MATMUL] = s.products_s;
    out->part_s[PLAN_PART_ATTENTION] = s.attention_s;
    out->part_s[PLAN_PART_VECTOR] = s.vector_s + s.loss_s;
    out->part_s[PLAN_PART_OPTIMIZER] = s.optimizer_s;
    out->microbatches = (run.global_batch + run.micro_batch - 1) / run.micro_batch;
    out->forward_s = s.forward_s;
    out->backward_s = (s.step_s - s.optimizer_s) / (double)out->microbatches - s.forward_s;
    out->weight_s = s.weight_s;
}

/* Parameters in fp32 with their gradients and two moments; the copy that a checkpoint is written from
 * holds all but the gradients, and of Muon's matrices one moment. */
void plan_local_memory(const struct plan_job *job, struct plan_memory *out)
{
    enum { ROWS = 16 };
    struct model_memory rows[ROWS];
    struct error e = {0};
    const struct compute_options c = {.dtype = is_bf16(job) ? COMPUTE_BF16 : COMPUTE_F32};
    struct model_options o = {.B = MAX(job->layout->micro_batch, 1),
                              .T = job->batch->seq_len,
                              .training = true,
                              .recompute = (enum model_recompute)MAX(job->layout->recompute, 0),
                              .shard = {0, 1, 0, 1}};
    *out = (struct plan_memory){0};
    struct compute_options plain = c;
    plain.backend = COMPUTE_REFERENCE; /* runs everywhere */
    if (compute_new(&c, &o.compute, &e) < 0 && compute_new(&plain, &o.compute, &e) < 0)
        CHECK_MSG(false, "%s", e.text);
    size_t n = model_plan_memory(job->model, &o, rows, ROWS);
    for (size_t i = 0; i < n; i++) {
        double *into = strstr(rows[i].what, "weights")     ? &out->weights
                       : strstr(rows[i].what, "gradients") ? &out->gradients
                       : strstr(rows[i].what, "activat")   ? &out->activations
                                                           : &out->buffers;
        *into += (double)rows[i].bytes;
    }
    double fp32 = out->gradients, tables = job->model->tied_embeddings ? 1 : 2;
    tables *= sizeof(float) * plan_model_embedding_params(job->model);
    out->optimizer = 2 * fp32;
    out->buffers += job->software->muon_steps > 0 ? 2 * fp32 + tables : 3 * fp32;
    out->buffers += (double)compute_scratch_bytes(o.compute);
    out->total = out->weights + out->gradients + out->optimizer + out->activations + out->buffers;
    compute_free(o.compute);
}
