/* compute_x86_experts_internal.h: the kernels around the experts: gated unit, router, gather and
 * combine.
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

static void x86_glu_forward(int64_t rows, int64_t F, const void *gu_, const float *w, void *act_)
{
    const act_t *gu = gu_;
    act_t *act = act_;
    for (int64_t r = 0; r < rows; r++, gu += 2 * F, act += F) {
        vf weight = v_set1(w ? w[r] : 1.0f);
        VECTOR_LOOP(f, n, F, {
            vf gate = act_load_n(gu + f, n);
            vf up = act_load_n(gu + F + f, n);
            vf gelu = gate * gelu_sigmoid(gate, gate * gate);
            act_store_n(act + f, weight * gelu * up, n);
        });
    }
}

/* Each element is read whole before it is written: dgu may be gu, act may be d_act. */
static void x86_glu_backward(int64_t rows, int64_t F, const void *gu_, const float *w,
                             const void *d_act_, void *act_, void *dgu_, float *dw)
{
    const act_t *gu = gu_, *d_act = d_act_;
    act_t *act = act_, *dgu = dgu_;
    const vf one = v_set1(1.0f);
    for (int64_t r = 0; r < rows; r++, gu += 2 * F, dgu += 2 * F, d_act += F, act += F) {
        vf weight = v_set1(w ? w[r] : 1.0f), d_weight = v_zero();
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
        if (dw) dw[r] = v_sum(d_weight);
    }
}

/* ------------------------------------------------------------------ router */

enum {
    ROUTER_ROWS = VL == 16 ? 4 : 2, /* rows and experts per register tile */
    ROUTER_EXPERTS = 4
};

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

static void x86_router_forward(const struct compute_router *r, int64_t rows)
{
    for (int64_t m0 = 0; m0 < rows; m0 += ROUTER_ROWS) {
        int64_t some = MIN(rows - m0, ROUTER_ROWS);
        router_logits(r, (const act_t *)r->x + m0 * r->D, some, r->probs + m0 * r->E);
        for (int64_t m = m0; m < m0 + some; m++) {
            float *probs = r->probs + m * r->E;
            r->lse[m] = router_softmax(r->E, r->cap, probs);
            router_select(r, probs, r->top + m * r->k, r->weight + m * r->k);
        }
    }
}

/* Gradient of the raw logits of row m, into d [E]; the capped logit is log p + lse. */
static void router_logit_gradient(const struct compute_router *r, int64_t m, float M_total,
                                  const float *d_weight, const float *f, float aux_coef,
                                  float z_coef, float *d)
{
    const float *p = r->probs + m * r->E;
    for (int64_t e = 0; e < r->E; e++)
        d[e] = aux_coef * (float)r->E * (f ? f[e] : 0.0f) / M_total;
    for (int64_t j = 0; j < r->k; j++)
        d[r->top[m * r->k + j]] += d_weight[m * r->k + j];
    float mean = 0, z = 2.0f * z_coef * r->lse[m] / M_total;
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

/* The columns c .. c + n - 1 of router_apply_gradient. */
INLINE void router_gradient_step(const struct compute_router *r, const act_t *const x[4],
                                 int64_t rows, int64_t c, int64_t n, const float *d, float *dx,
                                 float *dW)
{
    int64_t D = r->D, E = r->E;
    vf sum[4], xi[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        sum[i] = v_zero();
        xi[i] = act_load_n(x[i] + c, n);
    }
    for (int64_t e = 0; e < E; e++) {
        vf weight = v_load_n(r->W + e * D + c, n);
        vf grad = v_load_n(dW + e * D + c, n);
        UNROLL
        for (int i = 0; i < 4; i++) {
            sum[i] = v_fma(v_set1(d[i * E + e]), weight, sum[i]);
            grad = v_fma(v_set1(d[i * E + e]), xi[i], grad);
        }
        v_store_n(dW + e * D + c, grad, n);
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        if (i < rows) v_store_n(dx + i * D + c, sum[i], n);
}

/* dx = d . W and dW += d^T x for four rows at once: W and dW pass through the cache once per four
 * rows. d [4, E] is zero for rows that do not exist, whose x repeats the last row's. */
static void router_apply_gradient(const struct compute_router *r, int64_t m0, int64_t rows,
                                  const float *d, float *dx, float *dW)
{
    int64_t D = r->D;
    const act_t *x[4];
    for (int i = 0; i < 4; i++)
        x[i] = (const act_t *)r->x + (m0 + MIN(i, rows - 1)) * D;
    VECTOR_LOOP(c, n, D, { router_gradient_step(r, x, rows, c, n, d, dx + m0 * D, dW); });
}

static void x86_router_backward(const struct compute_router *r, int64_t rows, int64_t M_total,
                                const float *d_weight, const float *f, float aux_coef, float z_coef,
                                float *dx, float *dW_partial)
{
    float d[4 * COMPUTE_MAX_EXPERTS];
    for (int64_t m0 = 0; m0 < rows; m0 += 4) {
        int64_t some = MIN(rows - m0, 4);
        memset(d, 0, (size_t)(4 * r->E) * sizeof *d);
        for (int64_t i = 0; i < some; i++)
            router_logit_gradient(r, m0 + i, (float)M_total, d_weight, f, aux_coef, z_coef,
                                  d + i * r->E);
        router_apply_gradient(r, m0, some, d, dx, dW_partial);
    }
}

/* ------------------------------------------------------------------ dispatch */

static void x86_gather(int64_t rows, int64_t D, const int32_t *row_token, const void *x, void *y)
{
    size_t bytes = (size_t)D * sizeof(act_t);
    for (int64_t r = 0; r < rows; r++) {
        act_t *to = (act_t *)y + r * D;
        if (row_token[r] < 0)
            memset(to, 0, bytes);
        else
            memcpy(to, (const act_t *)x + row_token[r] * D, bytes);
    }
}

static void x86_combine(int64_t rows, int64_t D, int64_t k, const int32_t *slot_row, const void *y,
                        const void *a, const float *b, float scale, void *out)
{
    for (int64_t m = 0; m < rows; m++, slot_row += k) {
        const act_t *am = a ? (const act_t *)a + m * D : NULL;
        const float *bm = b ? b + m * D : NULL;
        VECTOR_LOOP(d, n, D, {
            vf sum = v_zero();
            for (int64_t j = 0; j < k; j++)
                sum += act_load_n((const act_t *)y + slot_row[j] * D + d, n);
            if (am) sum += act_load_n(am + d, n);
            if (bm) sum += v_load_n(bm + d, n);
            act_store_n((act_t *)out + m * D + d, v_set1(scale) * sum, n);
        });
    }
}

#endif
