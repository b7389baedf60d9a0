/* plan_step.c: the time of one training step of a model in a layout on a cluster.
 *
 * The blocks' times of one microbatch (plan_step_layer.c) are summed over the slowest pipeline
 * stage; the step is then
 *
 *     m · t + (p-1)/v · t + messages + exposed data-parallel traffic + optimiser + jitter
 *
 * with m microbatches, p stages and v virtual stages a device: the schedule 1F1B and its
 * interleaved form (Narayanan et al., arXiv:2104.04473, section 2.2; bubble (p-1)/v). The
 * processor that starts kernels may be slower than the accelerator that runs them: the two run side
 * by side and the slower one counts, joined smoothly.
 *
 * DualPipe feeds the pipeline from both ends: its bubble is (p/2 - 1)(F&B + B - 3W), F&B a forward and a
 * backward laid over each other, B a backward, W its part for the weights (arXiv:2412.19437, Table 2).
 *
 * Data parallelism: gradients are reduced under the last microbatch's backward pass and weights
 * gathered under the first one's forward pass (ZeRO 1 and 2, Rajbhandari et al.,
 * arXiv:1910.02054; Megatron's distributed optimiser), or gathered twice and reduced once a layer
 * and microbatch (ZeRO 3, FSDP, Zhao et al., arXiv:2304.11277). What outlasts its window is
 * exposed; what hides costs the cores it runs on.
 *
 * A cluster of several kinds of accelerators gives each replica to one kind and shares the
 * microbatches by speed. Nothing here allocates. */
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <string.h>

/* Of one microbatch on the slowest stage. */
struct stage {
    struct plan_layer_time sum;
    double recompute_s, recompute_comm_s;
    double f_s, b_s; /* everything exposed, forward and backward with recomputation */
    double host_s;   /* of starting kernels, f and b together */
    double head_s;   /* what the output head adds to the last stage */
    double head_b_s, head_matmul_b;     /* of it, backward */
    double dense_params, expert_params; /* per accelerator */
    double blocks;                      /* layers of the stage */
};

static double forward_comm(const struct plan_layer_time *t)
{
    return t->tp_f + t->ep_f + t->cp_f;
}

static double backward_time(const struct plan_layer_time *t)
{
    return plan_backward_compute_s(t) + t->tp_b + t->ep_b + t->cp_b;
}

/* `spare`: layers that the stage of the output table has less than the fullest. */
static void stage_params(const struct plan_work *w, double share, double spare, struct stage *st)
{
    const struct model_config *m = w->m;
    struct plan_layer_params dense, moe;
    plan_model_layer_params(m, false, &dense);
    plan_model_layer_params(m, true, &moe);
    double tp = MAX(w->l->tp, 1), groups = MAX(w->l->ep, 1) * (double)MAX(w->l->etp, 1);
    double n_moe = (double)plan_model_moe_layers(m) + (double)m->mtp_layers * (model_is_moe(m));
    double n_dense = (double)plan_model_ffn_layers(m) - (double)plan_model_moe_layers(m);
    double sharded = (double)(plan_model_attention_layers(m) + m->mtp_layers) * dense.attention +
                     n_dense * dense.ffn + n_moe * moe.ffn +
                     (double)m->mamba_layers * plan_model_mamba_params(m);
    st->dense_params = share * (sharded / tp + n_dense * dense.other + n_moe * moe.other);
    st->expert_params = share * n_moe * moe.experts / groups;
    double tables = w->l->pp > 1 || m->tied_embeddings ? 1 : 2;
    double room = st->dense_params * spare / fmax(st->blocks, 1);
    st->dense_params += fmax(tables * plan_model_embedding_params(m) / tp - room, 0);
}

/* Share of the forward pass that runs again. */
static double forward_again(const struct plan_work *w)
{
    if (w->l->recompute == PLAN_RECOMPUTE_FULL)
        return w->stack == PLAN_STACK_OTHER ? K(w, XLA_RECOMPUTE) : 1;
    bool layers = w->stack == PLAN_STACK_FSDP && w->l->recompute == PLAN_RECOMPUTE_SELECTIVE;
    return layers ? K(w, SELECTIVE_TORCH) : 0;
}

static void add_recompute(const struct plan_work *w, const struct plan_layer_time *layers,
                          struct stage *st)
{
    double share = forward_again(w);
    if (share > 0) {
        st->recompute_s = share * plan_forward_compute_s(layers);
        st->recompute_comm_s = share * forward_comm(layers);
    } else if (w->has.modules) {
        st->recompute_s = layers->again;
    } else if (w->l->recompute == PLAN_RECOMPUTE_SELECTIVE) {
        /* the scores before fused attention (arXiv:2205.05198), norms and activations since */
        bool scores = w->has.attention == PLAN_ATTENTION_UNFUSED;
        st->recompute_s = scores ? layers->attention_f : K(w, SELECTIVE_SHARE) * layers->vector_f;
    }
}

