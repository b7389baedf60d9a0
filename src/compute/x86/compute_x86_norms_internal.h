/* compute_x86_norms_internal.h: kernels that work row by row on the residual stream: conversion,
 * RMS norms and the seam between two sub-layers, rotation of heads.
 *
 * All are bound by memory, so each reads a row from memory once: the second and third pass over a
 * row (a norm needs its sum first) find it in the first-level cache.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c only (see compute_x86_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_X86_NORMS_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_NORMS_INTERNAL_H

#include <math.h>

#include "compute/x86/compute_x86_act_internal.h"

/* ------------------------------------------------------------------ conversion */

static void x86_to_act(size_t count, const float *x, void *y)
{
    VECTOR_LOOP(i, n, count, { act_store_n((act_t *)y + i, v_load_n(x + i, n), n); });
}

static void x86_from_act(size_t count, const void *x, float *y)
{
    VECTOR_LOOP(i, n, count, { v_store_n(y + i, act_load_n((const act_t *)x + i, n), n); });
}

static void x86_scale(size_t count, float scale, const void *x, void *y)
{
    VECTOR_LOOP(i, n, count, {
        act_store_n((act_t *)y + i, v_set1(scale) * act_load_n((const act_t *)x + i, n), n);
    });
}

/* ------------------------------------------------------------------ norms */

INLINE float norm_scale(int64_t D, float squares, float eps)
{
    return 1.0f / sqrtf(squares / (float)D + eps);
}

/* y = g x s for one row whose sum of squares is known. */
INLINE float norm_apply(int64_t D, float eps, float squares, const float *x, const float *g,
                        act_t *y)
{
    float s = norm_scale(D, squares, eps);
    VECTOR_LOOP(i, n, D,
                { act_store_n(y + i, v_load_n(g + i, n) * v_load_n(x + i, n) * v_set1(s), n); });
    return s;
}

static void x86_rmsnorm(const struct compute_norm *norm, int64_t first, int64_t rows)
{
    int64_t D = norm->D;
    for (int64_t r = first; r < first + rows; r++) {
        const float *x = norm->x + r * D;
        vf squares = v_zero();
        VECTOR_LOOP(i, n, D, {
            vf v = v_load_n(x + i, n);
            squares = v_fma(v, v, squares);
        });
        act_t *y = (act_t *)norm->y + r * D;
        float s = norm_apply(D, norm->eps, v_sum(squares), x, norm->g, y);
        if (norm->rstd) norm->rstd[r] = s;
    }
}

/* dx_i = s (g_i dy_i - x_i s^2 mean(g dy x)),  dg_i += dy_i x_i s  (see the reference). */
static void x86_rmsnorm_backward(const struct compute_norm *norm, const struct compute_norm_grad *d,
                                 int64_t first, int64_t rows, float *dg_partial)
{
    int64_t D = norm->D;
    const float *g = norm->g;
    bool add = d->add;
    for (int64_t r = first; r < first + rows; r++) {
        const float *x = norm->x + r * D;
        const act_t *dy = (const act_t *)d->dy + r * D;
        float *dx = d->dx + r * D, rstd = norm->rstd[r];
        vf dot = v_zero(), s = v_set1(rstd);
        VECTOR_LOOP(i, n, D, {
            vf along = act_load_n(dy + i, n) * v_load_n(x + i, n);
            dot = v_fma(v_load_n(g + i, n), along, dot);
        });
        vf mean = v_set1(v_sum(dot) / (float)D * rstd * rstd);
        VECTOR_LOOP(i, n, D, {
            vf xi = v_load_n(x + i, n);
            vf dyi = act_load_n(dy + i, n);
            vf grad = s * v_fnma(xi, mean, v_load_n(g + i, n) * dyi);
            if (add) grad += v_load_n(dx + i, n);
            v_store_n(dx + i, grad, n);
            v_store_n(dg_partial + i, v_fma(dyi * xi, s, v_load_n(dg_partial + i, n)), n);
        });
    }
}

/* ------------------------------------------------------------------ seam */

/* A seam that lacks one of its norms, or the second line. */
static void seam_forward_plain(const struct compute_seam *seam, int64_t r)
{
    int64_t D = seam->D;
    const act_t *y = (const act_t *)seam->y + r * D;
    const float *h = seam->h + r * D, *g = seam->g_post;
    float *h_out = seam->h_out + r * D, s = seam->scale;
    vf squares = v_zero();
    VECTOR_LOOP(i, n, D, {
        vf v = act_load_n(y + i, n);
        squares = v_fma(v, v, squares);
    });
    if (g) seam->rstd_post[r] = s = norm_scale(D, v_sum(squares), seam->eps);
    squares = v_zero();
    VECTOR_LOOP(i, n, D, {
        vf v = act_load_n(y + i, n);
        if (g) v = v_load_n(g + i, n) * v;
        v = v_fma(v, v_set1(s), v_load_n(h + i, n));
        v_store_n(h_out + i, v, n);
        squares = v_fma(v, v, squares);
    });
    if (seam->a && seam->g_next)
        seam->rstd_next[r] =
            norm_apply(D, seam->eps, v_sum(squares), h_out, seam->g_next, (act_t *)seam->a + r * D);
    else if (seam->a)
        x86_to_act((size_t)D, h_out, (act_t *)seam->a + r * D);
}

