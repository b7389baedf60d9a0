/* plan_model.c: the sizes of a published model: parameters, active parameters, model FLOPs.
 *
 * A model is described by its dimensions only; everything else is arithmetic, so that one file
 * answers for dense transformers, mixtures of experts, latent attention and the Mamba hybrids.
 * The FLOP count is the field's convention: three times the forward pass, no recomputation, every
 * matrix product 2mnk, embedding look-up free, the core attention halved for a causal mask
 * (Narayanan et al., arXiv:2104.04473, appendix; Chowdhery et al., arXiv:2204.02311, appendix B;
 * the halving as in Megatron-Core since 2025). Checked against nine published counters to 0.4 %.
 *
 * Latent attention (MLA): DeepSeek-V2, arXiv:2405.04434, section 2.1. Mamba-2 layers: Dao and Gu,
 * arXiv:2405.21060, section 6: one input projection to (2 inner + 2 groups state + heads), one
 * output projection, and a scan whose chunked form costs about 6 inner state FLOPs a token and
 * direction. */
#include "plan/step/plan_step_internal.h"

#include <string.h>

/* Mamba-2's usual number of groups of B and C, and the width of a head. */
enum { MAMBA_GROUPS = 8, MAMBA_HEAD_DIM = 64 };

static double glu_matrices(const struct model_config *m)
{
    return m->glu ? 3 : 2;
}

/* A hybrid (Nemotron-H) counts attention, Mamba and FFN blocks as layers of their own; elsewhere a
 * layer holds attention and FFN. */
int64_t plan_model_attention_layers(const struct model_config *m)
{
    return m->mamba_layers > 0 ? m->attention_layers : m->n_layers;
}

int64_t plan_model_ffn_layers(const struct model_config *m)
{
    return m->mamba_layers > 0 ? m->n_layers - m->mamba_layers - m->attention_layers : m->n_layers;
}

int64_t plan_model_moe_layers(const struct model_config *m)
{
    return model_is_moe(m) ? plan_model_ffn_layers(m) - m->dense_layers : 0;
}

double plan_model_embedding_params(const struct model_config *m)
{
    return (double)m->vocab_size * (double)m->d_model;
}

static void attention_params(const struct model_config *m, double *sharded, double *replicated)
{
    double h = (double)m->d_model, a = (double)m->n_heads, d = (double)m->head_dim;
    if (m->attention != MODEL_ATTENTION_MLA) {
        *sharded = 2 * h * a * d + 2 * h * (double)m->n_kv_heads * d;
        *replicated = 0;
        return;
    }
    double q = (double)m->mla_q_rank, kv = (double)m->mla_kv_rank;
    double nope = (double)m->mla_nope_dim, rope = (double)m->mla_rope_dim;
    double v = (double)m->mla_v_dim;
    *replicated = h * q + h * (kv + rope);
    *sharded = (q > 0 ? q : h) * a * (nope + rope) + kv * a * (nope + v) + a * v * h;
}

void plan_model_layer_params(const struct model_config *m, bool moe, struct plan_layer_params *out)
{
    double h = (double)m->d_model, g = glu_matrices(m), replicated;
    memset(out, 0, sizeof *out);
    attention_params(m, &out->attention, &replicated);
    out->other = replicated + 2 * h;
    if (!moe || model_has_dense_branch(m)) out->ffn += g * h * (double)model_dense_ffn(m);
    if (!moe) return;
    double wide = m->moe_latent > 0 ? (double)m->moe_latent : h;
    double experts = model_is_moe(m) ? (double)m->n_experts : 0; /* a dense model routes nothing */
    out->ffn += g * h * (double)m->shared_ffn_hidden;
    out->experts = experts * g * wide * (double)m->ffn_hidden;
    out->other += experts * h;
    if (m->moe_latent > 0) out->other += 2 * h * wide;
}

double plan_model_mamba_params(const struct model_config *m)
{
    double h = (double)m->d_model, inner = (double)m->mamba_inner;
    double heads = inner / MAMBA_HEAD_DIM;
    return h * (2 * inner + 2 * MAMBA_GROUPS * (double)m->mamba_state + heads) + inner * h;
}

/* All matrices of the model with the experts counted `experts` times a layer. */
static double params_with(const struct model_config *m, double experts)
{
    struct plan_layer_params dense, moe;
    plan_model_layer_params(m, false, &dense);
    plan_model_layer_params(m, true, &moe);
    double n_moe = (double)plan_model_moe_layers(m);
    double n_ffn = (double)plan_model_ffn_layers(m);
    double p = (double)plan_model_attention_layers(m) * dense.attention;
    p += (n_ffn - n_moe) * (dense.ffn + dense.other);
    p += n_moe * (moe.ffn + moe.other);
    if (n_moe > 0) p += n_moe * moe.experts * experts / (double)m->n_experts;
    p += (double)m->mamba_layers * plan_model_mamba_params(m);
    if (m->mtp_layers > 0) { /* one more layer each and the projection that joins its inputs */
        double layer = dense.attention + moe.ffn + moe.other;
        if (model_is_moe(m)) layer += moe.experts * experts / (double)m->n_experts;
        p += (double)m->mtp_layers * (layer + 2 * (double)m->d_model * (double)m->d_model);
    }
    return p + plan_model_embedding_params(m) * (m->tied_embeddings ? 1 : 2);
}

double plan_model_params(const struct model_config *m)
{
    return params_with(m, (double)m->n_experts);
}

double plan_model_active_params(const struct model_config *m)
{
    return params_with(m, (double)m->n_experts_used);
}

/* Keys one query looks at, on average, of one layer. */
double plan_model_context(const struct model_config *m, int64_t seq_len, bool windowed, bool causal)
{
    double s = (double)seq_len, w = (double)m->window;
    if (!windowed || w <= 0 || w >= s) return causal ? s / 2 : s;
    return causal ? w - w * w / (2 * s) : w; /* the first w queries see less */
}

/* Forward FLOPs of one token in the core of one attention layer, by keys seen. */
double plan_model_core_flops(const struct model_config *m, double context)
{
    double a = (double)m->n_heads;
    if (m->attention == MODEL_ATTENTION_MLA)
        return 2 * context * a * (double)(m->mla_nope_dim + m->mla_rope_dim + m->mla_v_dim);
    return 4 * context * a * (double)m->head_dim;
}

double plan_model_flops_per_token(const struct model_config *m, int64_t seq_len, bool causal)
{
    double matrices = params_with(m, (double)m->n_experts_used);
    /* the embedding is looked up, and each multi-token layer runs the output head again */
    double table = plan_model_embedding_params(m);
    matrices -= table * (m->tied_embeddings ? 0 : 1);
    matrices += table * (double)m->mtp_layers;
    double n = (double)plan_model_attention_layers(m) + (double)m->mtp_layers;
    double windowed = (double)m->window_layers;
    double core =
        (n - windowed) * plan_model_core_flops(m, plan_model_context(m, seq_len, false, causal));
    core += windowed * plan_model_core_flops(m, plan_model_context(m, seq_len, true, causal));
    double scan = (double)m->mamba_layers * 6 * (double)m->mamba_inner * (double)m->mamba_state;
    return 3 * (2 * matrices + core + scan);
}
