/* compute_reference_plain.c: the reference kernels on fp32 arrays alone: embedding, logits,
 * reductions and optimisers, and the scalar functions that the other kernels share.
 *
 * The reference is the definition that every fast kernel is tested against. It is written as the
 * formulas stand in the papers, one element after the other; sums over a row run in double, so
 * that what a test finds is the fast kernel's rounding and not this one's. */
#include <math.h>

#include "compute/reference/compute_reference_internal.h"

#define SQRT_2_OVER_PI 0.79788456080286535588f
#define GELU_CUBIC     0.044715f

const struct compute_kernels *compute_kernels_reference(enum compute_dtype dtype)
{
    return dtype == COMPUTE_F32 ? &compute_reference_table_f32 : &compute_reference_table_bf16;
}

/* ------------------------------------------------------------------ scalar functions */

float compute_reference_gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
}

float compute_reference_gelu_slope(float x)
{
    float t = tanhf(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x));
    float inner_slope = SQRT_2_OVER_PI * (1.0f + 3.0f * GELU_CUBIC * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner_slope;
}

float compute_reference_cap(float x, float cap)
{
    return cap > 0 ? cap * tanhf(x / cap) : x;
}

float compute_reference_cap_slope(float y, float cap)
{
    return cap > 0 ? 1.0f - (y / cap) * (y / cap) : 1.0f;
}

float compute_reference_temperature(int64_t t, int64_t temperature_len)
{
    if (temperature_len <= 0 || t <= temperature_len) return 1.0f;
    return (float)(log2((double)t) / log2((double)temperature_len));
}

/* ------------------------------------------------------------------ embedding and logits */

void compute_reference_embed(const struct compute_embed *e, int64_t first, int64_t rows,
                             const float *table, float *h)
{
    for (int64_t m = first; m < first + rows; m++) {
        int64_t row = compute_embed_row(e, m);
        for (int64_t d = 0; d < e->D; d++)
            h[m * e->D + d] = row < 0 ? 0 : e->scale * table[row * e->D + d];
    }
}

void compute_reference_embed_backward(const struct compute_embed *e, int64_t d0, int64_t d1,
                                      const float *dh, float *d_table)
{
    for (int64_t m = 0; m < e->M; m++) {
        int64_t row = compute_embed_row(e, m);
        for (int64_t d = d0; d < d1 && row >= 0; d++)
            d_table[row * e->D + d] += e->scale * dh[m * e->D + d];
    }
}

void compute_reference_logits(int64_t rows, int64_t V, float multiplier, float cap, float *z)
{
    for (int64_t i = 0; i < rows * V; i++)
        z[i] = compute_reference_cap(multiplier * z[i], cap);
}

/* ------------------------------------------------------------------ reductions */

double compute_reference_sum_squares(size_t n, const float *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

bool compute_reference_all_finite(size_t n, const float *x)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* ------------------------------------------------------------------ optimisers */

void compute_reference_adamw(const struct compute_adamw *o, float bias1, float bias2, size_t first,
                             size_t n)
{
    float *p = o->p, *m = o->m, *v = o->v;
    for (size_t i = first; i < first + n; i++) {
        float grad = o->grad_scale * o->g[i];
        m[i] = o->beta1 * m[i] + (1.0f - o->beta1) * grad;
        v[i] = o->beta2 * v[i] + (1.0f - o->beta2) * grad * grad;
        float m_hat = m[i] / bias1, v_hat = v[i] / bias2;
        p[i] -= o->lr * (m_hat / (sqrtf(v_hat) + o->eps) + o->decay * p[i]);
    }
}

void compute_reference_momentum(const struct compute_momentum *o, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        float grad = o->grad_scale * o->g[i];
        o->m[i] = o->beta * o->m[i] + grad;
        o->u[i] = o->nesterov ? grad + o->beta * o->m[i] : o->m[i];
    }
}

void compute_reference_axpby(size_t n, float a, const float *x, float b, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a * x[i] + b * y[i];
}