/* Three passes over a row that stays in the first-level cache: sum, residual and its sum, result.
 * */
static void x86_seam_forward(const struct compute_seam *seam, int64_t first, int64_t rows)
{
    int64_t D = seam->D;
    const float *g = seam->g_post;
    bool whole = g && seam->g_next && seam->a;
    for (int64_t r = first; r < first + rows && !whole; r++)
        seam_forward_plain(seam, r);
    for (int64_t r = first; r < first + rows && whole; r++) {
        const act_t *y = (const act_t *)seam->y + r * D;
        const float *h = seam->h + r * D;
        float *h_out = seam->h_out + r * D;
        vf squares = v_zero();
        VECTOR_LOOP(i, n, D, {
            vf v = act_load_n(y + i, n);
            squares = v_fma(v, v, squares);
        });
        float s = norm_scale(D, v_sum(squares), seam->eps);
        squares = v_zero();
        VECTOR_LOOP(i, n, D, {
            vf v = v_load_n(g + i, n) * act_load_n(y + i, n);
            v = v_fma(v, v_set1(s), v_load_n(h + i, n));
            v_store_n(h_out + i, v, n);
            squares = v_fma(v, v, squares);
        });
        seam->rstd_post[r] = s;
        seam->rstd_next[r] =
            norm_apply(D, seam->eps, v_sum(squares), h_out, seam->g_next, (act_t *)seam->a + r * D);
    }
}

/* The part of row r behind the residual sum: dh += backward of a = rms(h_out; g_next). Returns
 * g_post . dh . y, which the norm in front needs. */
INLINE float seam_backward_next(const struct compute_seam *seam,
                                const struct compute_seam_grad *grads, int64_t r, float *dg_next)
{
    int64_t D = seam->D;
    float *dh = grads->dh + r * D, rstd = seam->rstd_next[r];
    const float *h_out = seam->h_out + r * D, *g_next = seam->g_next, *g_post = seam->g_post;
    const act_t *y = (const act_t *)seam->y + r * D, *da = (const act_t *)grads->da + r * D;
    vf dot = v_zero(), s = v_set1(rstd);
    VECTOR_LOOP(i, n, D, {
        vf along = act_load_n(da + i, n) * v_load_n(h_out + i, n);
        dot = v_fma(v_load_n(g_next + i, n), along, dot);
    });
    vf mean = v_set1(v_sum(dot) / (float)D * rstd * rstd);
    dot = v_zero();
    VECTOR_LOOP(i, n, D, {
        vf x = v_load_n(h_out + i, n);
        vf dai = act_load_n(da + i, n);
        vf grad = v_fnma(x, mean, v_load_n(g_next + i, n) * dai);
        vf total = v_fma(s, grad, v_load_n(dh + i, n));
        v_store_n(dh + i, total, n);
        v_store_n(dg_next + i, v_fma(dai * x, s, v_load_n(dg_next + i, n)), n);
        dot = v_fma(v_load_n(g_post + i, n), total * act_load_n(y + i, n), dot);
    });
    return v_sum(dot);
}

/* The same where the norm in front is another call's. */
static void seam_backward_second(const struct compute_seam *seam,
                                 const struct compute_seam_grad *grads, int64_t r, float *dg_next)
{
    int64_t D = seam->D;
    float *dh = grads->dh + r * D, rstd = seam->rstd_next[r];
    const float *h_out = seam->h_out + r * D, *g_next = seam->g_next;
    const act_t *da = (const act_t *)grads->da + r * D;
    vf dot = v_zero(), s = v_set1(rstd);
    VECTOR_LOOP(i, n, D, {
        vf along = act_load_n(da + i, n) * v_load_n(h_out + i, n);
        dot = v_fma(v_load_n(g_next + i, n), along, dot);
    });
    vf mean = v_set1(v_sum(dot) / (float)D * rstd * rstd);
    VECTOR_LOOP(i, n, D, {
        vf x = v_load_n(h_out + i, n);
        vf dai = act_load_n(da + i, n);
        vf grad = v_fnma(x, mean, v_load_n(g_next + i, n) * dai);
        v_store_n(dh + i, v_fma(s, grad, v_load_n(dh + i, n)), n);
        v_store_n(dg_next + i, v_fma(dai * x, s, v_load_n(dg_next + i, n)), n);
    });
}

