/* compute_reference_internal.h: the reference kernels that do not touch activations (fp32 only),
 * shared by the tables of both number formats. */
#ifndef COLOSSUS_COMPUTE_REFERENCE_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_INTERNAL_H

#include "compute/core/compute_kernels_internal.h"

extern const struct compute_kernels compute_reference_table_f32;
extern const struct compute_kernels compute_reference_table_bf16;
const struct compute_kernels *compute_kernels_reference(enum compute_dtype dtype);

/* Gaussian error linear unit, tanh form (Hendrycks & Gimpel 2016, eq. 2), and its derivative. */
float compute_reference_gelu(float x);
float compute_reference_gelu_slope(float x);

/* The capped logit cap * tanh(x / cap) and its slope with respect to x as a function of the
 * capped value: 1 - (y / cap)^2. cap 0: off. */
float compute_reference_cap(float x, float cap);
float compute_reference_cap_slope(float y, float cap);

/* Factor on the scores of the query at position t (Grok-2's attention temperature). */
float compute_reference_temperature(int64_t t, int64_t temperature_len);

void compute_reference_embed(const struct compute_embed *e, int64_t first, int64_t rows,
                             const float *table, float *h);
void compute_reference_embed_backward(const struct compute_embed *e, int64_t d0, int64_t d1,
                                      const float *dh, float *d_table);
void compute_reference_logits(int64_t rows, int64_t V, float multiplier, float cap, float *z);
void compute_reference_band(const struct compute_band *b);
double compute_reference_sum_squares(size_t n, const float *x);
bool compute_reference_all_finite(size_t n, const float *x);
void compute_reference_adamw(const struct compute_adamw *o, float bias1, float bias2, size_t first,
                             size_t n);
void compute_reference_momentum(const struct compute_momentum *o, size_t first, size_t n);
void compute_reference_axpby(size_t n, float a, const float *x, float b, float *y);

#endif
