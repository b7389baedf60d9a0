/* compute_x86_experts_internal.h: the kernels around the experts: gated unit, router and combine.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c only (see compute_x86_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_X86_EXPERTS_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_EXPERTS_INTERNAL_H

#include <math.h>

#include "compute/x86/compute_x86_act_internal.h"

/* ------------------------------------------------------------------ gated unit
 * 0.5 g (1 + tanh u) = g sigmoid(2 u), which keeps its relative accuracy where g is negative:
 * 2 u = g (A + B g^2) with A = 2 sqrt(2 / pi), B = 0.044715 A. Its slope is
 * S + g S (1 - S) (A + 3 B g^2), S the sigmoid. */

#define GELU_A 1.5957691216057308f
#define GELU_B 0.0713548162726f

INLINE vf gelu_sigmoid(vf gate, vf square)
{
    vf u = gate * v_fma(v_set1(GELU_B), square, v_set1(GELU_A));
    vf e = v_exp2(v_min(v_set1(100.0f), u * v_set1(-LOG2_E)));
    return v_recip(v_set1(1.0f) + e);
}

/* sigmoid(x) */
INLINE vf silu_sigmoid(vf x)
{
    vf e = v_exp2(v_min(v_set1(100.0f), x * v_set1(-LOG2_E)));
    return v_recip(v_set1(1.0f) + e);
}

INLINE void glu_forward(const struct compute_glu *g, int64_t first, int64_t rows, bool silu)
{
    int64_t F = g->F;
    for (int64_t r = first; r < first + rows; r++) {
        const act_t *gu = (const act_t *)g->gu + r * 2 * F;
        act_t *act = (act_t *)g->act + r * F;
        vf weight = v_set1(g->w ? g->w[r] : 1.0f);
        VECTOR_LOOP(f, n, F, {
            vf gate = act_load_n(gu + f, n);
            vf up = act_load_n(gu + F + f, n);
            vf s = silu ? silu_sigmoid(gate) : gelu_sigmoid(gate, gate * gate);
            act_store_n(act + f, weight * (gate * s) * up, n);
        });
    }
}

static void x86_glu_forward(const struct compute_glu *g, int64_t first, int64_t rows)
{
    if (g->activation == COMPUTE_SILU)
        glu_forward(g, first, rows, true);
    else
        glu_forward(g, first, rows, false);
}

/* Each element is read whole before it is written: dgu may be gu, act may be d_act. */
static void x86_glu_backward(const struct compute_glu *g, const struct compute_glu_grad *grads,
                             int64_t first, int64_t rows)
{
    int64_t F = g->F;
    const vf one = v_set1(1.0f);
    for (int64_t r = first; r < first + rows; r++) {
        const act_t *gu = (const act_t *)g->gu + r * 2 * F;
        const act_t *d_act = (const act_t *)grads->d_act + r * F;
        act_t *act = (act_t *)g->act + r * F, *dgu = (act_t *)grads->dgu + r * 2 * F;
        vf weight = v_set1(g->w ? g->w[r] : 1.0f), d_weight = v_zero();
        VECTOR_LOOP(f, n, F, {
            vf gate = act_load_n(gu + f, n);
            vf up = act_load_n(gu + F + f, n);
            vf d = act_load_n(d_act + f, n);
            vf square = gate * gate;
            vf s = gelu_sigmoid(gate, square);
            vf gelu = gate * s;
            vf inner = v_fma(v_set1(3 * GELU_B), square, v_set1(GELU_A));
            vf slope = v_fma(gelu * (one - s), inner, s);
            vf dw_up = d * weight;
            d_weight = v_fma(d * gelu, up, d_weight);
            act_store_n(act + f, weight * gelu * up, n);
            act_store_n(dgu + f, dw_up * up * slope, n);
            act_store_n(dgu + F + f, dw_up * gelu, n);
        });
        if (grads->dw) grads->dw[r] = v_sum(d_weight);
    }
}

/* ------------------------------------------------------------------ router */

enum {
    ROUTER_ROWS = VL == 16 ? 4 : 2, /* rows and experts per register tile */
    ROUTER_EXPERTS = 4
};

