/* plan_assume.c: what a published row leaves out, filled by rules that any sane operator follows.
 *
 * Run tables often print neither the interleaving nor the recomputation nor the batch. Each gap
 * has one rule, the same for every source, so that a prediction never leans on the measured time:
 *
 * - microbatch: 1 sequence;
 * - global batch: 8 microbatches a stage and replica (8 without a pipeline), where the bubble is
 *   small, as weak-scaling studies choose it (arXiv:2104.04473, section 5.1);
 * - expert tensor parallelism: 1 (folded, arXiv:2504.14960) since 2025, that of the rest before,
 *   when Megatron could not fold;
 * - virtual stages: the fewest that divide the layers of a stage and keep the bubble under 10 %;
 *   the most there are where none does;
 * - recomputation: the least that fits memory. */
#include "plan/plan_internal.h"

static const double FOLDING_YEAR = 2025.4; /* Megatron-Core 0.12 */

/* Layers of a stage; where they do not divide, embedding and loss count as one each. */
static int64_t layers_of_stage(const struct plan_model *m, int64_t pp)
{
    int64_t layers = m->layers + m->mtp_layers;
    if (layers % pp == 0) return layers / pp;
    return (layers + 2) % pp == 0 ? (layers + 2) / pp : 1;
}

static int32_t assumed_virtual_stages(const struct plan_model *m, const struct plan_layout *l,
                                      const struct plan_batch *b)
{
    if (l->pp <= 1) return 1;
    int64_t layers = layers_of_stage(m, l->pp);
    int64_t microbatches = b->global_batch / MAX((int64_t)MAX(l->dp, 1) * l->micro_batch, 1);
    int64_t most = 1;
    for (int64_t v = 1; v <= layers; v++) {
        if (layers % v != 0) continue;
        most = v;
        if (10 * (l->pp - 1) <= v * MAX(microbatches, 1)) return (int32_t)v;
    }
    return (int32_t)most;
}

void plan_layout_assume(const struct plan_model *m, const struct plan_accelerator *a,
                        const struct plan_software *s, struct plan_batch *b, struct plan_layout *l)
{
    if (l->micro_batch <= 0) l->micro_batch = 1;
    if (b->global_batch <= 0)
        b->global_batch = (int64_t)8 * MAX(l->pp, 1) * MAX(l->dp, 1) * l->micro_batch;
    if (l->etp <= 0) {
        bool folded = s->generation <= 0 || s->generation >= FOLDING_YEAR;
        l->etp = m->experts == 0 || folded ? 1 : MAX(l->tp, 1);
    }
    if (l->vp <= 0) l->vp = assumed_virtual_stages(m, l, b);
    if (l->recompute >= 0) return;
    for (l->recompute = PLAN_RECOMPUTE_NONE; l->recompute < PLAN_RECOMPUTE_FULL; l->recompute++) {
        struct plan_memory memory;
        plan_memory(m, l, b, s, &memory);
        if (memory.total <= plan_memory_limit(a)) return;
    }
}
