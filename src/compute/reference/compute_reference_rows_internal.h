/* compute_reference_rows_internal.h: reference kernels that work row by row: conversion, norms,
 * the seam between sub-layers, rotation, the gated unit, and cross entropy.
 *
 * Included by compute_reference_{f32,bf16}.c only (see compute_reference_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_REFERENCE_ROWS_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_ROWS_INTERNAL_H

#include "compute/reference/compute_reference_act_internal.h"

/* ------------------------------------------------------------------ conversion */

static void ref_to_act(size_t n, const float *x, void *y_)
{
    act_t *y = y_;
    for (size_t i = 0; i < n; i++)
        y[i] = act_store(x[i]);
}

static void ref_from_act(size_t n, const void *x_, float *y)
{
    const act_t *x = x_;
    for (size_t i = 0; i < n; i++)
        y[i] = act_load(x[i]);
}

static void ref_scale(size_t n, float scale, const void *x_, void *y_)
{
    const act_t *x = x_;
    act_t *y = y_;
    for (size_t i = 0; i < n; i++)
        y[i] = act_store(scale * act_load(x[i]));
}

/* ------------------------------------------------------------------ norms */

static float rms_scale(int64_t D, double sum_squares, float eps)
{
    return (float)(1.0 / sqrt(sum_squares / (double)D + (double)eps));
}

static void ref_rmsnorm(int64_t rows, int64_t D, float eps, const float *x, const float *g,
                        void *y_, float *rstd)
{
    act_t *y = y_;
    for (int64_t r = 0; r < rows; r++, x += D, y += D) {
        float s = rms_scale(D, compute_reference_sum_squares((size_t)D, x), eps);
        for (int64_t d = 0; d < D; d++)
            y[d] = act_store(g[d] * x[d] * s);
        if (rstd) rstd[r] = s;
    }
}

/* With s = 1 / sqrt(mean(x^2) + eps), y = g x s and ds/dx_i = -s^3 x_i / D:
 *   dx_i = s (g_i dy_i - x_i s^2 mean(g dy x)),  dg_i = dy_i x_i s. */
static void ref_rmsnorm_backward(int64_t rows, int64_t D, const float *x, const float *g,
                                 const float *rstd, const void *dy_, float *dx, bool add,
                                 float *dg_partial)
{
    const act_t *dy = dy_;
    for (int64_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        float s = rstd[r];
        double dot = 0;
        for (int64_t d = 0; d < D; d++)
            dot += (double)(g[d] * act_load(dy[d])) * x[d];
        float mean = (float)(dot / (double)D) * s * s;
        for (int64_t d = 0; d < D; d++) {
            float grad = s * (g[d] * act_load(dy[d]) - x[d] * mean);
            dx[d] = add ? dx[d] + grad : grad;
            dg_partial[d] += act_load(dy[d]) * x[d] * s;
        }
    }
}

static void ref_seam_forward(const struct compute_seam *seam, int64_t rows)
{
    int64_t D = seam->D;
    const act_t *y = seam->y;
    const float *h = seam->h;
    float *h_out = seam->h_out;
    act_t *a = seam->a;
    for (int64_t r = 0; r < rows; r++, y += D, h += D, h_out += D, a += D) {
        double squares = 0;
        for (int64_t d = 0; d < D; d++)
            squares += (double)act_load(y[d]) * act_load(y[d]);
        float s = rms_scale(D, squares, seam->eps);
        for (int64_t d = 0; d < D; d++)
            h_out[d] = h[d] + seam->g_post[d] * act_load(y[d]) * s;
        seam->rstd_post[r] = s;
        ref_rmsnorm(1, D, seam->eps, h_out, seam->g_next, a, seam->rstd_next + r);
    }
}

/* First through the second norm, which adds to dh (the residual stream carries both); then dh is
 * also the gradient of rms(y; g_post). */
static void ref_seam_backward(const struct compute_seam *seam, int64_t rows, const void *da_,
                              float *dh, void *dy_, float *dg_post_partial, float *dg_next_partial)
{
    int64_t D = seam->D;
    const act_t *da = da_, *y = seam->y;
    const float *h_out = seam->h_out;
    act_t *dy = dy_;
    for (int64_t r = 0; r < rows; r++, da += D, y += D, h_out += D, dh += D, dy += D) {
        ref_rmsnorm_backward(1, D, h_out, seam->g_next, seam->rstd_next + r, da, dh, true,
                             dg_next_partial);
        float s = seam->rstd_post[r];
        double dot = 0;
        for (int64_t d = 0; d < D; d++)
            dot += (double)(seam->g_post[d] * dh[d]) * act_load(y[d]);
        float mean = (float)(dot / (double)D) * s * s;
        for (int64_t d = 0; d < D; d++) {
            float x = act_load(y[d]);
            dg_post_partial[d] += dh[d] * x * s;
            dy[d] = act_store(s * (seam->g_post[d] * dh[d] - x * mean));
        }
    }
}