static bool dualpipe(const struct plan_work *w)
{
    return w->stack == PLAN_STACK_DUALPIPE && w->l->pp > 1;
}

static void stage_time(const struct plan_work *w, struct stage *st)
{
    const struct model_config *m = w->m;
    memset(st, 0, sizeof *st);
    st->blocks = (double)plan_stage_most_layers(m, w->l);
    /* layers that the last stage has less, so that the head has room */
    double spare = w->l->pp > 1 ? st->blocks - (double)plan_stage_layers(m, w->l, w->l->pp - 1) : 0;
    double share = st->blocks / (double)(m->n_layers + m->mtp_layers);
    struct plan_layer_time head;
    plan_blocks_time(w, share, &st->sum);
    add_recompute(w, &st->sum, st);
    plan_head_time(w, &head);
    double layer_s = plan_forward_compute_s(&st->sum) / fmax(st->blocks, 1);
    double beyond = fmax(plan_forward_compute_s(&head) - spare * layer_s, 0);
    double head_share = beyond / plan_forward_compute_s(&head);
    if (w->l->pp > 1) head_share *= K(w, HEAD_EXPOSED);
    if (dualpipe(w))
        head_share /= 2; /* the ranks at both ends have it for half of the microbatches */
    plan_layer_time_add(&st->sum, &head, head_share);
    st->head_b_s = head_share * backward_time(&head);
    st->head_matmul_b = head_share * head.matmul_b;
    st->head_s = head_share * (plan_forward_compute_s(&head) + backward_time(&head));
    stage_params(w, share, spare, st);
    st->f_s = plan_forward_compute_s(&st->sum) + forward_comm(&st->sum);
    st->b_s = backward_time(&st->sum) + st->recompute_s + st->recompute_comm_s;
    double passes = 3 + forward_again(w);
    st->host_s = st->sum.kernels * passes * w->launch_s;
}

/* The gradients of the weights: half of the products back, without the head's. */
static double weight_time(const struct stage *st)
{
    return (st->sum.matmul_b - st->head_matmul_b) / 2;
}

/* Seconds a stage waits while the pipeline fills and drains; t is what a microbatch takes. The head is in
 * the last stage only. */
static double bubble_time(const struct plan_work *w, const struct stage *st, double t)
{
    double p = w->l->pp;
    if (p <= 1) return 0;
    if (!dualpipe(w)) return (p - 1) / MAX(w->l->vp, 1) * (t - st->head_s);
    double chunk = t - st->head_s + st->b_s - st->head_b_s - 3 * weight_time(st);
    return fmax(p / 2 - 1, 0) * fmax(chunk, 0);
}

struct dp_traffic {
    double reduce_s, gather_s;
};

/* Of `params` weights held by each of a group of `n` ranks. */
static struct dp_traffic traffic(const struct plan_work *w, double params, int64_t n,
                                 int64_t stride)
{
    struct dp_traffic t = {0, 0};
    if (n <= 1 || params <= 0) return t;
    int64_t near = plan_place_ring(&w->place, n, stride);
    /* the first ZeRO 3 gathered tensor by tensor, each rank through its own link */
    bool old = w->year < K(w, DP_OVERLAP_YEAR);
    if (old && w->l->zero >= 3) near = 1;
    /* a ring enters a node by one link and leaves by another; groups that share it get no more */
    else if (old && near < n && near < w->a->scaleup_domain)
        near = MAX(near / 2, 1);
    double grad_bytes =
        params * (old && w->l->zero < 3 ? K(w, OLD_GRAD_BYTES) : plan_work_width(w));
    if (w->l->zero == 0) {
        t.reduce_s = plan_collective_s(w, PLAN_ALL_REDUCE, n, near, grad_bytes);
        return t;
    }
    t.reduce_s = plan_collective_s(w, PLAN_REDUCE_SCATTER, n, near, grad_bytes);
    t.gather_s = plan_collective_s(w, PLAN_ALL_GATHER, n, near, params * plan_work_width(w));
    return t;
}

static double exposed_part(const struct plan_work *w, double s, double window, double *hidden)
{
    double under = fmin(s, window * K(w, DP_OVERLAP));
    *hidden += under;
    return s - under + under * K(w, SM_TAX);
}

