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

/* 1 / sqrt(mean of squares + eps). */
static float rms_scale(int64_t D, double sum_squares, float eps)
{
    return (float)(1.0 / sqrt(sum_squares / (double)D + (double)eps));
}

static void ref_rmsnorm(const struct compute_norm *n, int64_t first, int64_t rows)
{
    int64_t D = n->D;
    for (int64_t r = first; r < first + rows; r++) {
        const float *x = n->x + r * D;
        act_t *y = (act_t *)n->y + r * D;
        float s = rms_scale(D, compute_reference_sum_squares((size_t)D, x), n->eps);
        for (int64_t d = 0; d < D; d++)
            y[d] = act_store(n->g[d] * x[d] * s);
        if (n->rstd) n->rstd[r] = s;
    }
}

/* With s = 1 / sqrt(mean(x^2) + eps), y = g x s and ds/dx_i = -s^3 x_i / D:
 *   dx_i = s (g_i dy_i - x_i s^2 mean(g dy x)),  dg_i = dy_i x_i s. */
static void ref_rmsnorm_backward(const struct compute_norm *n, const struct compute_norm_grad *grad,
                                 int64_t first, int64_t rows, float *dg_partial)
{
    int64_t D = n->D;
    for (int64_t r = first; r < first + rows; r++) {
        const float *x = n->x + r * D;
        const act_t *dy = (const act_t *)grad->dy + r * D;
        float *dx = grad->dx + r * D, s = n->rstd[r];
        double dot = 0;
        for (int64_t d = 0; d < D; d++)
            dot += (double)(n->g[d] * act_load(dy[d])) * x[d];
        float mean = (float)(dot / (double)D) * s * s;
        for (int64_t d = 0; d < D; d++) {
            float dxd = s * (n->g[d] * act_load(dy[d]) - x[d] * mean);
            dx[d] = grad->add ? dx[d] + dxd : dxd;
            dg_partial[d] += act_load(dy[d]) * x[d] * s;
        }
    }
}

/* The second norm of a seam: a = rms(h_out; g_next). */
static struct compute_norm seam_next(const struct compute_seam *seam)
{
    return (struct compute_norm){.D = seam->D,
                                 .eps = seam->eps,
                                 .x = seam->h_out,
                                 .g = seam->g_next,
                                 .y = seam->a,
                                 .rstd = seam->rstd_next};
}

static void ref_seam_forward(const struct compute_seam *seam, int64_t first, int64_t rows)
{
    int64_t D = seam->D;
    struct compute_norm next = seam_next(seam);
    for (int64_t r = first; r < first + rows; r++) {
        const act_t *y = (const act_t *)seam->y + r * D;
        const float *h = seam->h + r * D;
        float *h_out = seam->h_out + r * D;
        double squares = 0;
        for (int64_t d = 0; d < D && !seam->g_post; d++)
            h_out[d] = h[d] + seam->scale * act_load(y[d]);
        if (!seam->g_post) continue;
        for (int64_t d = 0; d < D; d++)
            squares += (double)act_load(y[d]) * act_load(y[d]);
        float s = rms_scale(D, squares, seam->eps);
        for (int64_t d = 0; d < D; d++)
            h_out[d] = h[d] + seam->g_post[d] * act_load(y[d]) * s;
        seam->rstd_post[r] = s;
    }
    if (!seam->a) return;
    if (seam->g_next)
        ref_rmsnorm(&next, first, rows);
    else
        ref_to_act((size_t)(rows * D), seam->h_out + first * D, (act_t *)seam->a + first * D);
}

/* First through the second norm, which adds to dh (the residual stream carries both); then dh is
 * also the gradient of rms(y; g_post). */
