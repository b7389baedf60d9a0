/* compute_reference_experts_internal.h: reference kernels around the experts: router,
 * combine; and the plain matrix product.
 *
 * Included by compute_reference_{f32,bf16}.c only (see compute_reference_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_REFERENCE_EXPERTS_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_EXPERTS_INTERNAL_H

#include "compute/reference/compute_reference_act_internal.h"

/* ------------------------------------------------------------------ router */

/* probs = softmax(logits) in place; returns the logsumexp. */
static float router_softmax(int64_t E, float *logits)
{
    float largest = -INFINITY;
    for (int64_t e = 0; e < E; e++)
        largest = fmaxf(largest, logits[e]);
    double sum = 0;
    for (int64_t e = 0; e < E; e++)
        sum += exp((double)(logits[e] - largest));
    float lse = (float)((double)largest + log(sum));
    for (int64_t e = 0; e < E; e++)
        logits[e] = (float)(exp((double)(logits[e] - largest)) / sum);
    return lse;
}

/* The k experts with the largest probs + bias, best first, ties to the smaller index. */
static void router_select(const struct compute_router *r, const float *probs, int32_t *top,
                          float *weight)
{
    for (int64_t j = 0; j < r->k; j++) {
        int64_t best = -1;
        float best_score = 0;
        for (int64_t e = 0; e < r->E; e++) {
            bool taken = false;
            for (int64_t i = 0; i < j; i++)
                taken = taken || top[i] == e;
            float score = probs[e] + (r->bias ? r->bias[e] : 0.0f);
            if (!taken && (best < 0 || score > best_score)) {
                best = e;
                best_score = score;
            }
        }
        top[j] = (int32_t)best;
        weight[j] = probs[best];
    }
}

static void ref_router_forward(const struct compute_router *r, int64_t first, int64_t rows)
{
    for (int64_t m = first; m < first + rows; m++) {
        const act_t *x = (const act_t *)r->x + m * r->D;
        float *probs = r->probs + m * r->E;
        for (int64_t e = 0; e < r->E; e++) {
            double logit = 0;
            for (int64_t d = 0; d < r->D; d++)
                logit += (double)act_load(x[d]) * r->W[e * r->D + d];
            probs[e] = compute_reference_cap((float)logit, r->cap);
        }
        r->lse[m] = router_softmax(r->E, probs);
        router_select(r, probs, r->top + m * r->k, r->weight + m * r->k);
    }
}

/* Gradient of the raw logits of row m, into d [E]. The capped logit is log p + lse; where p has
 * underflowed to 0 everything below is 0 times a finite slope. */
static void router_logit_gradient(const struct compute_router *r,
                                  const struct compute_router_grad *grad, int64_t m, float *d)
{
    const float *p = r->probs + m * r->E;
    double mean = 0;
    for (int64_t e = 0; e < r->E; e++) {
        d[e] = grad->aux_coef * (float)r->E * (grad->f ? grad->f[e] : 0.0f) / (float)r->M;
        for (int64_t j = 0; j < r->k; j++)
            if (r->top[m * r->k + j] == e) d[e] += grad->d_weight[m * r->k + j];
        mean += (double)p[e] * d[e];
    }
    for (int64_t e = 0; e < r->E; e++) {
        float logit = p[e] > 0 ? logf(p[e]) + r->lse[m] : 0.0f;
        d[e] = p[e] * (d[e] - (float)mean + 2.0f * grad->z_coef * r->lse[m] / (float)r->M) *
               compute_reference_cap_slope(logit, r->cap);
    }
}

/* dx = d_logit . W and dW += d_logit^T x, row by row. */
static void ref_router_backward(const struct compute_router *r,
                                const struct compute_router_grad *grad, int64_t first, int64_t rows,
                                float *dW_partial)
{
    float d[COMPUTE_MAX_EXPERTS];
    for (int64_t m = first; m < first + rows; m++) {
        const act_t *x = (const act_t *)r->x + m * r->D;
        router_logit_gradient(r, grad, m, d);
        for (int64_t i = 0; i < r->D; i++) {
            double sum = 0;
            for (int64_t e = 0; e < r->E; e++) {
                sum += (double)d[e] * r->W[e * r->D + i];
                dW_partial[e * r->D + i] += d[e] * act_load(x[i]);
            }
            grad->dx[m * r->D + i] = (float)sum;
        }
    }
}

/* ------------------------------------------------------------------ combine */

static void ref_combine(const struct compute_combine *c, int64_t first, int64_t rows)
{
    const act_t *y = c->y, *a = c->a;
    act_t *out = c->out;
    for (int64_t m = first; m < first + rows; m++)
        for (int64_t d = 0; d < c->D; d++) {
            float sum = 0;
            for (int64_t j = 0; j < c->k; j++)
                sum += act_load(y[c->slot_row[m * c->k + j] * c->D + d]);
            if (a) sum += act_load(a[m * c->D + d]);
            if (c->b) sum += c->b[m * c->D + d];
            out[m * c->D + d] = act_store(c->scale * sum);
        }
}

/* ------------------------------------------------------------------ matrix product */

static void ref_matmul(const struct compute_matmul *m)
{
    const act_t *A = m->A, *B = m->B;
    bool ta = m->transpose_a, tb = m->transpose_b;
    int64_t a_row = ta ? 1 : m->lda, a_col = ta ? m->lda : 1; /* strides of op(A) */
    int64_t b_row = tb ? 1 : m->ldb, b_col = tb ? m->ldb : 1;
    for (int64_t i = 0; i < m->M; i++)
        for (int64_t j = 0; j < m->N; j++) {
            float sum = 0;
            for (int64_t p = 0; p < m->K; p++)
                sum += act_load(A[i * a_row + p * a_col]) * act_load(B[p * b_row + j * b_col]);
            sum *= m->alpha;
            if (m->out == COMPUTE_F32) {
                float *c = (float *)m->C + i * m->ldc + j;
                *c = m->beta != 0 ? sum + m->beta * *c : sum;
            } else {
                bf16_t *c = (bf16_t *)m->C + i * m->ldc + j;
                *c = bf16_store(m->beta != 0 ? sum + m->beta * bf16_load(*c) : sum);
            }
        }
}

#endif
