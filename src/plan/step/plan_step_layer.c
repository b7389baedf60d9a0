/* plan_step_layer.c: how long one block of a model takes on one accelerator, forward and backward.
 *
 * A matrix product of m rows, n columns and depth k takes
 *
 *     2mnk / (rate · m/(m+m½) · n/(n+n½) · k/(k+k½)) + start
 *
 * or the time of its bytes, whichever is longer (roofline, Williams et al. 2009): rate is the
 * measured ceiling of large products (stas00/ml-engineering, maximum achievable matmul FLOPS)
 * times the share that training sustains. The halves are the tiles' quantisation. Its backward
 * pass is two products of the same size.
 *
 * Attention's core runs in bf16 in one fused kernel (FlashAttention, Dao et al., arXiv:2205.14135;
 * 2: arXiv:2307.08691), whose backward is 2.5 times the FLOPs at a lower rate; before its year the
 * scores went through memory and no half was saved for the causal mask (Korthikanti et al.,
 * arXiv:2205.05198). Vector operations cost their bytes (calculon counts the same way, Isaev et
 * al., SC'23). Low precisions add the bytes of casting each product's input.
 *
 * Communication of a block is tensor parallel (with sequence parallelism: all-gather before and
 * reduce-scatter after each half, arXiv:2205.05198 section 4.2), expert all-to-all (Lepikhin et
 * al., arXiv:2006.16668), and the keys and values of a context-parallel ring (Liu et al.,
 * arXiv:2310.01889). Each part that an overlap hides is charged for the cores it steals. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

enum { BLACKWELL_CAP_W = 1200, SOCKET_ACCELERATORS = 4 };

/* A transformer layer is attention and then FFN or experts; a hybrid's layers are one block each. */
enum block { BLOCK_ATTENTION, BLOCK_FFN, BLOCK_EXPERTS, BLOCK_MAMBA, N_BLOCKS };

void plan_layer_time_add(struct plan_layer_time *to, const struct plan_layer_time *t, double times)
{
    for (size_t i = 0; i < ARRAY_LEN(to->all); i++)
        to->all[i] += times * t->all[i];
}

/* Bytes of an activation, on the move and as an operand. */
double plan_work_width(const struct plan_work *w)
{
    return w->l->precision == MACHINE_FP32 ? 4 : 2;
}

static double family_ceiling_share(const struct plan_work *w, int precision)
{
    if (w->family == MACHINE_AMPERE) return K(w, GEMM_BF16_AMPERE);
    bool hopper = w->family == MACHINE_HOPPER;
    switch (precision) {
    case MACHINE_FP8:
    case MACHINE_MXFP8: return hopper ? K(w, GEMM_FP8_HOPPER) : K(w, GEMM_FP8_BLACKWELL);
    case MACHINE_FP4: return K(w, GEMM_FP4_BLACKWELL);
    default: return hopper ? K(w, GEMM_BF16_HOPPER) : K(w, GEMM_BF16_BLACKWELL);
    }
}

/* Blackwell's dense products run into the power cap (measured: 2.7 of 4.9 PFLOP/s fp8 after warming
 * up with random data on GB200, Azure 2025), so that the same die is faster under a higher one. */
static double power_share(const struct plan_work *w)
{
    double cap_w = w->a->power_cap_w.mid;
    if (w->family != MACHINE_BLACKWELL || cap_w <= 0) return 1;
    return pow(cap_w / BLACKWELL_CAP_W, K(w, POWER_EXPONENT));
}

static double matrix_rate(const struct plan_work *w, int precision)
{
    int offered = machine_offered_precision(w->a, precision);
    double ceiling = w->a->ceiling_flops[offered].mid;
    if (ceiling <= 0 && offered == MACHINE_MXFP8) ceiling = w->a->ceiling_flops[MACHINE_FP8].mid;
    if (ceiling <= 0) ceiling = machine_peak_flops(w->a, precision) * K(w, CEILING_SHARE);
    double rate = ceiling * fmin(family_ceiling_share(w, offered) * power_share(w), 1);
    bool row = w->has.recipe == PLAN_FP8_ROW && offered == MACHINE_FP8;
    return row ? rate * K(w, FP8_ROW_RATE) : rate;
}