/* ------------------------------------------------------------------ rotation */

static void ref_rope(int64_t rows, int64_t first_pos, int64_t T, int64_t row0, int64_t n_heads,
                     int64_t h, const float *table, bool backward, void *x_, int64_t ld)
{
    int64_t half = h / 2;
    for (int64_t r = 0; r < rows; r++) {
        const float *cosine = table + ((row0 + r) % T + first_pos) * h, *sine = cosine + half;
        for (int64_t i = 0; i < n_heads; i++) {
            act_t *x = (act_t *)x_ + r * ld + i * h;
            for (int64_t d = 0; d < half; d++) {
                float a = act_load(x[d]), b = act_load(x[d + half]);
                float s = backward ? -sine[d] : sine[d];
                x[d] = act_store(a * cosine[d] - b * s);
                x[d + half] = act_store(b * cosine[d] + a * s);
            }
        }
    }
}

/* ------------------------------------------------------------------ gated unit */

static void ref_glu_forward(int64_t rows, int64_t F, const void *gu_, const float *w, void *act_)
{
    const act_t *gu = gu_;
    act_t *act = act_;
    for (int64_t r = 0; r < rows; r++, gu += 2 * F, act += F) {
        float weight = w ? w[r] : 1.0f;
        for (int64_t f = 0; f < F; f++)
            act[f] =
                act_store(weight * compute_reference_gelu(act_load(gu[f])) * act_load(gu[F + f]));
    }
}

/* Each element is read whole before it is written: dgu may be gu, act may be d_act. */
static void ref_glu_backward(int64_t rows, int64_t F, const void *gu_, const float *w,
                             const void *d_act_, void *act_, void *dgu_, float *dw)
{
    const act_t *gu = gu_, *d_act = d_act_;
    act_t *act = act_, *dgu = dgu_;
    for (int64_t r = 0; r < rows; r++, gu += 2 * F, dgu += 2 * F, d_act += F, act += F) {
        float weight = w ? w[r] : 1.0f;
        double d_weight = 0;
        for (int64_t f = 0; f < F; f++) {
            float gate = act_load(gu[f]), up = act_load(gu[F + f]), d = act_load(d_act[f]);
            float gelu = compute_reference_gelu(gate);
            act[f] = act_store(weight * gelu * up);
            dgu[f] = act_store(d * weight * up * compute_reference_gelu_slope(gate));
            dgu[F + f] = act_store(d * weight * gelu);
            d_weight += (double)(d * gelu) * up;
        }
        if (dw) dw[r] = (float)d_weight;
    }
}

/* ------------------------------------------------------------------ loss */

/* With y = cap tanh(m z / cap) and p = softmax(y): dL/dz_i = (p_i - [i = target]) * slope * m. */
static void ref_cross_entropy(int64_t rows, int64_t V, const float *z, const uint32_t *targets,
                              float multiplier, float cap, float d_scale, float *nll,
                              void *d_logits)
{
    act_t *dz = d_logits;
    for (int64_t r = 0; r < rows; r++, z += V) {
        float largest = -INFINITY;
        for (int64_t i = 0; i < V; i++)
            largest = fmaxf(largest, compute_reference_cap(multiplier * z[i], cap));
        double sum = 0;
        for (int64_t i = 0; i < V; i++)
            sum += exp((double)(compute_reference_cap(multiplier * z[i], cap) - largest));
        double lse = (double)largest + log(sum);
        nll[r] = (float)(lse - (double)compute_reference_cap(multiplier * z[targets[r]], cap));
        if (!dz) continue;
        for (int64_t i = 0; i < V; i++) {
            float y = compute_reference_cap(multiplier * z[i], cap);
            double p = exp((double)y - lse) - (i == targets[r] ? 1.0 : 0.0);
            dz[r * V + i] =
                act_store((float)p * d_scale * multiplier * compute_reference_cap_slope(y, cap));
        }
    }
}

#endif
