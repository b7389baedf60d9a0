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
 * - recomputation: none where activations fit memory (on NVL72 also that of the host, which Grace
 *   shares: recipes offload there before they recompute); selective where they exceed it by less
 *   than half, which recomputing some layers mends; else full; and none where even that would not
 *   fit, since the row ran and so left out something else. */
#include "plan/validate/plan_validate_internal.h"

static const double PARTIAL_RECOMPUTE = 1.5;
static const double HOST_OFFLOAD_BYTES = 240e9; /* 480 GB of LPDDR5X for two accelerators */
enum { COHERENT_DOMAIN = 32 };

static int32_t assumed_virtual_stages(const struct model_config *m, const struct plan_layout *l,
                                      const struct plan_batch *b)
{
    if (l->pp <= 1) return 1;
    int64_t microbatches = b->global_batch / MAX((int64_t)MAX(l->dp, 1) * l->micro_batch, 1);
    int64_t most = 1;
    for (int64_t v = 1; v * l->pp <= m->n_layers + m->mtp_layers + 2; v++) {
        if (!plan_stage_even(m, v * l->pp)) continue;
        most = v;
        if (10 * (l->pp - 1) <= v * MAX(microbatches, 1)) return (int32_t)v;
    }
    return (int32_t)most;
}

static double memory_with(const struct model_config *m, const struct machine_accelerator *a,
                          const struct plan_batch *b, const struct plan_software *s,
                          struct plan_layout l, int recompute)
{
    struct plan_memory memory;
    l.recompute = recompute;
    plan_memory_of(a, m, &l, b, s, &memory);
    return memory.total;
}

static int32_t assumed_recompute(const struct model_config *m, const struct machine_accelerator *a,
                                 const struct plan_software *s, const struct plan_batch *b,
                                 const struct plan_layout *l)
{
    double limit = plan_memory_limit(a);
    double none = memory_with(m, a, b, s, *l, PLAN_RECOMPUTE_NONE);
    double host = a->scaleup_domain >= COHERENT_DOMAIN ? HOST_OFFLOAD_BYTES : 0;
    if (none <= limit + host) return PLAN_RECOMPUTE_NONE;
    if (none <= PARTIAL_RECOMPUTE * limit) return PLAN_RECOMPUTE_SELECTIVE;
    bool runs = memory_with(m, a, b, s, *l, PLAN_RECOMPUTE_FULL) <= limit;
    return runs ? PLAN_RECOMPUTE_FULL : PLAN_RECOMPUTE_NONE;
}

void plan_layout_assume(const struct model_config *m, const struct machine_accelerator *a,
                        const struct plan_software *s, struct plan_batch *b, struct plan_layout *l)
{
    if (l->micro_batch <= 0) l->micro_batch = 1;
    if (b->global_batch <= 0)
        b->global_batch = (int64_t)8 * MAX(l->pp, 1) * MAX(l->dp, 1) * l->micro_batch;
    if (l->etp <= 0) {
        bool folded =
            s->generation <= 0 || s->generation >= plan_constants_own.value[PLAN_K_FOLDING_YEAR];
        l->etp = !model_is_moe(m) || folded ? 1 : MAX(l->tp, 1);
    }
    if (l->vp <= 0)
        l->vp = s->stack == PLAN_STACK_DUALPIPE ? 1 : (int32_t)assumed_virtual_stages(m, l, b);
    if (l->recompute < 0) l->recompute = assumed_recompute(m, a, s, b, l);
}
