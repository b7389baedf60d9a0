/* plan_memory.c: what one accelerator must hold, by class.
 *
 * Counted is what the framework's allocator reports at its peak, which is what published runs
 * state; what lies outside it (driver context, NCCL's channels, fragmentation) is taken off the
 * memory by plan_memory_limit. The fullest pipeline stage decides: the first one, which holds the
 * most microbatches; the second, where leading dense layers make the first one light; or the last,
 * which holds the logits.
 *
 * Weights, gradients and optimizer: ZeRO (Rajbhandari et al., arXiv:1910.02054, table 1); experts
 * are sharded by their own group. Activations: Korthikanti et al., arXiv:2205.05198, equations 1 to
 * 6, taken apart by tensor, so that grouped queries, gated and expert FFNs, latent attention and
 * FP8 follow from the same list. Microbatches in flight of interleaved 1F1B: Narayanan et al.,
 * arXiv:2104.04473, section 2.2. Four constants were fitted on published allocator peaks; they
 * stand in one table and `plan validate` prints them. */
#include "plan/step/plan_local_internal.h"

#include <math.h>

#define GIB 1073741824.0

enum { NORM_BYTES, LOGIT_BYTES, MATRIX_BYTES, WORKSPACE_BYTES };

const struct plan_constant plan_memory_constants[] = {
    [NORM_BYTES] =
        {"activation bytes per hidden unit of norms and residuals", 6.0, 4, 8,
         "SimuMax b200_release_v1.2, Llama 70B and 405B by tokens (rows 798, 822, 833 to 839)"},
    [LOGIT_BYTES] = {"bytes per logit of the loss", 6.0, 2, 10,
                     "bf16 logits and an fp32 copy; same rows as above"},
    [MATRIX_BYTES] = {"bytes per parameter of the largest matrix, held while its gradient is added",
                      5.6, 0, 8, "SimuMax b200_release_v1.2, rows 797 to 800 and 821 to 824"},
    [WORKSPACE_BYTES] = {"bytes of matrix-product and communication workspaces", 0.3 * GIB, 0, GIB,
                         "same rows as above"},
};
const size_t plan_memory_constants_count = ARRAY_LEN(plan_memory_constants);

struct memory_bytes { /* per parameter, before any sharding */
    double weights, gradients, optimizer;
};
struct memory_stage {
    double layers, moe_layers; /* transformer layers; those with experts */
    double in_flight;          /* microbatches whose activations it keeps */
    bool first, last;
};
struct memory_context {
    const struct model_config *m;
    const struct plan_layout *l;
    const struct plan_constant_values *k;
    double tokens;       /* of one microbatch on one context-parallel rank */
    double microbatches; /* of a replica */
    double width;        /* bytes of an activation: 2, in fp32 4 */
    double tp, norm_tp, seq_len;
    bool fp8, flash, modern, both_orders, one_reduction, torch;
    double generation;
    struct memory_bytes bytes;
    struct plan_layer_params dense, moe;
    double attention_share, ffn_share, mamba_share; /* of a layer: 1, 1, 0 but for hybrids */
    double dense_shard, expert_shard;
};

static bool is_fp8(int precision)
{
    return precision == MACHINE_FP8 || precision == MACHINE_MXFP8 || precision == MACHINE_FP4;
}

/* Mixed precision keeps a 16-bit weight, an fp32 gradient and, in the optimizer, an fp32 master and
 * two moments (arXiv:1910.02054). FSDP keeps the fp32 master as the weight. With FP8 weights the
 * gradient buffer is bf16, and Hopper's FP8 products need every weight in both orders, Blackwell's
 * only with block scales (Transformer Engine, non-TN products). */
static void bytes_per_parameter(const struct plan_layout *l, const struct plan_software *s,
                                double generation, bool both_orders, struct memory_bytes *b)
{
    double state = s->optimizer_bytes > 0 ? s->optimizer_bytes : 12; /* master and two moments */
    *b = (struct memory_bytes){2, 4, state};
    if (l->precision == MACHINE_FP32 || (s->stack == PLAN_STACK_FSDP && l->zero == 3))
        *b = (struct memory_bytes){4, 4, fmax(state - 4, 0)};
    b->optimizer *= 1 - s->optimizer_offload;
    if (!is_fp8(l->precision)) return;
    if (l->precision == MACHINE_FP4) {
        b->weights += 2 * (0.5 + 1.0 / 16); /* 4 bits and a scale for 16, in both orders */
    } else if (generation < plan_constants_of(s)->value[PLAN_K_FP8_WEIGHTS_YEAR] ||
               b->weights > 2) {
        b->weights += both_orders ? 2 : 1;
    } else {
        b->weights = both_orders ? 2 : 1;
        if (l->precision == MACHINE_MXFP8) b->weights += 2.0 / 32; /* a scale for 32 */
        b->gradients = 2;
    }
}