/* A tile of sums: each vector of x is used for four experts, each of W for all rows. */
INLINE void router_step(const act_t *const px[ROUTER_ROWS], const float *const pw[ROUTER_EXPERTS],
                        int64_t d, int64_t n, vf sum[ROUTER_ROWS][ROUTER_EXPERTS])
{
    vf weight[ROUTER_EXPERTS];
    UNROLL
    for (int j = 0; j < ROUTER_EXPERTS; j++)
        weight[j] = v_load_n(pw[j] + d, n);
    UNROLL
    for (int i = 0; i < ROUTER_ROWS; i++) {
        vf x = act_load_n(px[i] + d, n);
        UNROLL
        for (int j = 0; j < ROUTER_EXPERTS; j++)
            sum[i][j] = v_fma(x, weight[j], sum[i][j]);
    }
}

/* probs[r, e] = x[r] . W[e] for `rows` <= ROUTER_ROWS rows. Each sum has its own accumulator over
 * the vectors of a row, so it does not depend on its neighbours in the tile; places of the tile
 * behind the last row or expert repeat the last one and are not stored. */
static void router_logits(const struct compute_router *r, const act_t *x, int64_t rows,
                          float *probs)
{
    int64_t D = r->D, E = r->E;
    for (int64_t e0 = 0; e0 < E; e0 += ROUTER_EXPERTS) {
        const act_t *px[ROUTER_ROWS];
        const float *pw[ROUTER_EXPERTS];
        vf sum[ROUTER_ROWS][ROUTER_EXPERTS];
        for (int i = 0; i < ROUTER_ROWS; i++)
            px[i] = x + MIN(i, rows - 1) * D;
        for (int j = 0; j < ROUTER_EXPERTS; j++)
            pw[j] = r->W + MIN(e0 + j, E - 1) * D;
        UNROLL
        for (int i = 0; i < ROUTER_ROWS; i++) {
            UNROLL
            for (int j = 0; j < ROUTER_EXPERTS; j++)
                sum[i][j] = v_zero();
        }
        VECTOR_LOOP(d, n, D, { router_step(px, pw, d, n, sum); });
        UNROLL
        for (int i = 0; i < ROUTER_ROWS; i++) {
            UNROLL
            for (int j = 0; j < ROUTER_EXPERTS; j++)
                if (i < rows && e0 + j < E) probs[i * E + e0 + j] = v_sum(sum[i][j]);
        }
    }
}

/* Caps the logits of one row and turns them into probabilities; returns their logsumexp. */
static float router_softmax(int64_t E, float cap, float *p)
{
    vf largest = v_set1(-INFINITY), sum = v_zero();
    VECTOR_LOOP(e, n, E, {
        vf x = v_load_n(p + e, n);
        if (cap > 0) x = v_set1(cap) * v_tanh(x * v_set1(1.0f / cap));
        v_store_n(p + e, x, n);
        largest = v_max(largest, v_select(v_mask_first(n), x, v_set1(-INFINITY)));
    });
    float top = v_largest(largest);
    VECTOR_LOOP(e, n, E, {
        vf x = v_exp2((v_load_n(p + e, n) - v_set1(top)) * v_set1(LOG2_E));
        v_store_n(p + e, x, n);
        sum += v_keep(v_mask_first(n), x);
    });
    float total = v_sum(sum);
    VECTOR_LOOP(e, n, E, { v_store_n(p + e, v_load_n(p + e, n) * v_set1(1.0f / total), n); });
    return top + logf(total);
}

/* The k experts with the largest probs + bias, best first, ties to the smaller index. */
static void router_select(const struct compute_router *r, const float *probs, int32_t *top,
                          float *weight)
{
    bool taken[COMPUTE_MAX_EXPERTS];
    memset(taken, 0, (size_t)r->E * sizeof *taken);
    for (int64_t j = 0; j < r->k; j++) {
        int64_t best = -1;
        float best_score = 0;
        for (int64_t e = 0; e < r->E; e++) {
            float score = r->bias ? probs[e] + r->bias[e] : probs[e];
            if (!taken[e] && (best < 0 || score > best_score)) {
                best = e;
                best_score = score;
            }
        }
        taken[best] = true;
        top[j] = (int32_t)best;
        weight[j] = probs[best];
    }
}

static void x86_router_forward(const struct compute_router *r, int64_t first, int64_t rows)
{
    for (int64_t m0 = first; m0 < first + rows; m0 += ROUTER_ROWS) {
        int64_t some = MIN(first + rows - m0, ROUTER_ROWS);
        router_logits(r, (const act_t *)r->x + m0 * r->D, some, r->probs + m0 * r->E);
        for (int64_t m = m0; m < m0 + some; m++) {
            float *probs = r->probs + m * r->E;
            r->lse[m] = router_softmax(r->E, r->cap, probs);
            router_select(r, probs, r->top + m * r->k, r->weight + m * r->k);
        }
    }
}