static double cast_bytes(const struct plan_work *w)
{
    switch (machine_offered_precision(w->a, w->l->precision)) {
    case MACHINE_FP8: return K(w, CAST_FP8);
    case MACHINE_MXFP8: return K(w, CAST_MXFP8);
    case MACHINE_FP4: return K(w, CAST_FP4);
    default: return 0;
    }
}

/* Software grows with its hardware: fastest in the first year after an accelerator's launch. */
static void software_age(struct plan_work *w)
{
    const double launch[MACHINE_N_FAMILIES] = {[MACHINE_AMPERE] = K(w, LAUNCH_AMPERE),
                                               [MACHINE_HOPPER] = K(w, LAUNCH_HOPPER),
                                               [MACHINE_BLACKWELL] = K(w, LAUNCH_BLACKWELL)};
    double age = fmax(w->year - launch[w->family], 0);
    double young = exp(-age / K(w, YOUNG_YEARS));
    double stack = w->stack == PLAN_STACK_FSDP    ? K(w, FSDP_COMPUTE)
                   : w->stack == PLAN_STACK_OTHER ? K(w, OTHER_COMPUTE)
                                                  : 1;
    w->young = stack * (1 + K(w, YOUNG_DENSE) * young);
    w->young_moe = 1 + K(w, YOUNG_MOE) * young;
}

/* What the settled inputs cost: launches, dispatch, and the passes over routed rows that go with it. */
static void software_costs(struct plan_work *w)
{
    const struct plan_features *f = &w->has;
    bool quantised = w->matrix_rate != w->bf16_rate;
    w->launch_s = K(w, HOST_LAUNCH_S) * (f->bound ? 1 : K(w, HOST_UNBOUND));
    if (model_is_moe(w->m) && f->graphs == PLAN_GRAPHS_SCOPED) w->launch_s *= K(w, GRAPHS_SCOPED);
    if (model_is_moe(w->m) && f->graphs == PLAN_GRAPHS_FULL) w->launch_s *= K(w, GRAPHS_FULL);
    switch (f->dispatcher) {
    case PLAN_DISPATCH_HYBRID:
        w->a2a_share = K(w, A2A_SHARE_HYBRID);
        w->moe_passes = K(w, MOE_PASSES_HYBRID);
        break;
    case PLAN_DISPATCH_DEDUPLICATED:
        w->a2a_share = K(w, A2A_SHARE_DEDUP);
        w->moe_passes = K(w, MOE_PASSES_DEDUP);
        break;
    default: w->a2a_share = K(w, A2A_SHARE); w->moe_passes = K(w, MOE_PASSES_A2A);
    }
    if (quantised && w->family == MACHINE_HOPPER) w->moe_passes += K(w, MOE_QUANT_HOPPER);
}

void plan_work_init(struct plan_work *w, const struct plan_job *job,
                    const struct machine_accelerator *a)
{
    const struct plan_layout *l = job->layout;
    const struct plan_batch *b = job->batch;
    const struct plan_software *s = job->software;
    *w = (struct plan_work){.m = job->model,
                            .a = a,
                            .c = job->cluster,
                            .l = l,
                            .k = plan_constants_of(s),
                            .seq_len = b->seq_len};
    w->microbatches = (double)b->global_batch / ((double)MAX(l->dp, 1) * MAX(l->micro_batch, 1));
    plan_place(a, job->cluster, l, &w->place);
    w->stack = s->stack;
    w->year = s->generation > 0 ? s->generation : plan_software_today();
    w->family = machine_family(a);
    plan_features_of(job, a, &w->has);
    w->tokens = (double)l->micro_batch * (double)b->seq_len / MAX(l->cp, 1);
    w->own_tokens = w->tokens / MAX(l->tp, 1);
    w->norm_tokens = w->year < K(w, SEQUENCE_YEAR) ? w->tokens : w->own_tokens;
    w->matrix_rate = matrix_rate(w, l->precision);
    /* what low precisions leave in bf16: attention's core and the head; in fp32 they are fp32 */
    w->bf16_rate = matrix_rate(w, l->precision == MACHINE_FP32 ? MACHINE_FP32 : MACHINE_BF16);
    w->vector_rate = (a->hbm_bytes_per_s.mid > 0 ? a->hbm_bytes_per_s.mid : 2e12) * K(w, HBM_SHARE);
    w->cast_bytes = cast_bytes(w);
    w->state_bytes = s->optimizer_bytes > 0 ? s->optimizer_bytes : 12;
    w->state_offload = s->optimizer_offload;
    software_age(w);
    software_costs(w);
}