/* Megatron's: parts of every layer are computed again. PyTorch's takes every other layer whole. */
static bool parts_again(const struct memory_context *c)
{
    return c->l->recompute == PLAN_RECOMPUTE_SELECTIVE && !c->torch;
}

/* Activation bytes of one token that a layer's attention keeps for the backward pass. */
static double attention_bytes(const struct memory_context *c)
{
    const struct model_config *m = c->m;
    double a = (double)m->n_heads, d = (double)m->head_dim;
    bool selective = parts_again(c);
    double core;
    if (m->attention == MODEL_ATTENTION_MLA) {
        double qk = (double)(m->mla_nope_dim + m->mla_rope_dim), v = (double)m->mla_v_dim;
        double low = 2 * (double)(m->mla_q_rank + m->mla_kv_rank) + (double)m->mla_rope_dim;
        core = c->width * a * v;                                           /* output of the core */
        if (!selective || !c->modern) core += c->width * a * (2 * qk + v); /* Q, K, V */
        core = core / c->tp + c->width * low; /* before and behind the norms */
    } else {
        core = c->width * d * (2 * a + 2 * (double)m->n_kv_heads) / c->tp; /* Q, K, V, output */
    }
    core += 4 * a / c->tp; /* log-sum-exp of a row */
    /* softmax's input, output and dropout: 5as, without flash attention or recomputation */
    if (!c->flash && !selective && c->l->recompute != PLAN_RECOMPUTE_FULL)
        core += (2 * c->width + 1) * a * c->seq_len / c->tp;
    return core;
}

static double ffn_bytes(const struct memory_context *c, double width)
{
    double up = c->m->glu ? 2 : 1;
    return (c->width * up + (c->fp8 ? 1 : c->width)) *
           width; /* input and output of the activation function */
}

static double moe_bytes(const struct memory_context *c)
{
    const struct model_config *m = c->m;
    double k = (double)m->n_experts_used,
           wide = (double)(m->moe_latent > 0 ? m->moe_latent : m->d_model);
    /* selective: the activation's output is computed again, and in FP8 its input is kept in 8 bits
     * (DeepSeek-V3, arXiv:2412.19437, section 3.3.3) */
    bool again = parts_again(c) && c->modern;
    double expert = (again && c->fp8 ? 1 : c->width) * (m->glu ? 2 : 1) * (double)m->ffn_hidden;
    if (!again) expert += (c->fp8 ? 1 : c->width) * (double)m->ffn_hidden;
    /* each expert rank of a tensor group sees the tokens of all of it */
    double sum = k * ((c->fp8 ? 1 : c->width) * wide * c->l->etp + expert) / c->tp;
    sum += ffn_bytes(c, (double)m->shared_ffn_hidden) / c->tp;
    if (model_has_dense_branch(m)) sum += ffn_bytes(c, (double)model_dense_ffn(m)) / c->tp;
    return sum + 12 * (double)m->n_experts / c->norm_tp; /* fp32 logits, probabilities, mask */
}

/* One token through one layer; hybrids take the mean of their kinds. */
static double layer_bytes(const struct memory_context *c, bool moe)
{
    double h = (double)c->m->d_model;
    double norms = plan_memory_constants[NORM_BYTES].value / 2 * c->width * h - (c->fp8 ? h : 0);
    if (parts_again(c) && c->modern && model_is_moe(c->m))
        norms -=
            c->fp8 ? 1 * h : c->width * h; /* Megatron-Core's "layernorm" module is recomputed */
    double sum = norms / c->norm_tp;
    sum += c->attention_share * attention_bytes(c);
    double ffn = moe ? moe_bytes(c) : ffn_bytes(c, (double)model_dense_ffn(c->m)) / c->tp;
    sum += c->ffn_share * ffn;
    /* in_proj's output, the convolution's and the scan's (Mamba-2, arXiv:2405.21060) */
    return sum + c->mamba_share * c->width * 4 * (double)c->m->mamba_inner / c->tp;
}