static void ref_seam_backward(const struct compute_seam *seam, const struct compute_seam_grad *grad,
                              int64_t first, int64_t rows, float *dg_post_partial,
                              float *dg_next_partial)
{
    int64_t D = seam->D;
    struct compute_norm next = seam_next(seam);
    struct compute_norm_grad next_grad = {.dy = grad->da, .dx = grad->dh, .add = true};
    if (grad->da) ref_rmsnorm_backward(&next, &next_grad, first, rows, dg_next_partial);
    for (int64_t r = first; r < first + rows && grad->dy; r++) {
        const act_t *y = (const act_t *)seam->y + r * D;
        const float *dh = grad->dh + r * D;
        act_t *dy = (act_t *)grad->dy + r * D;
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

static void ref_rope(const struct compute_rope *p, int64_t first, int64_t rows)
{
    int64_t half = p->h / 2, step = p->pairs ? 2 : 1, second = p->pairs ? 1 : half;
    for (int64_t r = first; r < first + rows; r++) {
        const float *cosine = p->table + (p->position ? p->position[r] : r % p->T) * p->h,
                    *sine = cosine + half;
        for (int64_t i = 0; i < p->n_heads; i++) {
            act_t *x = (act_t *)p->x + r * p->ld + i * p->h;
            for (int64_t d = 0; d < half; d++) {
                float a = act_load(x[d * step]), b = act_load(x[d * step + second]);
                float s = p->backward ? -sine[d] : sine[d];
                x[d * step] = act_store(a * cosine[d] - b * s);
                x[d * step + second] = act_store(b * cosine[d] + a * s);
            }
        }
    }
}

/* ------------------------------------------------------------------ heads and biases */

static void ref_head_norm(const struct compute_head_norm *n, int64_t first, int64_t rows)
{
    for (int64_t r = first; r < first + rows; r++)
        for (int64_t i = 0; i < n->n_heads; i++) {
            act_t *x = (act_t *)n->x + r * n->ld + i * n->h;
            double squares = 0;
            for (int64_t d = 0; d < n->h; d++)
                squares += (double)act_load(x[d]) * act_load(x[d]);
            float s = rms_scale(n->h, squares, n->eps);
            for (int64_t d = 0; d < n->h; d++)
                x[d] = act_store(n->g[d] * act_load(x[d]) * s);
        }
}

static void ref_bias(const struct compute_bias *b, int64_t first, int64_t rows)
{
    for (int64_t r = first; r < first + rows; r++) {
        act_t *x = (act_t *)b->x + r * b->ld;
        for (int64_t i = 0; i < b->n; i++)
            x[i] = act_store(act_load(x[i]) + b->b[i]);
    }
}

/* ------------------------------------------------------------------ gated unit */

static float activation(enum compute_activation kind, float x)
{
    return kind == COMPUTE_SILU ? x / (1.0f + expf(-x)) : compute_reference_gelu(x);
}

static void ref_glu_forward(const struct compute_glu *g, int64_t first, int64_t rows)
{
    int64_t F = g->F;
    for (int64_t r = first; r < first + rows; r++) {
        const act_t *gu = (const act_t *)g->gu + r * 2 * F;
        act_t *act = (act_t *)g->act + r * F;
        float weight = g->w ? g->w[r] : 1.0f;
        for (int64_t f = 0; f < F; f++)
            act[f] = act_store(weight * activation(g->activation, act_load(gu[f])) *
                               act_load(gu[F + f]));
    }
}

/* Each element is read whole before it is written: dgu may be gu, act may be d_act. */
static void ref_glu_backward(const struct compute_glu *g, const struct compute_glu_grad *grad,
                             int64_t first, int64_t rows)
{
    int64_t F = g->F;
    for (int64_t r = first; r < first + rows; r++) {
        const act_t *gu = (const act_t *)g->gu + r * 2 * F;
        const act_t *d_act = (const act_t *)grad->d_act + r * F;
        act_t *act = (act_t *)g->act + r * F, *dgu = (act_t *)grad->dgu + r * 2 * F;
        float weight = g->w ? g->w[r] : 1.0f;
        double d_weight = 0;
        for (int64_t f = 0; f < F; f++) {
            float gate = act_load(gu[f]), up = act_load(gu[F + f]), d = act_load(d_act[f]);
            float gelu = compute_reference_gelu(gate);
            act[f] = act_store(weight * gelu * up);
            dgu[f] = act_store(d * weight * up * compute_reference_gelu_slope(gate));
            dgu[F + f] = act_store(d * weight * gelu);
            d_weight += (double)(d * gelu) * up;
        }
        if (grad->dw) grad->dw[r] = (float)d_weight;
    }
}

/* ------------------------------------------------------------------ loss */

/* Of a row: the logarithm of the sum of exponentials, as given or of the logits that are here. */
static double ref_loss_sum(const struct compute_loss *l, int64_t r)
{
    const float *z = l->z + r * l->V;
    float largest = -INFINITY;
    double sum = 0;
    if (l->step == COMPUTE_LOSS_GRADIENT) return (double)l->lse[r];
    for (int64_t i = 0; i < l->V; i++)
        largest = fmaxf(largest, compute_reference_cap(l->multiplier * z[i], l->cap));
    for (int64_t i = 0; i < l->V; i++)
        sum += exp((double)(compute_reference_cap(l->multiplier * z[i], l->cap) - largest));
    return (double)largest + log(sum);
}

/* With y = cap tanh(m z / cap) and p = softmax(y): dL/dz_i = (p_i - [i = target]) * slope * m. */
static void ref_cross_entropy(const struct compute_loss *l, int64_t first, int64_t rows)
{
    act_t *dz = l->step == COMPUTE_LOSS_SUM ? NULL : l->d_logits;
    int64_t V = l->V;
    float multiplier = l->multiplier, cap = l->cap;
    for (int64_t r = first; r < first + rows; r++) {
        const float *z = l->z + r * V;
        int64_t target = compute_loss_target(l, r);
        double lse = ref_loss_sum(l, r);
        if (l->step != COMPUTE_LOSS_GRADIENT) {
            double sum = l->step == COMPUTE_LOSS_WHOLE ? lse : 0;
            double y = target < 0 ? 0 : compute_reference_cap(multiplier * z[target], cap);
            l->nll[r] = (float)(sum - y);
        }
        if (l->step == COMPUTE_LOSS_SUM) l->lse[r] = (float)lse;
        if (!dz) continue;
        for (int64_t i = 0; i < V; i++) {
            float y = compute_reference_cap(multiplier * z[i], cap);
            double p = exp((double)y - lse) - (i == target ? 1.0 : 0.0);
            dz[r * V + i] =
                act_store((float)p * l->d_scale * multiplier * compute_reference_cap_slope(y, cap));
        }
    }
}

/* Element k of column n of a panel. */
static float panel_element(const struct compute_panel *p, int64_t k, int64_t n)
{
#if ACT_IS_BF16
    return act_load(((const act_t *)p->w)[((k / 2) * COMPUTE_PANEL + n) * 2 + k % 2]);
#else
    return act_load(((const act_t *)p->w)[k * COMPUTE_PANEL + n]);
#endif
}

static void ref_panel(const struct compute_panel *p)
{
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t n = 0; n < COMPUTE_PANEL; n++) {
            float *c = &p->c[r * COMPUTE_PANEL + n], sum = p->add ? *c : 0;
            for (int64_t k = 0; k < p->K; k++)
                sum += act_load(((const act_t *)p->x)[r * p->ld + k]) * panel_element(p, k, n);
            *c = sum;
        }
}

/* Numbers that are not finite show in the scale, and so in every result of the row. */
static void ref_round(int64_t blocks, const void *x, const struct compute_rounded *to)
{
    for (int64_t b = 0; b < blocks; b++) {
        const act_t *from = (const act_t *)x + b * 32;
        float most = 0;
        for (int i = 0; i < 32; i++) {
            float size = fabsf(act_load(from[i]));
            if (!(size <= most)) most = isnan(most) ? most : size;
        }
        bool none = most < COMPUTE_ROUND_LEAST, rounds = !none && isfinite(most);
        float inverse = rounds ? COMPUTE_ROUND_MOST / most : 0;
        int32_t sums[2] = {0, 0};
        for (int i = 0; i < 32; i++) {
            int16_t whole = rounds ? (int16_t)lrintf(act_load(from[i]) * inverse) : 0;
            to->x[b * 32 + i] = whole;
            sums[i / 16] += whole;
        }
        to->scales[b] = none ? 0 : most / COMPUTE_ROUND_MOST;
        to->sums[b] = (float)(sums[0] + sums[1]) * to->scales[b];
        to->parts[2 * b] = sums[0];
        to->parts[2 * b + 1] = sums[1];
    }
}

#endif