struct product { /* `groups` products of m rows, n columns and depth k, in one launch */
    double rate, groups, m, n, k;
};

/* Adds a product and the casts of its inputs. Inlined: it is what a search calls most often. */
__attribute__((always_inline)) static inline void add_product(const struct plan_work *w,
                                                              struct plan_layer_time *t,
                                                              struct product p)
{
    const double rate = p.rate, groups = p.groups, m = p.m, n = p.n, k = p.k;
    if (m <= 0 || n <= 0 || k <= 0) return;
    double share =
        m / (m + K(w, GEMM_M_HALF)) * n / (n + K(w, GEMM_N_HALF)) * k / (k + K(w, GEMM_K_HALF));
    share *= groups * m * n / (groups * m * n + K(w, GEMM_TILES_HALF));
    double flops_s = 2 * groups * m * n * k / (rate * share);
    double bytes_s = groups * plan_work_width(w) * (m * k + k * n + m * n) / w->vector_rate;
    double forward = fmax(flops_s, bytes_s) + K(w, GEMM_FIXED_S);
    t->matmul_f += forward;
    t->matmul_b += 2 * forward;
    t->vector_b += K(w, GRAD_ACCUM_BYTES) * groups * k * n / w->vector_rate;
    if (rate != w->bf16_rate) {
        t->vector_f += groups * w->cast_bytes * m * k / w->vector_rate;
        t->vector_b += groups * w->cast_bytes * m * n / w->vector_rate;
    }
}

static void add_vector(const struct plan_work *w, struct plan_layer_time *t, double bytes)
{
    t->vector_f += bytes / w->vector_rate;
    t->vector_b += 2 * bytes / w->vector_rate;
}

/* Forward time `f` and backward `b` of a collective of which `share` hides under compute. */
static void expose(const struct plan_work *w, struct plan_layer_time *t, double s, double share,
                   double *part)
{
    *part += s * (1 - share) + s * share * K(w, SM_TAX);
    t->hidden += s * share;
}

static double tp_share(const struct plan_work *w)
{
    return w->has.tp_overlap ? K(w, TP_OVERLAP) : 0;
}

/* One all-gather and one reduce-scatter of the hidden state, forward and backward; backward gathers
 * the input once more under the weight gradient (arXiv:2205.05198, section 4.2.2). */
static void add_tensor_parallel(const struct plan_work *w, struct plan_layer_time *t)
{
    int64_t tp = w->l->tp;
    if (tp <= 1) return;
    int64_t near = plan_place_near(&w->place, tp, 1);
    double bytes = w->tokens * (double)w->m->d_model * plan_work_width(w);
    double s = plan_collective_s(w, PLAN_ALL_GATHER, tp, near, bytes) +
               plan_collective_s(w, PLAN_REDUCE_SCATTER, tp, near, bytes);
    t->kernels += 2 * K(w, HOST_COLLECTIVE);
    if (w->year < K(w, DP_OVERLAP_YEAR) && tp > SOCKET_ACCELERATORS) {
        s += 2 * K(w, TP_SKEW_S);
        t->kernels += 2 * K(w, TP_SKEW_HOST);
    }
    expose(w, t, s, tp_share(w), &t->tp_f);
    expose(w, t, s, tp_share(w), &t->tp_b);
}

/* Scores written out: products at the full square, and softmax through memory. */
static void unfused_core(const struct plan_work *w, struct plan_layer_time *t)
{
    double keys = (double)w->seq_len, queries = keys / MAX(w->l->cp, 1);
    double heads = (double)w->m->n_heads / MAX(w->l->tp, 1), d = (double)w->m->head_dim;
    double groups = heads * w->tokens / queries;
    struct plan_layer_time x = {0};
    add_product(w, &x, (struct product){w->bf16_rate, groups, queries, keys, d});
    add_product(w, &x, (struct product){w->bf16_rate, groups, queries, d, keys});
    double scores_s =
        groups * queries * keys * K(w, SOFTMAX_BYTES) / 2 * plan_work_width(w) / w->vector_rate;
    t->attention_f += x.matmul_f + scores_s;
    t->attention_b += x.matmul_b + 2 * scores_s;
}