static double layer_activations(const struct memory_context *c, const struct memory_stage *s)
{
    double dense = layer_bytes(c, false), moe = s->moe_layers > 0 ? layer_bytes(c, true) : 0;
    double kept = (s->layers - s->moe_layers) * dense + s->moe_layers * moe;
    double again = 0;
    if (c->l->recompute == PLAN_RECOMPUTE_FULL)
        again = 1;
    else if (c->torch && c->l->recompute == PLAN_RECOMPUTE_SELECTIVE)
        again = K(c, SELECTIVE_TORCH);
    if (again == 0) return c->tokens * kept * s->in_flight;
    /* the input of each layer that is computed again, and one whole while it runs backward */
    double input = c->width * (double)c->m->d_model / c->norm_tp;
    double held = again * input * s->layers + (1 - again) * kept, work = MAX(dense, moe);
    /* with what PyTorch's sequence parallelism gathers for the two column-parallel products */
    if (c->torch) work += 2 * c->width * (double)c->m->d_model * (1 - 1 / c->tp);
    if (c->torch && again == 1) work *= K(c, TORCH_WORK);
    return c->tokens * (held * s->in_flight + work);
}

/* Tensor-sharded, replicated and expert parameters of a stage. */
static void stage_params(const struct memory_context *c, const struct memory_stage *s,
                         double *dense, double *experts)
{
    const struct model_config *m = c->m;
    double plain = s->layers - s->moe_layers, table = plan_model_embedding_params(m);
    double mtp = s->last ? (double)m->mtp_layers : 0, h = (double)m->d_model;
    double with = s->moe_layers, without = plain;
    if (model_is_moe(m))
        with += mtp;
    else
        without += mtp;
    double sharded = (with + without) * c->attention_share * c->dense.attention;
    sharded += c->ffn_share * (with * c->moe.ffn + without * c->dense.ffn);
    if (c->mamba_share > 0) sharded += s->layers * c->mamba_share * plan_model_mamba_params(m);
    double tables = (s->first ? 1 : 0) + (s->last ? 1 : 0);
    if (s->first && s->last && m->tied_embeddings) tables = 1;
    sharded += tables * table + mtp * 2 * h * h;
    *dense = sharded / c->tp + with * c->moe.other + without * c->dense.other;
    *experts = with * c->ffn_share * c->moe.experts / ((double)c->l->ep * c->l->etp);
}

/* Gathered weights and their gradients beside the shards: ZeRO-3 holds the block at work and the
 * one fetched ahead (Zhao et al., arXiv:2304.11277, section 3.3), DeepSpeed's of before at most 1e9
 * live parameters (its stage3_max_live_parameters); PyTorch's in a pipeline the whole stage, with
 * its gradients in fp32, until the last microbatch (torchtitan's reshard_after_forward, "default");
 * ZeRO-2 one bucket. */
static double sharding_buffers(const struct memory_context *c, double dense, double experts,
                               double layers)
{
    double block = (dense + experts) / MAX(layers, 1);
    if (!c->flash) block = MIN(block, 1e9);
    if (c->l->zero == 3 && c->torch && c->l->pp > 1) return (dense + experts) * (c->width + 4);
    if (c->l->zero == 3) return block * (2 * c->width + c->width);
    return c->l->zero == 2 && !c->one_reduction ? block * 4 : 0;
}

static double stage_activations(const struct memory_context *c, const struct memory_stage *s)
{
    const struct model_config *m = c->m;
    double sum = layer_activations(c, s);
    if (!s->last) return sum;
    double logits = (double)m->vocab_size / c->tp * (1 + (double)m->mtp_layers);
    /* in fp32 the logits and the loss's copy are as wide */
    double wide = plan_memory_constants[LOGIT_BYTES].value + c->width - 2;
    /* PyTorch's loss that is not compiled holds the gradients of both beside them */
    if (c->torch && c->generation < K(c, TORCH_LOSS_YEAR)) wide += 4 + c->width;
    sum += c->tokens * wide * logits;
    if (m->mtp_layers > 0)
        sum += c->tokens * (double)m->mtp_layers * layer_bytes(c, model_is_moe(m));
    return sum;
}