/* g_post . dh . y where the norm behind is another call's. */
INLINE float seam_backward_dot(const struct compute_seam *seam, const act_t *y, const float *dh)
{
    vf dot = v_zero();
    VECTOR_LOOP(i, n, seam->D, {
        vf along = v_load_n(dh + i, n) * act_load_n(y + i, n);
        dot = v_fma(v_load_n(seam->g_post + i, n), along, dot);
    });
    return v_sum(dot);
}

static void x86_seam_backward(const struct compute_seam *seam,
                              const struct compute_seam_grad *grads, int64_t first, int64_t rows,
                              float *dg_post_partial, float *dg_next_partial)
{
    int64_t D = seam->D;
    const float *g_post = seam->g_post;
    for (int64_t r = first; r < first + rows && !grads->dy; r++)
        seam_backward_second(seam, grads, r, dg_next_partial);
    for (int64_t r = first; r < first + rows && grads->dy; r++) {
        const act_t *y = (const act_t *)seam->y + r * D;
        const float *dh = grads->dh + r * D;
        act_t *dy = (act_t *)grads->dy + r * D;
        float dot = grads->da ? seam_backward_next(seam, grads, r, dg_next_partial)
                              : seam_backward_dot(seam, y, dh);
        float rstd = seam->rstd_post[r];
        vf s = v_set1(rstd), mean = v_set1(dot / (float)D * rstd * rstd);
        VECTOR_LOOP(i, n, D, {
            vf x = act_load_n(y + i, n);
            vf d = v_load_n(dh + i, n);
            v_store_n(dg_post_partial + i, v_fma(d * x, s, v_load_n(dg_post_partial + i, n)), n);
            act_store_n(dy + i, s * v_fnma(x, mean, v_load_n(g_post + i, n) * d), n);
        });
    }
}

/* ------------------------------------------------------------------ rotation */

INLINE float act_scalar(act_t x)
{
#if ACT_IS_BF16
    return bf16_load(x);
#else
    return x;
#endif
}

INLINE act_t act_of_scalar(float x)
{
#if ACT_IS_BF16
    return bf16_store(x);
#else
    return x;
#endif
}

/* Neighbours form a pair. */
static void rope_pairs(int64_t h, const float *cosine, const float *sine, act_t *x)
{
    for (int64_t d = 0; d < h / 2; d++) {
        float a = act_scalar(x[2 * d]), b = act_scalar(x[2 * d + 1]);
        x[2 * d] = act_of_scalar(a * cosine[d] - b * sine[d]);
        x[2 * d + 1] = act_of_scalar(b * cosine[d] + a * sine[d]);
    }
}

static void x86_rope(const struct compute_rope *p, int64_t first, int64_t rows)
{
    int64_t h = p->h, half = h / 2, n_heads = p->n_heads;
    vf sign = v_set1(p->backward ? -1.0f : 1.0f);
    for (int64_t r = first; r < first + rows; r++) {
        const float *cosine = p->table + (p->position ? p->position[r] : r % p->T) * h;
        const float *sine = cosine + half;
        for (int64_t i = 0; i < n_heads; i++) {
            act_t *x = (act_t *)p->x + r * p->ld + i * h;
            if (p->pairs) {
                rope_pairs(h, cosine, sine, x);
                continue;
            }
            VECTOR_LOOP(d, n, half, {
                vf a = act_load_n(x + d, n);
                vf b = act_load_n(x + half + d, n);
                vf c = v_load_n(cosine + d, n);
                vf s = sign * v_load_n(sine + d, n);
                act_store_n(x + d, v_fms(a, c, b * s), n);
                act_store_n(x + half + d, v_fma(b, c, a * s), n);
            });
        }
    }
}

/* ------------------------------------------------------------------ heads and biases */

static void x86_head_norm(const struct compute_head_norm *norm, int64_t first, int64_t rows)
{
    for (int64_t r = first; r < first + rows; r++)
        for (int64_t i = 0; i < norm->n_heads; i++) {
            act_t *x = (act_t *)norm->x + r * norm->ld + i * norm->h;
            vf squares = v_zero();
            VECTOR_LOOP(d, n, norm->h, {
                vf v = act_load_n(x + d, n);
                squares = v_fma(v, v, squares);
            });
            vf s = v_set1(norm_scale(norm->h, v_sum(squares), norm->eps));
            VECTOR_LOOP(d, n, norm->h, {
                vf v = v_load_n(norm->g + d, n) * act_load_n(x + d, n) * s;
                act_store_n(x + d, v, n);
            });
        }
}

static void x86_bias(const struct compute_bias *b, int64_t first, int64_t rows)
{
    for (int64_t r = first; r < first + rows; r++) {
        act_t *x = (act_t *)b->x + r * b->ld;
        VECTOR_LOOP(i, n, b->n,
                    { act_store_n(x + i, act_load_n(x + i, n) + v_load_n(b->b + i, n), n); });
    }
}

#endif