/* Of the ceiling. Megatron calls cuDNN's or the newest FlashAttention; PyTorch's own attention follows
 * years behind on Hopper. */
static double core_share(const struct plan_work *w)
{
    bool hopper = w->family == MACHINE_HOPPER;
    if (w->has.attention == PLAN_ATTENTION_FLASH2) {
        if (w->stack == PLAN_STACK_FSDP && w->year < K(w, TORCH_FLASH2_YEAR))
            return hopper ? K(w, TRITON_HOPPER) : K(w, TRITON_AMPERE);
        if (hopper) return K(w, FLASH2_HOPPER);
    }
    if (w->family == MACHINE_AMPERE) return K(w, FLASH_AMPERE);
    return hopper ? K(w, FLASH_HOPPER) : K(w, FLASH_BLACKWELL);
}

static void fused_core(const struct plan_work *w, struct plan_layer_time *t)
{
    const struct model_config *m = w->m;
    double windowed = (double)m->window_layers / (double)MAX(m->n_layers, 1);
    double context = (1 - windowed) * plan_model_context(m, w->seq_len, false, true) +
                     windowed * plan_model_context(m, w->seq_len, true, true);
    double flops = w->own_tokens * plan_model_core_flops(m, context);
    double forward = flops / (w->bf16_rate * core_share(w));
    t->attention_f += forward + K(w, GEMM_FIXED_S);
    t->attention_b += forward * K(w, FLASH_BACKWARD) + K(w, GEMM_FIXED_S);
}

/* Keys and values travel round the cp ranks under the core's compute. */
static void add_context_parallel(const struct plan_work *w, struct plan_layer_time *t)
{
    int64_t cp = w->l->cp, tp = MAX(w->l->tp, 1);
    if (cp <= 1) return;
    double width =
        w->m->attention == MODEL_ATTENTION_MLA
            ? (double)(w->m->n_heads * (w->m->mla_nope_dim + w->m->mla_rope_dim + w->m->mla_v_dim))
            : (double)(2 * w->m->n_kv_heads * w->m->head_dim);
    double bytes = w->own_tokens * (double)cp * width * plan_work_width(w);
    int64_t near = plan_place_near(&w->place, cp, tp);
    double s = plan_collective_s(w, PLAN_ALL_GATHER, cp, near, bytes);
    double f = fmin(s * K(w, CP_OVERLAP), t->attention_f) / fmax(s, 1e-12);
    double b = fmin(2 * s * K(w, CP_OVERLAP), t->attention_b) / fmax(2 * s, 1e-12);
    expose(w, t, s, f, &t->cp_f);
    expose(w, t, 2 * s, b, &t->cp_b);
}

/* What was added since the forward pass took `before` is computed again where its module is. */
static void again(const struct plan_work *w, struct plan_layer_time *t, unsigned module,
                  double before)
{
    if (w->has.modules & module) t->again += plan_forward_compute_s(t) - before;
}

static void add_attention_projections(const struct plan_work *w, struct plan_layer_time *t)
{
    const struct model_config *m = w->m;
    double T = w->tokens, h = (double)m->d_model, tp = MAX(w->l->tp, 1);
    double a = (double)m->n_heads / tp, d = (double)m->head_dim, r = w->matrix_rate;
    if (m->attention != MODEL_ATTENTION_MLA) {
        double kv = (double)m->n_kv_heads / tp;
        add_product(w, t, (struct product){r, 1, T, a * d + 2 * kv * d, h});
        add_product(w, t, (struct product){r, 1, T, h, a * d});
        add_vector(w, t, 2 * plan_work_width(w) * T * (a + kv) * d); /* rotary embedding */
        return;
    }
    double q = (double)m->mla_q_rank, kv = (double)m->mla_kv_rank, rope = (double)m->mla_rope_dim;
    double nope = (double)m->mla_nope_dim, v = (double)m->mla_v_dim;
    double own = w->own_tokens; /* the narrow projections run on sequence shards */
    if (q > 0) add_product(w, t, (struct product){r, 1, own, q, h});
    add_product(w, t, (struct product){r, 1, own, kv + rope, h});
    add_product(w, t, (struct product){r, 1, T, h, a * v});
    double before = plan_forward_compute_s(t);
    add_product(w, t, (struct product){r, 1, T, a * (nope + rope), q > 0 ? q : h});
    add_product(w, t, (struct product){r, 1, T, a * (nope + v), kv});
    /* keys and values are put together with the shared rotary part: read and written twice */
    add_vector(w, t, 4 * plan_work_width(w) * T * a * (nope + rope + v));
    again(w, t, PLAN_AGAIN_UP, before);
}