static double stage_buffers(const struct memory_context *c, const struct memory_stage *s)
{
    const struct model_config *m = c->m;
    double h = (double)m->d_model, up = m->glu ? 2 : 1;
    double widest =
        MAX(up * (double)(model_dense_ffn(m) > 0 ? model_dense_ffn(m) : m->shared_ffn_hidden),
            (double)(m->n_heads + 2 * m->n_kv_heads) * (double)m->head_dim);
    if (model_is_moe(m) && s->moe_layers >= s->layers && !model_has_dense_branch(m))
        widest = MAX(up * (double)m->shared_ffn_hidden, (double)m->n_heads * (double)m->head_dim);
    double sum = plan_memory_constants[WORKSPACE_BYTES].value;
    sum += plan_memory_constants[MATRIX_BYTES].value * h * widest / c->tp;
    if (c->l->pp > 1) sum += 2 * c->width * c->tokens * h / c->norm_tp; /* receive and send */
    if (c->l->ep > 1 && s->moe_layers > 0)
        sum += c->width * c->tokens * (double)m->n_experts_used * h / c->tp; /* all-to-all */
    return sum;
}

/* What of a stage neither ZeRO nor recomputation changes. */
struct memory_fixed {
    double dense, experts, buffers;
};

static void stage_memory(const struct memory_context *c, const struct memory_stage *s,
                         const struct memory_fixed *fixed, double activations,
                         struct plan_memory *out)
{
    const struct plan_layout *l = c->l;
    double by_dense = fixed->dense / c->dense_shard, by_expert = fixed->experts / c->expert_shard;
    double whole = fixed->dense + fixed->experts, shard = by_dense + by_expert;
    out->weights = c->bytes.weights * (l->zero >= 3 ? shard : whole);
    /* one reduction a step needs the whole sum on every rank: Megatron's ZeRO 2 saves no memory */
    out->gradients = c->bytes.gradients * (l->zero >= (c->one_reduction ? 3 : 2) ? shard : whole);
    out->optimizer = c->bytes.optimizer * (l->zero >= 1 ? shard : whole);
    out->activations = activations;
    out->buffers = fixed->buffers + sharding_buffers(c, fixed->dense, fixed->experts, s->layers);
    out->total = out->weights + out->gradients + out->optimizer + out->activations + out->buffers;
}

/* Microbatches that a virtual stage takes in a row: as many as stages; all, where they are fewer
 * than twice that and no last group may be shorter than the stages (Megatron-Core's
 * microbatch_group_size_per_vp_stage). With more, 18 on 8 stages, MLPerf's logged maxima are those
 * of groups as large as the pipeline. */
static int64_t group_size(int64_t pp, int64_t microbatches)
{
    return microbatches < 2 * pp ? MAX(microbatches, pp) : pp;
}

/* Microbatches in flight on a stage, in whole-stage units: 1F1B keeps pp - stage; with vp chunks a
 * device, 2(pp - stage - 1) + (vp - 1) group + 1 chunks of 1/vp (Megatron-Core's warm-up). */
static double in_flight(const struct plan_layout *l, double microbatches, int stage)
{
    if (l->vp <= 1) return MIN((double)(l->pp - stage), microbatches);
    double group = (double)group_size(l->pp, (int64_t)microbatches);
    double chunks = 2.0 * (l->pp - stage - 1) + (l->vp - 1.0) * group + 1;
    return MIN(chunks / l->vp, microbatches);
}

/* Layers of a stage without those of multi-token prediction, which stage_params counts beside them. */
static void stage_fill(const struct memory_context *c, int stage, struct memory_stage *s)
{
    const struct plan_layout *l = c->l;
    s->first = stage == 0;
    s->last = stage == l->pp - 1;
    int64_t layers = plan_stage_layers(c->m, l, stage) - (s->last ? c->m->mtp_layers : 0);
    s->layers = (double)MAX(layers, 0);
    s->moe_layers = 0;
    if (model_is_moe(c->m)) {
        int64_t before = 0; /* layers of the stages in front of it */
        if (stage > 0) before = plan_stage_layers(c->m, l, 0);
        if (stage > 1) before += (stage - 1) * plan_stage_most_layers(c->m, l);
        s->moe_layers = s->layers - (double)MIN(MAX(c->m->dense_layers - before, 0), layers);
    }
    s->in_flight = in_flight(l, c->microbatches, stage);
}

