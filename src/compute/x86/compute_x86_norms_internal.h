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

static void x86_rmsnorm(int64_t rows, int64_t D, float eps, const float *x, const float *g, void *y,
                        float *rstd)
{
    for (int64_t r = 0; r < rows; r++, x += D) {
        vf squares = v_zero();
        VECTOR_LOOP(i, n, D, {
            vf v = v_load_n(x + i, n);
            squares = v_fma(v, v, squares);
        });
        float s = norm_apply(D, eps, v_sum(squares), x, g, (act_t *)y + r * D);
        if (rstd) rstd[r] = s;
    }
}

/* dx_i = s (g_i dy_i - x_i s^2 mean(g dy x)),  dg_i += dy_i x_i s  (see the reference). */
static void x86_rmsnorm_backward(int64_t rows, int64_t D, const float *x, const float *g,
                                 const float *rstd, const void *dy_, float *dx, bool add,
                                 float *dg_partial)
{
    const act_t *dy = dy_;
    for (int64_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        vf dot = v_zero(), s = v_set1(rstd[r]);
        VECTOR_LOOP(i, n, D, {
            vf along = act_load_n(dy + i, n) * v_load_n(x + i, n);
            dot = v_fma(v_load_n(g + i, n), along, dot);
        });
        vf mean = v_set1(v_sum(dot) / (float)D * rstd[r] * rstd[r]);
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

static void x86_seam_forward(const struct compute_seam *seam, int64_t rows)
{
    int64_t D = seam->D;
    const act_t *y = seam->y;
    const float *h = seam->h, *g = seam->g_post;
    float *h_out = seam->h_out;
    for (int64_t r = 0; r < rows; r++, y += D, h += D, h_out += D) {
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

/* The part of one row behind the residual sum: dh += backward of a = rms(h_out; g_next). Returns
 * g_post . dh . y, which the norm in front needs. */
INLINE float seam_backward_next(int64_t D, const struct compute_seam *seam, float rstd,
                                const float *h_out, const act_t *y, const act_t *da, float *dh,
                                float *dg_next)
{
    vf dot = v_zero(), s = v_set1(rstd);
    VECTOR_LOOP(i, n, D, {
        vf along = act_load_n(da + i, n) * v_load_n(h_out + i, n);
        dot = v_fma(v_load_n(seam->g_next + i, n), along, dot);
    });
    vf mean = v_set1(v_sum(dot) / (float)D * rstd * rstd);
    dot = v_zero();
    VECTOR_LOOP(i, n, D, {
        vf x = v_load_n(h_out + i, n);
        vf dai = act_load_n(da + i, n);
        vf grad = v_fnma(x, mean, v_load_n(seam->g_next + i, n) * dai);
        vf total = v_fma(s, grad, v_load_n(dh + i, n));
        v_store_n(dh + i, total, n);
        v_store_n(dg_next + i, v_fma(dai * x, s, v_load_n(dg_next + i, n)), n);
        dot = v_fma(v_load_n(seam->g_post + i, n), total * act_load_n(y + i, n), dot);
    });
    return v_sum(dot);
}

static void x86_seam_backward(const struct compute_seam *seam, int64_t rows, const void *da,
                              float *dh, void *dy_, float *dg_post_partial, float *dg_next_partial)
{
    int64_t D = seam->D;
    const act_t *y = seam->y;
    act_t *dy = dy_;
    for (int64_t r = 0; r < rows; r++, y += D, dh += D, dy += D) {
        float dot = seam_backward_next(D, seam, seam->rstd_next[r], seam->h_out + r * D, y,
                                       (const act_t *)da + r * D, dh, dg_next_partial);
        float rstd = seam->rstd_post[r];
        vf s = v_set1(rstd), mean = v_set1(dot / (float)D * rstd * rstd);
        VECTOR_LOOP(i, n, D, {
            vf x = act_load_n(y + i, n);
            vf d = v_load_n(dh + i, n);
            v_store_n(dg_post_partial + i, v_fma(d * x, s, v_load_n(dg_post_partial + i, n)), n);
            act_store_n(dy + i, s * v_fnma(x, mean, v_load_n(seam->g_post + i, n) * d), n);
        });
    }
}

/* ------------------------------------------------------------------ rotation */

static void x86_rope(int64_t rows, int64_t first_pos, int64_t T, int64_t row0, int64_t n_heads,
                     int64_t h, const float *table, bool backward, void *x_, int64_t ld)
{
    int64_t half = h / 2;
    vf sign = v_set1(backward ? -1.0f : 1.0f);
    for (int64_t r = 0; r < rows; r++) {
        const float *cosine = table + ((row0 + r) % T + first_pos) * h, *sine = cosine + half;
        for (int64_t i = 0; i < n_heads; i++) {
            act_t *x = (act_t *)x_ + r * ld + i * h;
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

#endif