/* What every block without experts has: norms and residuals, tensor parallelism, and its kernels. */
static void end_block(const struct plan_work *w, struct plan_layer_time *t)
{
    double h = (double)w->m->d_model, before = plan_forward_compute_s(t);
    add_vector(w, t, K(w, VECTOR_PASSES) / 2 * w->norm_tokens * h * plan_work_width(w));
    again(w, t, PLAN_AGAIN_NORM, before);
    add_tensor_parallel(w, t);
    t->kernels += K(w, HOST_KERNELS_DENSE) / 2;
}

static void attention_block(const struct plan_work *w, struct plan_layer_time *t)
{
    add_attention_projections(w, t);
    double before = plan_forward_compute_s(t);
    if (w->has.attention == PLAN_ATTENTION_UNFUSED)
        unfused_core(w, t);
    else
        fused_core(w, t);
    again(w, t, PLAN_AGAIN_CORE, before);
    add_context_parallel(w, t);
    end_block(w, t);
}

/* The two or three products of a feed-forward part, `width` wide in all. */
static void add_ffn(const struct plan_work *w, struct plan_layer_time *t, double width)
{
    double T = w->tokens, h = (double)w->m->d_model, f = width / MAX(w->l->tp, 1);
    double gates = w->m->glu ? 2 : 1;
    if (width <= 0) return;
    add_product(w, t, (struct product){w->matrix_rate, 1, T, gates * f, h});
    add_product(w, t, (struct product){w->matrix_rate, 1, T, h, f});
    add_vector(w, t,
               (gates + 1) * T * f * plan_work_width(w)); /* activation: read the gates, write */
}

static void ffn_block(const struct plan_work *w, struct plan_layer_time *t)
{
    add_ffn(w, t, (double)model_dense_ffn(w->m));
    again(w, t, PLAN_AGAIN_MLP, 0);
    end_block(w, t);
}

/* How many places of n a token's k experts lie in, on average: spread evenly. */
static double distinct(double n, double k)
{
    return n * (1 - pow(1 - 1 / n, k));
}

/* Dispatch and combine: every token goes to top_k experts spread evenly over ep ranks. NCCL's all-to-all
 * sends it once for each of them; dispatch that knows the topology once to each rank within a domain and
 * once to each domain (DeepSeek-V3: to four at most), where a group has as many ranks in each: not where
 * groups straddle (DualPipe came with it, arXiv:2412.19437, section 3.2.2). */
static void add_expert_parallel(const struct plan_work *w, struct plan_layer_time *t, double width)
{
    int64_t ep = w->l->ep, etp = MAX(w->l->etp, 1);
    if (ep <= 1) return;
    int64_t near = plan_place_near(&w->place, ep, etp);
    double k = (double)w->m->n_experts_used, domains = (double)ep / (double)near;
    double copies = k;
    bool once = w->has.dispatcher != PLAN_DISPATCH_ALL_TO_ALL && !w->place.straddles;
    if (once && domains > 1) {
        copies = distinct(domains, k);
        if (w->m->route_domains > 0) copies = fmin(copies, (double)w->m->route_domains);
    } else if (once) {
        copies = distinct((double)ep, k);
    }
    double bytes = w->own_tokens * fmin(copies, k) * width * plan_work_width(w);
    double s = plan_collective_s(w, PLAN_ALL_TO_ALL, ep, near, bytes);
    if (w->has.woven) {
        t->ep_woven += 2 * s;
        return;
    }
    expose(w, t, 2 * s, K(w, EP_HIDDEN), &t->ep_f);
    expose(w, t, 2 * s, K(w, EP_HIDDEN), &t->ep_b);
}