/* Exposed data-parallel seconds of a step. */
static double data_parallel(const struct plan_work *w, const struct stage *st, double microbatches,
                            double *hidden)
{
    const struct plan_layout *l = w->l;
    int64_t tp = MAX(l->tp, 1), cp = MAX(l->cp, 1), dp = MAX(l->dp, 1);
    int64_t groups = MAX(l->ep, 1) * (int64_t)MAX(l->etp, 1);
    struct dp_traffic d = traffic(w, st->dense_params, dp * cp, tp);
    struct dp_traffic e = traffic(w, st->expert_params, MAX(tp * cp * dp / groups, 1), groups);
    double stages = dualpipe(w) ? 2 : 1; /* that a rank holds weights of */
    double reduce = stages * (d.reduce_s + e.reduce_s), gather = stages * (d.gather_s + e.gather_s);
    double window = w->year < K(w, DP_OVERLAP_YEAR) ? 0 : 1;
    bool kept = w->stack == PLAN_STACK_FSDP && l->pp > 1; /* PyTorch's, all through a step */
    if (l->zero >= 3 && !kept) /* every layer of every microbatch, twice before and once after */
        return microbatches * (exposed_part(w, gather, window * st->f_s, hidden) +
                               exposed_part(w, gather + reduce, window * st->b_s, hidden));
    if (l->zero == 2 && !plan_stack_is_megatron(w->stack))
        return exposed_part(w, gather, st->f_s, hidden) +
               microbatches * exposed_part(w, reduce, st->b_s, hidden);
    if (w->year < K(w, DP_OVERLAP_YEAR)) return reduce + gather;
    return exposed_part(w, reduce, st->b_s, hidden) + exposed_part(w, gather, st->f_s, hidden);
}

static double optimizer_time(const struct plan_work *w, const struct stage *st)
{
    const struct plan_layout *l = w->l;
    double dense = st->dense_params, experts = st->expert_params;
    if (l->zero > 0) {
        double ranks = (double)MAX(l->tp, 1) * MAX(l->cp, 1) * MAX(l->dp, 1);
        dense /= (double)MAX(l->cp, 1) * MAX(l->dp, 1);
        experts /= fmax(ranks / ((double)MAX(l->ep, 1) * MAX(l->etp, 1)), 1);
    } else if (dualpipe(w)) /* the weights of two stages, of each the whole */
        dense *= 2, experts *= 2;
    double moved = K(w, OPTIMIZER_BYTES) + 2 * (w->state_bytes - 12);
    double far = w->state_offload * 2 * w->state_bytes; /* to the host's memory and back */
    double link = w->a->scaleup_domain > w->a->node_size ? K(w, HOST_LINK_RACK) : K(w, HOST_LINK);
    return (dense + experts) * (moved / w->vector_rate + far / link);
}

/* Exposed seconds of the messages between stages, of one microbatch. */
static double message_time(const struct plan_work *w)
{
    const struct plan_layout *l = w->l;
    if (l->pp <= 1) return 0;
    int64_t stride = (int64_t)MAX(l->tp, 1) * MAX(l->cp, 1) * MAX(l->dp, 1);
    bool inside = stride * 2 <= MAX(w->a->scaleup_domain, 1);
    /* ranks of a tensor-parallel group send the same state; each a part of it since the interleaved
     * schedule (arXiv:2104.04473, section 4.1) and with sequence parallelism */
    bool whole = w->year < K(w, SEQUENCE_YEAR) && l->vp <= 1;
    bool old = w->year < K(w, DP_OVERLAP_YEAR);
    double bytes = (whole ? w->tokens : w->own_tokens) * (double)w->m->d_model * plan_work_width(w);
    double share = old ? K(w, PP_EXPOSED_OLD) : K(w, PP_EXPOSED);
    double exposed = share * plan_p2p_s(w, inside, bytes) + (old ? K(w, PIPE_HOST_S) : 0);
    return 2 * MAX(l->vp, 1) * exposed;
}

static void fill_parts(const struct stage *st, double m, struct plan_step *out)
{
    const struct plan_layer_time *t = &st->sum;
    out->part_s[PLAN_PART_MATMUL] = m * (t->matmul_f + t->matmul_b);
    out->part_s[PLAN_PART_ATTENTION] = m * (t->attention_f + t->attention_b);
    out->part_s[PLAN_PART_VECTOR] = m * (t->vector_f + t->vector_b);
    out->part_s[PLAN_PART_RECOMPUTE] = m * (st->recompute_s + st->recompute_comm_s);
    out->part_s[PLAN_PART_TP] = m * (t->tp_f + t->tp_b);
    out->part_s[PLAN_PART_EP] = m * (t->ep_f + t->ep_b);
    out->part_s[PLAN_PART_CP] = m * (t->cp_f + t->cp_b);
    out->hidden_comm_s = m * t->hidden;
}

