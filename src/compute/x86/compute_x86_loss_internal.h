/* compute_x86_loss_internal.h: kernels of the two ends of the model, embedding and loss, and of the
 * update: reductions and optimisers.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c only (see compute_x86_act_internal.h); only
 * cross entropy depends on the format of activations. */
#ifndef COLOSSUS_COMPUTE_X86_LOSS_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_LOSS_INTERNAL_H

#include <math.h>
#include <string.h>

#include "compute/x86/compute_x86_act_internal.h"

/* ------------------------------------------------------------------ embedding */

static void x86_embed(const struct compute_embed *e, int64_t first, int64_t rows,
                      const float *table, float *h)
{
    int64_t D = e->D;
    vf scale = v_set1(e->scale);
    for (int64_t m = first; m < first + rows; m++) {
        int64_t row = compute_embed_row(e, m);
        float *to = h + m * D;
        if (row < 0) {
            memset(to, 0, (size_t)D * sizeof(*to));
            continue;
        }
        const float *from = table + row * D;
        VECTOR_LOOP(d, n, D, { v_store_n(to + d, scale * v_load_n(from + d, n), n); });
    }
}

static void x86_embed_backward(const struct compute_embed *e, int64_t d0, int64_t d1,
                               const float *dh, float *d_table)
{
    vf scale = v_set1(e->scale);
    for (int64_t m = 0; m < e->M; m++) {
        int64_t row = compute_embed_row(e, m);
        if (row < 0) continue;
        const float *from = dh + m * e->D + d0;
        float *to = d_table + row * e->D + d0;
        VECTOR_LOOP(d, n, d1 - d0, {
            v_store_n(to + d, v_fma(scale, v_load_n(from + d, n), v_load_n(to + d, n)), n);
        });
    }
}

/* ------------------------------------------------------------------ loss */

/* The final logit of a raw product; CAP is a constant, so only one side is compiled in. */
INLINE vf loss_logit(vf z, float multiplier, float cap, bool capped)
{
    return capped ? v_set1(cap) * v_tanh(z * v_set1(multiplier / cap)) : z * v_set1(multiplier);
}

static void x86_logits(int64_t rows, int64_t V, float multiplier, float cap, float *z)
{
    int64_t count = rows * V;
    if (cap > 0)
        VECTOR_LOOP(i, n, count, {
            v_store_n(z + i, loss_logit(v_load_n(z + i, n), multiplier, cap, true), n);
        });
    else
        VECTOR_LOOP(i, n, count, {
            v_store_n(z + i, loss_logit(v_load_n(z + i, n), multiplier, cap, false), n);
        });
}

enum { LOSS_BLOCK = 4096 }; /* logits whose maximum is known before their exponentials: 16 KiB */

/* The sum of exp(y - largest) over a row of final logits y, and that largest. */
struct loss_sum {
    float largest, total;
};

/* Reads the row from memory once: block by block, first the maximum, then the exponentials; the
 * sum so far is rescaled where the maximum grew (online softmax, Milakov & Gimelshein 2018). The
 * maximum is taken before the cap, which is monotonic. */
INLINE struct loss_sum loss_sum_row(int64_t V, const float *z, float multiplier, float cap,
                                    bool capped)
{
    struct loss_sum s = {-INFINITY, 0};
    for (int64_t v0 = 0; v0 < V; v0 += LOSS_BLOCK) {
        int64_t count = MIN(V - v0, (int64_t)LOSS_BLOCK);
        const float *block = z + v0;
        vf lanes = v_set1(-INFINITY), sum = v_zero();
        VECTOR_LOOP(i, n, count, {
            vf x = v_load_n(block + i, n) * v_set1(multiplier);
            lanes = v_max(lanes, n < VL ? v_select(v_mask_first(n), x, lanes) : x);
        });
        float top = v_largest(lanes);
        if (capped) top = v_largest(loss_logit(v_set1(top), 1.0f, cap, true));
        if (top > s.largest) {
            s.total *= expf(s.largest - top);
            s.largest = top;
        }
        VECTOR_LOOP(i, n, count, {
            vf x = loss_logit(v_load_n(block + i, n), multiplier, cap, capped);
            vf e = v_exp2((x - v_set1(s.largest)) * v_set1(LOG2_E));
            sum += n < VL ? v_keep(v_mask_first(n), e) : e;
        });
        s.total += v_sum(sum);
    }
    return s;
}

/* Of a row's gradient; a copy, so that stores to the gradient cannot be thought to change it. */
struct loss_slope {
    float multiplier, cap, d_scale;
    float largest, log2_total; /* log2 of the row's sum */
};

/* (p - hit) * d_scale * dy/dz for n logits. */
INLINE vf loss_gradient(vf z, struct loss_slope s, float hit, bool capped)
{
    vf y = loss_logit(z, s.multiplier, s.cap, capped);
    vf p = v_exp2(v_fms(y - v_set1(s.largest), v_set1(LOG2_E), v_set1(s.log2_total)));
    vf d = (p - v_set1(hit)) * v_set1(s.d_scale * s.multiplier);
    if (!capped) return d;
    vf t = y * v_set1(1.0f / s.cap);
    return d * v_fnma(t, t, v_set1(1.0f));
}