/* Two microbatches interleave, one forward and one backward (DualPipe, arXiv:2412.19437, section
 * 3.2.1; 1F1B overlap in Megatron-Core): the dispatch and combine of each run under attention,
 * experts and vector work of the other, so that one window holds the traffic of both passes. */
static void weave_experts(const struct plan_work *w, struct plan_layer_time *t)
{
    double s = t->ep_woven;
    if (s <= 0) return;
    /* "fully hidden", by kernels on 20 of 132 cores */
    bool dualpipe = w->stack == PLAN_STACK_DUALPIPE && w->l->pp > 1;
    double most = dualpipe ? 1 : K(w, EP_OVERLAP_FAR),
           tax = dualpipe ? K(w, DUALPIPE_TAX) : K(w, SM_TAX);
    if (w->microbatches < 2) most = 0; /* no other to lie under */
    double compute = plan_forward_compute_s(t) + plan_backward_compute_s(t);
    double share = fmin(most, compute / (2 * s));
    t->ep_f += s * (1 - share) + s * share * tax;
    t->ep_b += s * (1 - share) + s * share * tax;
    t->hidden += 2 * s * share;
    t->ep_woven = 0;
}

/* Grouped products that quantise, gate and permute within one kernel, under graphs of whole layers:
 * Blackwell, gated experts, widths in whole tiles of 128. */
static bool fused_experts(const struct plan_work *w)
{
    int64_t wide = w->m->moe_latent > 0 ? w->m->moe_latent : w->m->d_model;
    return w->year >= K(w, MOE_FUSED_YEAR) && w->family == MACHINE_BLACKWELL && w->m->glu &&
           wide % 128 == 0 && w->m->ffn_hidden % 128 == 0;
}

/* Products of the experts of a rank, gated. One expert is a dense product; several are grouped. */
static void add_experts(const struct plan_work *w, struct plan_layer_time *t, double wide,
                        bool fused)
{
    const struct model_config *m = w->m;
    double etp = MAX(w->l->etp, 1), ep = MAX(w->l->ep, 1), gates = m->glu ? 2 : 1;
    double groups = fmax((double)m->n_experts / ep, 1);
    /* rows of this rank's experts */
    double routed = w->own_tokens * (double)m->n_experts_used * etp;
    double f = (double)m->ffn_hidden / etp, rows = routed / groups;
    double rate = w->matrix_rate * (fused || groups <= 1 ? 1 : K(w, GROUPED_SHARE));
    /* clamped gates and biases had no kernel of their own before */
    bool biased = m->architecture == MODEL_GPT_OSS && w->year < K(w, MOE_FUSED_YEAR);
    add_product(w, t, (struct product){rate, groups, rows, gates * f, wide});
    add_product(w, t, (struct product){rate, groups, rows, wide, f});
    double before = plan_forward_compute_s(t);
    double passes = (gates + 1) * (biased ? K(w, ACT_UNFUSED) : 1);
    add_vector(w, t, passes * routed * f * plan_work_width(w));
    again(w, t, PLAN_AGAIN_ACT, before);
    double moved = w->moe_passes * routed * (wide + K(w, MOE_ROW)) * plan_work_width(w);
    add_vector(w, t, moved * w->young_moe);
    double operands = w->matrix_rate != w->bf16_rate ? 2 : 1;
    t->kernels += w->young_moe * (K(w, HOST_KERNELS_MOE) - K(w, HOST_KERNELS_DENSE) / 2);
    t->kernels += w->young_moe * K(w, HOST_PER_EXPERT) * groups * operands;
}

