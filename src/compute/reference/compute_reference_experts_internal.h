/* compute_reference_experts_internal.h: reference kernels around the experts: router, gather,
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

static void ref_router_forward(const struct compute_router *r, int64_t rows)
{
    for (int64_t m = 0; m < rows; m++) {
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
static void router_logit_gradient(const struct compute_router *r, int64_t m, int64_t M_total,
                                  const float *d_weight, const float *f, float aux_coef,
                                  float z_coef, float *d)
{
    const float *p = r->probs + m * r->E;
    double mean = 0;
    for (int64_t e = 0; e < r->E; e++) {
        d[e] = aux_coef * (float)r->E * (f ? f[e] : 0.0f) / (float)M_total;
        for (int64_t j = 0; j < r->k; j++)
            if (r->top[m * r->k + j] == e) d[e] += d_weight[m * r->k + j];
        mean += (double)p[e] * d[e];
    }
    for (int64_t e = 0; e < r->E; e++) {
        float logit = p[e] > 0 ? logf(p[e]) + r->lse[m] : 0.0f;
        d[e] = p[e] * (d[e] - (float)mean + 2.0f * z_coef * r->lse[m] / (float)M_total) *
               compute_reference_cap_slope(logit, r->cap);
    }
}

/* dx = d_logit . W and dW += d_logit^T x, row by row. */
static void ref_router_backward(const struct compute_router *r, int64_t rows, int64_t M_total,
                                const float *d_weight, const float *f, float aux_coef, float z_coef,
                                float *dx, float *dW_partial)
{
    float d[COMPUTE_MAX_EXPERTS];
    for (int64_t m = 0; m < rows; m++) {
        const act_t *x = (const act_t *)r->x + m * r->D;
        router_logit_gradient(r, m, M_total, d_weight, f, aux_coef, z_coef, d);
        for (int64_t i = 0; i < r->D; i++) {
            double sum = 0;
            for (int64_t e = 0; e < r->E; e++) {
                sum += (double)d[e] * r->W[e * r->D + i];
                dW_partial[e * r->D + i] += d[e] * act_load(x[i]);
            }
            dx[m * r->D + i] = (float)sum;
        }
    }
}

/* ------------------------------------------------------------------ dispatch */

static void ref_gather(int64_t rows, int64_t D, const int32_t *row_token, const void *x, void *y)
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

static void ref_combine(int64_t rows, int64_t D, int64_t k, const int32_t *slot_row, const void *y,
                        const void *a, const float *b, float scale, void *out)
{
    for (int64_t m = 0; m < rows; m++)
        for (int64_t d = 0; d < D; d++) {
            float sum = 0;
            for (int64_t j = 0; j < k; j++)
                sum += act_load(((const act_t *)y)[slot_row[m * k + j] * D + d]);
            if (a) sum += act_load(((const act_t *)a)[m * D + d]);
            if (b) sum += b[m * D + d];
            ((act_t *)out)[m * D + d] = act_store(scale * sum);
        }
}

/* ------------------------------------------------------------------ matrix product */

static void ref_matmul(bool ta, bool tb, int64_t M, int64_t N, int64_t K, float alpha,
                       const void *A_, int64_t lda, const void *B_, int64_t ldb, float beta,
                       void *C, enum compute_dtype c_dtype, int64_t ldc)
{
    const act_t *A = A_, *B = B_;
    int64_t a_row = ta ? 1 : lda, a_col = ta ? lda : 1; /* strides of op(A) */
    int64_t b_row = tb ? 1 : ldb, b_col = tb ? ldb : 1;
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            float sum = 0;
            for (int64_t p = 0; p < K; p++)
                sum += act_load(A[i * a_row + p * a_col]) * act_load(B[p * b_row + j * b_col]);
            if (c_dtype == COMPUTE_F32) {
                float *c = (float *)C + i * ldc + j;
                *c = beta != 0 ? alpha * sum + beta * *c : alpha * sum;
            } else {
                bf16_t *c = (bf16_t *)C + i * ldc + j;
                *c = bf16_store(beta != 0 ? alpha * sum + beta * bf16_load(*c) : alpha * sum);
            }
        }
}

#endif
