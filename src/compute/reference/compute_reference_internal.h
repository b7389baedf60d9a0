/* compute_reference_internal.h: the reference kernels that do not touch activations (fp32 only),
 * shared by the tables of both number formats. */
#ifndef COLOSSUS_COMPUTE_REFERENCE_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_INTERNAL_H

#include "compute/compute_internal.h"

extern const struct compute_kernels compute_reference_table_f32;
extern const struct compute_kernels compute_reference_table_bf16;

/* Gaussian error linear unit, tanh form (Hendrycks & Gimpel 2016, eq. 2), and its derivative. */
float compute_reference_gelu(float x);
float compute_reference_gelu_slope(float x);

/* The capped logit cap * tanh(x / cap) and its slope with respect to x as a function of the
 * capped value: 1 - (y / cap)^2. cap 0: off. */
float compute_reference_cap(float x, float cap);
float compute_reference_cap_slope(float y, float cap);

/* Factor on the scores of the query at position t (Grok-2's attention temperature). */
float compute_reference_temperature(int64_t t, int64_t temperature_len);

void compute_reference_embed(int64_t rows, int64_t D, const uint32_t *ids, const float *table,
                             float scale, float *h);
void compute_reference_embed_backward(int64_t M, int64_t D, int64_t d0, int64_t d1,
                                      const uint32_t *ids, const float *dh, float scale,
                                      float *d_table);
void compute_reference_logits(int64_t rows, int64_t V, float multiplier, float cap, float *z);
double compute_reference_sum_squares(size_t n, const float *x);
double compute_reference_sum(size_t n, const float *x);
bool compute_reference_all_finite(size_t n, const float *x);
void compute_reference_adamw(const struct compute_adamw *o, float bias1, float bias2, size_t n,
                             float *p, const float *g, float *m, float *v);
void compute_reference_momentum(size_t n, float beta, bool nesterov, float grad_scale,
                                const float *g, float *m, float *u);
void compute_reference_axpby(size_t n, float a, const float *x, float b, float *y);

#endif