/* The slower of accelerator and host, joined smoothly: in some parts of a layer the one waits, in others
 * the other. */
static double slower(const struct plan_work *w, double a, double b)
{
    double big = fmax(a, b), small = fmin(a, b), n = K(w, HOST_JOIN);
    return big > 0 ? big * pow(1 + pow(small / big, n), 1 / n) : 0;
}

/* The step of one kind of accelerator with m microbatches per replica. */
static void pool_step(const struct plan_work *w, const struct stage *st, int64_t m,
                      double accelerators, struct plan_step *out)
{
    memset(out, 0, sizeof *out);
    double work_s = st->f_s + st->b_s, messages = message_time(w);
    double wait_s = slower(w, work_s, st->host_s) - work_s;
    double t = work_s + wait_s + messages;
    fill_parts(st, (double)m, out);
    out->part_s[PLAN_PART_PP] = (double)m * messages;
    out->part_s[PLAN_PART_BUBBLE] = bubble_time(w, st, t);
    out->part_s[PLAN_PART_DP] = data_parallel(w, st, (double)m, &out->hidden_comm_s);
    out->part_s[PLAN_PART_OPTIMIZER] = optimizer_time(w, st);
    out->part_s[PLAN_PART_OTHER] =
        (double)m * wait_s +
        (plan_stack_is_megatron(w->stack) ? K(w, STEP_FIXED_S) : K(w, STEP_FIXED_OTHER_S));
    double step = 0;
    for (int i = 0; i < PLAN_N_PARTS; i++)
        step += out->part_s[i];
    double jitter = K(w, JITTER) * fmax(log2(accelerators / 64), 0) * step;
    out->part_s[PLAN_PART_OTHER] += jitter;
    out->step_s = step + jitter;
    out->forward_s = st->f_s;
    out->backward_s = st->b_s;
    out->microbatches = m;
    out->weight_s = weight_time(st);
    out->both_ends = dualpipe(w);
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / MAX(b, 1);
}

/* What m microbatches take on one kind: fixed_s + m each_s. */
struct kind_price {
    double fixed_s, each_s;
    int64_t replicas;
};

/* Whole microbatches for each replica of each kind, so that the last one is done as early as can be:
 * the share by price, rounded down, and the rest one by one to the kind that has it done first. */
static void share_by_speed(const struct kind_price *kind, int64_t kinds, int64_t microbatches,
                           int64_t *mine)
{
    double speed = 0, ahead = 0;
    int64_t left = microbatches;
    for (int64_t i = 0; i < kinds; i++) {
        speed += (double)kind[i].replicas / kind[i].each_s;
        ahead += (double)kind[i].replicas / kind[i].each_s * kind[i].fixed_s;
    }
    double all_s = ((double)microbatches + ahead) / speed;
    for (int64_t i = 0; i < kinds; i++) {
        double share = (all_s - kind[i].fixed_s) / kind[i].each_s;
        mine[i] = kind[i].replicas > 0 ? MAX((int64_t)(share + 1e-9), 0) : 0;
        left -= mine[i] * kind[i].replicas;
    }
    while (left > 0) {
        int64_t first = -1;
        double soonest = INFINITY;
        for (int64_t i = 0; i < kinds; i++) {
            double done_s = kind[i].fixed_s + (double)(mine[i] + 1) * kind[i].each_s;
            if (kind[i].replicas == 0 || done_s >= soonest) continue;
            first = i;
            soonest = done_s;
        }
        if (first < 0) break; /* no kind has a replica */
        mine[first]++;
        left -= kind[first].replicas;
    }
}

/* What holds for the microbatches of a replica must hold for each kind's (plan_layout_check). */
static bool share_is_allowed(const struct plan_work *w, int64_t mine)
{
    if (mine < 1) return false;
    if (dualpipe(w)) return mine % 2 == 0 && mine >= 2 * (int64_t)w->l->pp;
    return w->l->vp <= 1 || mine >= w->l->pp;
}