/* Gradient of the raw logits of row m, into d [E]; the capped logit is log p + lse. */
static void router_logit_gradient(const struct compute_router *r,
                                  const struct compute_router_grad *grads, int64_t m, float *d)
{
    const float *p = r->probs + m * r->E, *f = grads->f;
    float M = (float)r->M;
    for (int64_t e = 0; e < r->E; e++)
        d[e] = grads->aux_coef * (float)r->E * (f ? f[e] : 0.0f) / M;
    for (int64_t j = 0; j < r->k; j++)
        d[r->top[m * r->k + j]] += grads->d_weight[m * r->k + j];
    float mean = 0, z = 2.0f * grads->z_coef * r->lse[m] / M;
    for (int64_t e = 0; e < r->E; e++)
        mean += p[e] * d[e];
    for (int64_t e = 0; e < r->E; e++) {
        d[e] = p[e] * (d[e] - mean + z);
        if (r->cap > 0 && p[e] > 0) {
            float t = (logf(p[e]) + r->lse[m]) / r->cap;
            d[e] *= 1.0f - t * t;
        }
    }
}

/* Up to four rows of a router's gradient: dx = d . W and dW += d^T x. d [4, E] is zero for rows
 * that do not exist, whose x repeats the last row's. */
struct router_gradient {
    const struct compute_router *r;
    int64_t rows;
    const act_t *x[4];
    const float *d;
    float *dx, *dW; /* [rows, D], [E, D] */
};

/* Columns c .. c + n - 1. */
INLINE void router_gradient_step(const struct router_gradient *g, int64_t c, int64_t n)
{
    int64_t D = g->r->D, E = g->r->E;
    const float *W = g->r->W + c, *d = g->d;
    float *dW = g->dW + c;
    vf sum[4], xi[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        sum[i] = v_zero();
        xi[i] = act_load_n(g->x[i] + c, n);
    }
    for (int64_t e = 0; e < E; e++) {
        vf weight = v_load_n(W + e * D, n);
        vf grad = v_load_n(dW + e * D, n);
        UNROLL
        for (int i = 0; i < 4; i++) {
            sum[i] = v_fma(v_set1(d[i * E + e]), weight, sum[i]);
            grad = v_fma(v_set1(d[i * E + e]), xi[i], grad);
        }
        v_store_n(dW + e * D, grad, n);
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        if (i < g->rows) v_store_n(g->dx + i * D + c, sum[i], n);
}

/* Four rows at once, so that W and dW pass through the cache once for them. */
static void x86_router_backward(const struct compute_router *r,
                                const struct compute_router_grad *grads, int64_t first,
                                int64_t rows, float *dW_partial)
{
    int64_t D = r->D;
    float d[4 * COMPUTE_MAX_EXPERTS];
    for (int64_t m0 = first; m0 < first + rows; m0 += 4) {
        struct router_gradient g = {.r = r, .rows = MIN(first + rows - m0, 4), .d = d};
        g.dx = grads->dx + m0 * D;
        g.dW = dW_partial;
        memset(d, 0, (size_t)(4 * r->E) * sizeof *d);
        for (int64_t i = 0; i < g.rows; i++)
            router_logit_gradient(r, grads, m0 + i, d + i * r->E);
        for (int i = 0; i < 4; i++)
            g.x[i] = (const act_t *)r->x + (m0 + MIN(i, g.rows - 1)) * D;
        VECTOR_LOOP(c, n, D, { router_gradient_step(&g, c, n); });
    }
}

/* ------------------------------------------------------------------ combine */

static void x86_combine(const struct compute_combine *c, int64_t first, int64_t rows)
{
    int64_t D = c->D, k = c->k;
    const act_t *y = c->y;
    vf scale = v_set1(c->scale);
    for (int64_t m = first; m < first + rows; m++) {
        const int32_t *slot_row = c->slot_row + m * k;
        const act_t *a = c->a ? (const act_t *)c->a + m * D : NULL;
        const float *b = c->b ? c->b + m * D : NULL;
        act_t *out = (act_t *)c->out + m * D;
        VECTOR_LOOP(d, n, D, {
            vf sum = v_zero();
            for (int64_t j = 0; j < k; j++)
                sum += act_load_n(y + slot_row[j] * D + d, n);
            if (a) sum += act_load_n(a + d, n);
            if (b) sum += v_load_n(b + d, n);
            act_store_n(out + d, scale * sum, n);
        });
    }
}

#endif
