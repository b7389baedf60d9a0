/* plan_stage.c: how the layers of a model lie on the stages of a pipeline. One rule, for the time of
 * a step, its memory, what a published row leaves out, and the search.
 *
 * Layers (those of multi-token prediction with them) are cut into pp x vp chunks of one size, rounded
 * up. What is then too many is taken from the ends, in turn: the last chunk, which holds the loss,
 * the first, which holds the embedding, the last again. So Llama 3's 126 layers on 64 chunks have a
 * layer less at both ends (arXiv:2407.21783, section 3.3.2), and DeepSeek-V3's 61 on 32 are
 * 1, 30 x 2 and 0 (NVIDIA's guide to it on GB200). */
#include "plan/step/plan_step_internal.h"

static int64_t chunks_of(const struct plan_layout *l)
{
    return (int64_t)MAX(l->pp, 1) * MAX(l->vp, 1);
}

/* Layers that a chunk in the middle has. */
static int64_t chunk_layers(const struct model_config *m, int64_t chunks)
{
    return (m->n_layers + m->mtp_layers + chunks - 1) / chunks;
}

int64_t plan_stage_spare(const struct model_config *m, const struct plan_layout *l, bool last)
{
    const int64_t chunks = chunks_of(l), full = chunk_layers(m, chunks);
    int64_t missing = full * chunks - m->n_layers - m->mtp_layers;
    if (chunks == 1) return 0;
    return MIN(last ? (missing + 1) / 2 : missing / 2, full);
}

int64_t plan_stage_layers(const struct model_config *m, const struct plan_layout *l, int64_t stage)
{
    int64_t layers = chunk_layers(m, chunks_of(l)) * MAX(l->vp, 1);
    if (l->pp <= 1) return m->n_layers + m->mtp_layers;
    if (stage == l->pp - 1) layers -= plan_stage_spare(m, l, true);
    if (stage == 0) layers -= plan_stage_spare(m, l, false);
    return layers;
}

int64_t plan_stage_most_layers(const struct model_config *m, const struct plan_layout *l)
{
    int64_t most = MAX(plan_stage_layers(m, l, 0), plan_stage_layers(m, l, MAX(l->pp, 1) - 1));
    return l->pp > 2 ? chunk_layers(m, chunks_of(l)) * MAX(l->vp, 1) : most;
}

/* Embedding, loss and MTP layers may count as a layer each. */
static int64_t most_beside(const struct model_config *m)
{
    return 2 + m->mtp_layers;
}

bool plan_stage_even(const struct model_config *m, int64_t chunks)
{
    for (int64_t beside = 0; beside <= most_beside(m); beside++)
        if ((m->n_layers + beside) % chunks == 0) return true;
    return false;
}

bool plan_stage_count_matters(const struct model_config *m, int64_t pp)
{
    if (pp == 1) return true;
    for (int64_t beside = 0; beside <= most_beside(m); beside++) {
        int64_t layers = m->n_layers + beside;
        if ((layers + pp - 1) / pp < (layers + pp - 2) / (pp - 1)) return true;
    }
    return false;
}