static void context_fill(struct memory_context *c, const struct plan_job *job,
                         const struct machine_accelerator *a, const struct plan_layout *l)
{
    const struct model_config *m = job->model;
    const struct plan_batch *b = job->batch;
    const struct plan_software *s = job->software;
    double generation = s->generation > 0 ? s->generation : plan_software_today();
    bool blackwell = a && machine_family(a) == MACHINE_BLACKWELL;
    c->k = plan_constants_of(s);
    bool sequence_parallel = generation >= K(c, SEQUENCE_YEAR); /* PyTorch's, too */
    c->m = m;
    c->l = l;
    c->seq_len = (double)b->seq_len; /* of the keys: all, wherever they lie */
    c->tokens = (double)l->micro_batch * c->seq_len / l->cp;
    c->microbatches = (double)b->global_batch / ((double)l->dp * l->micro_batch);
    c->width = l->precision == MACHINE_FP32 ? 4 : 2;
    c->tp = l->tp;
    c->norm_tp = sequence_parallel ? l->tp : 1;
    c->torch = s->stack == PLAN_STACK_FSDP;
    c->fp8 = is_fp8(l->precision);
    c->flash = generation >= K(c, FLASH_YEAR);
    c->modern = generation >= K(c, FP8_WEIGHTS_YEAR);
    c->generation = generation;
    c->one_reduction = plan_stack_is_megatron(s->stack);
    c->both_orders = l->precision != MACHINE_FP8 || !blackwell;
    plan_model_layer_params(m, false, &c->dense);
    plan_model_layer_params(m, true, &c->moe);
    double L = (double)m->n_layers;
    c->attention_share = (double)plan_model_attention_layers(m) / L;
    c->ffn_share = (double)plan_model_ffn_layers(m) / L;
    c->mamba_share = (double)m->mamba_layers / L;
    c->dense_shard = (double)l->dp * l->cp;
    double ranks = (double)l->tp * l->cp * l->dp;
    c->expert_shard = MAX(ranks / ((double)l->ep * l->etp), 1);
}

/* The stages that may be the fullest; returns how many. */
static int stages_of(const struct memory_context *c, struct memory_stage stages[3])
{
    const struct plan_layout *l = c->l;
    const int at[] = {0, 1, l->pp - 1};
    int n = 0;
    for (int i = 0; i < 3; i++) {
        if (i > 0 && (at[i] >= l->pp || at[i] <= at[i - 1])) continue;
        /* the second only where the first is lighter than it: leading dense layers, a layer less */
        const bool even = plan_stage_spare(c->m, l, false) == 0;
        if (i == 1 && l->pp > 2 && c->m->dense_layers == 0 && even) continue;
        stage_fill(c, at[i], &stages[n++]);
    }
    return n;
}

static bool wanted(unsigned choices, int zero, int recompute)
{
    return choices >> (3 * zero + recompute) & 1;
}

/* Raises each wanted choice of ZeRO and recomputation to what it needs of one stage. */
static void add_choices(struct memory_context *c, struct plan_layout *l,
                        const struct plan_software *s, const struct memory_stage *stage,
                        unsigned choices, struct plan_memory out[12])
{
    struct memory_fixed fixed;
    double activations[3];
    stage_params(c, stage, &fixed.dense, &fixed.experts);
    fixed.buffers = stage_buffers(c, stage);
    for (l->recompute = 0; l->recompute <= PLAN_RECOMPUTE_FULL; l->recompute++) {
        bool any = false;
        for (int zero = 0; zero <= 3; zero++)
            any |= wanted(choices, zero, l->recompute);
        if (any) activations[l->recompute] = stage_activations(c, stage);
    }
    for (l->zero = 0; l->zero <= 3; l->zero++) {
        bytes_per_parameter(l, s, c->generation, c->both_orders, &c->bytes);
        for (int again = 0; again <= PLAN_RECOMPUTE_FULL; again++) {
            struct plan_memory one, *most = &out[3 * l->zero + again];
            if (!wanted(choices, l->zero, again)) continue;
            stage_memory(c, stage, &fixed, activations[again], &one);
            if (one.total > most->total) *most = one;
        }
    }
}

/* A rank of DualPipe holds a stage of each direction, so weights and gradients twice, and p + 1
 * microbatches between them (arXiv:2412.19437, Table 2); the optimizer's state of both is sharded
 * over the ranks of both. */