/* Several kinds share the microbatches; the last to finish counts. Equal shares are always open. */
static void mixed_step(const struct plan_job *job, double total, struct plan_step *out)
{
    const struct machine_cluster *c = job->cluster;
    const struct plan_layout *l = job->layout;
    struct plan_work work[MACHINE_MAX_POOLS];
    struct stage stages[MACHINE_MAX_POOLS];
    struct plan_step trial, shared = {0};
    int64_t microbatches = divide_up(job->batch->global_batch, MAX(l->micro_batch, 1));
    const int64_t equal = MAX(divide_up(microbatches, MAX(l->dp, 1)), 1);
    struct kind_price price[MACHINE_MAX_POOLS];
    int64_t replicas[MACHINE_MAX_POOLS], mine[MACHINE_MAX_POOLS];
    plan_place_replicas(c, l, replicas);
    for (int64_t i = 0; i < c->n_pools; i++) {
        price[i] = (struct kind_price){0, 1, replicas[i]};
        if (replicas[i] == 0) continue;
        plan_work_init(&work[i], job, c->pools[i].accelerator);
        stage_time(&work[i], &stages[i]);
        pool_step(&work[i], &stages[i], equal + 1, total, &trial);
        price[i].each_s = trial.step_s;
        pool_step(&work[i], &stages[i], equal, total, &trial);
        price[i].each_s = fmax(price[i].each_s - trial.step_s, 1e-12);
        price[i].fixed_s = trial.step_s - (double)equal * price[i].each_s;
        if (trial.step_s > out->step_s) *out = trial;
    }
    share_by_speed(price, c->n_pools, microbatches, mine);
    for (int64_t i = 0; i < c->n_pools; i++) {
        if (replicas[i] == 0) continue;
        if (!share_is_allowed(&work[i], mine[i])) return;
        pool_step(&work[i], &stages[i], mine[i], total, &trial);
        if (trial.step_s > shared.step_s) shared = trial;
    }
    if (shared.step_s < out->step_s) *out = shared;
}

/* Of this machine as measured (docs/benchmarks.md), and of one that is only described. */
static const struct range local_band[2] = {{0.87, 1, 1.15}, {0.5, 1, 2}};

static void fill_rates(const struct plan_job *job, struct plan_step *out)
{
    const struct machine_cluster *c = job->cluster;
    const struct plan_layout *l = job->layout;
    const struct plan_batch *b = job->batch;
    const struct plan_work work = {
        .l = l, .stack = job->software->stack, .k = plan_constants_of(job->software)};
    const struct plan_work *w = &work;
    double tokens = (double)b->global_batch * (double)b->seq_len, peak = 0;
    int64_t used[MACHINE_MAX_POOLS];
    out->used = plan_place_used(c, l, used);
    for (int64_t i = 0; i < c->n_pools; i++)
        peak += (double)used[i] * machine_peak_flops(c->pools[i].accelerator, l->precision);
    out->tokens_per_s = tokens / out->step_s;
    out->model_flops = tokens * plan_model_flops_per_token(job->model, b->seq_len, true);
    out->mfu = out->model_flops / (out->step_s * fmax(peak, 1));
    out->hfu = out->mfu * (1 + forward_again(w) / 3);
    double busy = 0;
    for (int i = PLAN_PART_MATMUL; i <= PLAN_PART_RECOMPUTE; i++)
        busy += out->part_s[i];
    out->compute_share = busy / out->step_s;
    const struct plan_local *local = job->software->local;
    out->low_s = out->step_s * (local ? local_band[local->estimated].low : K(w, BAND_LOW));
    out->high_s = out->step_s * (local ? local_band[local->estimated].high : K(w, BAND_HIGH));
}

void plan_step(const struct model_config *m, const struct machine_cluster *c,
               const struct plan_layout *l, const struct plan_batch *b,
               const struct plan_software *s, struct plan_step *out)
{
    const struct plan_job job = {m, c, l, b, s};
    double total = (double)MAX(l->tp, 1) * MAX(l->pp, 1) * MAX(l->cp, 1) * MAX(l->dp, 1);
    CHECK(c->n_pools > 0);
    memset(out, 0, sizeof *out);
    if (s->local) {
        plan_local_price(&job, out);
    } else if (c->n_pools == 1) {
        struct plan_work w;
        struct stage st;
        plan_work_init(&w, &job, c->pools[0].accelerator);
        stage_time(&w, &st);
        int64_t per_replica =
            divide_up(b->global_batch, (int64_t)MAX(l->dp, 1) * MAX(l->micro_batch, 1));
        pool_step(&w, &st, MAX(per_replica, 1), total, out);
    } else {
        mixed_step(&job, total, out);
    }
    fill_rates(&job, out);
    plan_memory(&job, &out->memory);
    out->memory_limit_bytes = plan_memory_limit_of(c);
    out->fits = out->memory.total <= out->memory_limit_bytes;
}