INLINE void loss_row(const struct compute_loss *l, int64_t r, bool capped)
{
    int64_t V = l->V, target = compute_loss_target(l, r);
    const float *z = l->z + r * V;
    struct loss_sum s = {0, 1};
    float y[VL] = {0};
    if (l->step == COMPUTE_LOSS_GRADIENT)
        s.largest = l->lse[r];
    else
        s = loss_sum_row(V, z, l->multiplier, l->cap, capped);
    if (target >= 0) v_store(y, loss_logit(v_set1(z[target]), l->multiplier, l->cap, capped));
    double lse = (double)s.largest + log((double)s.total);
    if (l->step == COMPUTE_LOSS_SUM) {
        l->lse[r] = (float)lse;
        l->nll[r] = -y[0];
        return;
    }
    if (l->step == COMPUTE_LOSS_WHOLE)
        l->nll[r] = (float)((double)s.largest - (double)y[0] + log((double)s.total));
    if (!l->d_logits) return;
    act_t *dz = (act_t *)l->d_logits + r * V;
    const struct loss_slope g = {l->multiplier, l->cap, l->d_scale, s.largest, log2f(s.total)};
    VECTOR_LOOP(i, n, V,
                { act_store_n(dz + i, loss_gradient(v_load_n(z + i, n), g, 0.0f, capped), n); });
    if (target >= 0) act_store_n(dz + target, loss_gradient(v_set1(z[target]), g, 1.0f, capped), 1);
}

static void x86_cross_entropy(const struct compute_loss *l, int64_t first, int64_t rows)
{
    for (int64_t r = first; r < first + rows; r++)
        if (l->cap > 0)
            loss_row(l, r, true);
        else
            loss_row(l, r, false);
}

/* ------------------------------------------------------------------ reductions */

static double x86_sum_squares(size_t count, const float *x)
{
    vd low = vd_zero(), high = vd_zero();
    VECTOR_LOOP(i, n, count, {
        vf v = v_load_n(x + i, n);
        low = vd_fma(vd_low(v), vd_low(v), low);
        high = vd_fma(vd_high(v), vd_high(v), high);
    });
    return vd_sum(low + high);
}

/* 0 times an infinity or a NaN is a NaN, and stays one in the sum. */
static bool x86_all_finite(size_t count, const float *x)
{
    vf sum = v_zero();
    VECTOR_LOOP(i, n, count, { sum = v_fma(v_load_n(x + i, n), v_zero(), sum); });
    return isfinite(v_sum(sum));
}

/* ------------------------------------------------------------------ optimisers */

static void x86_adamw(const struct compute_adamw *o, float bias1, float bias2, size_t first,
                      size_t count)
{
    const float *g = o->g + first;
    float *p = o->p + first, *m = o->m + first, *v = o->v + first;
    vf scale1 = v_set1((1.0f - o->beta1) * o->grad_scale), beta1 = v_set1(o->beta1);
    vf scale2 = v_set1(1.0f - o->beta2), beta2 = v_set1(o->beta2);
    vf unbias1 = v_set1(1.0f / bias1), unbias2 = v_set1(1.0f / bias2);
    vf grad_scale = v_set1(o->grad_scale), eps = v_set1(o->eps);
    vf lr = v_set1(o->lr), decay = v_set1(o->decay);
    VECTOR_LOOP(i, n, count, {
        vf grad = v_load_n(g + i, n);
        vf scaled = grad_scale * grad;
        vf mi = v_fma(beta1, v_load_n(m + i, n), scale1 * grad);
        vf vi_ = v_fma(beta2, v_load_n(v + i, n), scale2 * (scaled * scaled));
        vf pi = v_load_n(p + i, n);
        vf step = mi * unbias1 / (v_sqrt(vi_ * unbias2) + eps);
        v_store_n(m + i, mi, n);
        v_store_n(v + i, vi_, n);
        v_store_n(p + i, v_fnma(lr, v_fma(decay, pi, step), pi), n);
    });
}

static void x86_momentum(const struct compute_momentum *o, size_t first, size_t count)
{
    const float *g = o->g + first;
    float *m = o->m + first, *u = o->u + first;
    vf beta = v_set1(o->beta), grad_scale = v_set1(o->grad_scale);
    bool nesterov = o->nesterov;
    VECTOR_LOOP(i, n, count, {
        vf grad = grad_scale * v_load_n(g + i, n);
        vf mi = v_fma(beta, v_load_n(m + i, n), grad);
        v_store_n(m + i, mi, n);
        v_store_n(u + i, nesterov ? v_fma(beta, mi, grad) : mi, n);
    });
}

static void x86_axpby(size_t count, float a, const float *x, float b, float *y)
{
    if (b == 0)
        VECTOR_LOOP(i, n, count, { v_store_n(y + i, v_set1(a) * v_load_n(x + i, n), n); });
    else
        VECTOR_LOOP(i, n, count, {
            vf scaled = v_set1(b) * v_load_n(y + i, n);
            v_store_n(y + i, v_fma(v_set1(a), v_load_n(x + i, n), scaled), n);
        });
}

#endif
