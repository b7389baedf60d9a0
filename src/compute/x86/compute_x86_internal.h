/* compute_x86_internal.h: what the files of compute/x86 share: their tables and the temperature of
 * attention scores. Plain C: it may be included by files without any -m flag. */
#ifndef COLOSSUS_COMPUTE_X86_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_INTERNAL_H

#include "compute/core/compute_kernels_internal.h"

extern const struct compute_kernels compute_x86_f32_avx2, compute_x86_bf16_avx2;
extern const struct compute_kernels compute_x86_f32_avx512, compute_x86_bf16_avx512;

/* Attention by AMX tiles (compute_x86_attention_amx.c); the other entries of its table are those
 * of compute_x86_bf16_avx512. */
size_t compute_x86_amx_attention_scratch(int64_t T, int64_t h);
size_t compute_x86_amx_forward_scratch(int64_t T, int64_t h); /* its part for forward */
void compute_x86_amx_attention_forward(const struct compute_attention *a, int64_t b, int64_t head,
                                       int64_t t0, int64_t t1, void *scratch);
void compute_x86_amx_attention_backward(const struct compute_attention *a,
                                        const struct compute_attention_grad *d, int64_t b,
                                        int64_t kv, void *scratch);

/* Products for inference by AVX512-BF16 (compute_x86_panels_avx512bf16.c). */
void compute_x86_panel_dot(const struct compute_panel *p);
/* Products with codes by AVX512-VNNI (compute_x86_codes_avx512vnni.c). */
void compute_x86_band_dot(const struct compute_band *b);
/* Attention over pages by AVX512-BF16 (compute_x86_paged_avx512bf16.c). */
size_t compute_x86_paged_dot_scratch(int64_t rows, int64_t h);
size_t compute_x86_paged_dot_floats(int64_t rows, int64_t h);
void compute_x86_paged_dot(const struct compute_paged_part *t, void *scratch);
void compute_x86_paged_dot_sum(const struct compute_paged_part *t, void *scratch);
void compute_x86_paged_dot_join(const struct compute_paged_part *t, void *scratch);

/* Factors on the scores of queries t .. t + n - 1 (1 where there is no temperature), times
 * `scale`. */
void compute_x86_temperatures(int64_t t, int64_t n, int64_t temperature_len, float scale,
                              float *out);

/* For tests and benchmarks: the vector functions on arrays, and the speed of this CPU's arithmetic
 * (runs `steps` rounds and returns the floating-point operations they were). */
struct compute_x86_probe {
    void (*exp2)(size_t n, const float *x, float *y);
    void (*tanh)(size_t n, const float *x, float *y);
    void (*log)(size_t n, const float *x, float *y);
    void (*exp2_low)(size_t n, const float *x, float *y); /* these two with AVX-512 only */
    void (*tanh_low)(size_t n, const float *x, float *y);
    double (*multiply_add)(int64_t steps);
};
extern const struct compute_x86_probe compute_x86_probe_avx2, compute_x86_probe_avx512;
double compute_x86_probe_amx(int64_t steps);

/* The table for a format, or NULL where this CPU lacks the instructions. */
const struct compute_kernels *compute_kernels_avx2(enum compute_dtype dtype);
const struct compute_kernels *compute_kernels_avx512(enum compute_dtype dtype);
bool compute_x86_has_amx(void); /* also asks the kernel for the tile state, once */

#endif