static void experts_block(const struct plan_work *w, struct plan_layer_time *t)
{
    const struct model_config *m = w->m;
    double h = (double)m->d_model, wide = m->moe_latent > 0 ? (double)m->moe_latent : h;
    bool fused = fused_experts(w);
    add_experts(w, t, wide, fused);
    add_product(w, t, (struct product){w->bf16_rate, 1, w->own_tokens, (double)m->n_experts, h});
    if (m->moe_latent > 0) {
        add_product(w, t, (struct product){w->matrix_rate, 1, w->own_tokens, wide, h});
        add_product(w, t, (struct product){w->matrix_rate, 1, w->own_tokens, h, wide});
    }
    again(w, t, PLAN_AGAIN_MOE, 0);
    double before = plan_forward_compute_s(t);
    add_ffn(w, t, (double)m->shared_ffn_hidden);
    again(w, t, PLAN_AGAIN_SHARED, before);
    if (model_has_dense_branch(m)) add_ffn(w, t, (double)model_dense_ffn(m));
    before = plan_forward_compute_s(t);
    add_vector(w, t, K(w, VECTOR_PASSES) / 2 * w->norm_tokens * h * plan_work_width(w));
    again(w, t, PLAN_AGAIN_NORM, before);
    if (w->l->tp > 1 && (w->l->etp > 1 || m->shared_ffn_hidden > 0 || model_has_dense_branch(m)))
        add_tensor_parallel(w, t);
    if (fused) {
        t->vector_f *= K(w, MOE_FUSED);
        t->vector_b *= K(w, MOE_FUSED);
    }
    add_expert_parallel(w, t, wide);
}

/* Mamba-2: two projections, a short convolution and a chunked scan. */
static void mamba_block(const struct plan_work *w, struct plan_layer_time *t)
{
    const struct model_config *m = w->m;
    double h = (double)m->d_model, tp = MAX(w->l->tp, 1), inner = (double)m->mamba_inner / tp;
    double in = plan_model_mamba_params(m) / h / tp - inner;
    add_product(w, t, (struct product){w->matrix_rate, 1, w->tokens, in, h});
    add_product(w, t, (struct product){w->matrix_rate, 1, w->tokens, h, inner});
    double scan = K(w, MAMBA_SCAN_S) * w->tokens * inner;
    t->vector_f += scan;
    t->vector_b += 2 * scan;
    end_block(w, t);
}

static void grow(struct plan_layer_time *t, double factor)
{
    t->matmul_f *= factor;
    t->matmul_b *= factor;
    t->attention_f *= factor;
    t->attention_b *= factor;
    t->vector_f *= factor;
    t->vector_b *= factor;
    t->again *= factor;
}

static void block_time(const struct plan_work *w, enum block block, struct plan_layer_time *t)
{
    *t = (struct plan_layer_time){0};
    switch (block) {
    case BLOCK_ATTENTION: attention_block(w, t); break;
    case BLOCK_FFN: ffn_block(w, t); break;
    case BLOCK_EXPERTS: experts_block(w, t); break;
    case BLOCK_MAMBA: mamba_block(w, t); break;
    case N_BLOCKS: break;
    }
    grow(t, w->young);
}

void plan_blocks_time(const struct plan_work *w, double share, struct plan_layer_time *sum)
{
    const struct model_config *m = w->m;
    double experts = (double)plan_model_moe_layers(m) + (double)m->mtp_layers * (model_is_moe(m));
    const double count[N_BLOCKS] = {
        [BLOCK_ATTENTION] = (double)(plan_model_attention_layers(m) + m->mtp_layers),
        [BLOCK_FFN] = (double)(plan_model_ffn_layers(m) + m->mtp_layers) - experts,
        [BLOCK_EXPERTS] = experts,
        [BLOCK_MAMBA] = (double)m->mamba_layers};
    *sum = (struct plan_layer_time){0};
    for (enum block block = 0; block < N_BLOCKS; block++) {
        struct plan_layer_time t;
        if (count[block] <= 0) continue;
        block_time(w, block, &t);
        plan_layer_time_add(sum, &t, share * count[block]);
    }
    weave_experts(w, sum);
}

void plan_head_time(const struct plan_work *w, struct plan_layer_time *t)
{
    *t = (struct plan_layer_time){0};
    double V = (double)w->m->vocab_size / MAX(w->l->tp, 1), h = (double)w->m->d_model;
    add_product(w, t, (struct product){w->bf16_rate, 1, w->tokens, V, h});
    /* logits in fp32 are read and written by the loss about three times */
    t->vector_f += w->tokens * V * 12 / w->vector_rate;
    t->vector_b += w->tokens * V * 8 / w->vector_rate;
    t->kernels = 20;
    grow(t, w->young);
}