static void dualpipe_choices(struct memory_context *c, struct plan_layout *l,
                             const struct plan_software *s, int stage, unsigned choices,
                             struct plan_memory out[12])
{
    const double microbatches = c->microbatches;
    struct memory_stage here, there;
    struct plan_memory ours[12] = {{0}}, theirs[12] = {{0}};
    stage_fill(c, stage, &here);
    stage_fill(c, l->pp - 1 - stage, &there);
    here.in_flight = there.in_flight = MIN((l->pp + 1) / 2.0, microbatches);
    add_choices(c, l, s, &here, choices, ours);
    add_choices(c, l, s, &there, choices, theirs);
    for (int i = 0; i < 12; i++) {
        struct plan_memory *a = &ours[i];
        const struct plan_memory *b = &theirs[i];
        a->weights += b->weights;
        a->gradients += b->gradients;
        a->activations += b->activations;
        a->optimizer = (a->optimizer + b->optimizer) / (i >= 3 ? 2 : 1); /* i / 3: ZeRO */
        a->buffers = MAX(a->buffers, b->buffers);
        a->total = a->weights + a->gradients + a->optimizer + a->activations + a->buffers;
        if (a->total > out[i].total) out[i] = *a;
    }
}

static void choices_of_kind(const struct plan_job *job, const struct machine_accelerator *a,
                            unsigned choices, struct plan_memory out[12])
{
    const struct plan_software *s = job->software;
    struct plan_layout l = *job->layout; /* whose ZeRO and recomputation are varied */
    struct memory_context c;
    struct memory_stage stages[3];
    context_fill(&c, job, a, &l);
    if (s->stack == PLAN_STACK_DUALPIPE && l.pp > 1) {
        for (int stage = 0; stage < MIN(2, l.pp / 2); stage++)
            dualpipe_choices(&c, &l, s, stage, choices, out);
        return;
    }
    int n = stages_of(&c, stages);
    for (int i = 0; i < n; i++)
        add_choices(&c, &l, s, &stages[i], choices, out);
}

void plan_memory_choices(const struct plan_job *job, unsigned choices, struct plan_memory out[12])
{
    const struct machine_cluster *c = job->cluster;
    bool done[2] = {false}; /* kinds that keep FP8 weights alike hold the same */
    for (int i = 0; i < 12; i++)
        out[i] = (struct plan_memory){0};
    if (job->software->local) {
        for (int i = 0; i < 12; i++)
            if (choices >> i & 1) plan_local_memory(job, &out[i]);
        return;
    }
    for (int64_t i = 0; i < c->n_pools; i++) {
        const struct machine_accelerator *a = c->pools[i].accelerator;
        const int kind = is_fp8(job->layout->precision) && machine_family(a) == MACHINE_BLACKWELL;
        if (done[kind]) continue;
        done[kind] = true;
        choices_of_kind(job, a, choices, out);
    }
}

static int choice_of(const struct plan_layout *l)
{
    int choice = 3 * l->zero + l->recompute;
    CHECK(choice >= 0 && choice < 12);
    return choice;
}

void plan_memory(const struct plan_job *job, struct plan_memory *out)
{
    struct plan_memory all[12];
    plan_memory_choices(job, 1u << choice_of(job->layout), all);
    *out = all[choice_of(job->layout)];
}

void plan_memory_of(const struct machine_accelerator *a, const struct model_config *m,
                    const struct plan_layout *l, const struct plan_batch *b,
                    const struct plan_software *s, struct plan_memory *out)
{
    const struct plan_job job = {.model = m, .layout = l, .batch = b, .software = s};
    struct plan_memory all[12] = {{0}};
    choices_of_kind(&job, a, 1u << choice_of(l), all);
    *out = all[choice_of(l)];
}

/* Outside the allocator: 0.5 to 0.7 GB of driver context, and NCCL's channels; inside, 1 to 2 % is lost
 * to fragments with expandable segments. Published ranks of 80 GB are filled to 96 %. */
double plan_memory_limit(const struct machine_accelerator *a)
{
    return MAX(0.98 * a->hbm_bytes.mid - 0.8e9, 0);
}

double plan_memory_limit_of(const struct machine_cluster *c)
{
    double least = INFINITY;
    for (int64_t i = 0; i < c->n_pools; i++)
        least = fmin(least, plan_memory_limit(c->pools[i].accelerator));
    return least * (1 - c->headroom);
}
