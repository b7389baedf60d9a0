/* cuda_check.h: kernels in the emulator beside the reference kernels (compute/reference/), on shapes
 * that meet every tail, under several schedules.
 *
 * A check makes its input, runs an operation of compute_cuda_internal.h on device memory and the
 * reference on the host, and compares with want_*. Under every further schedule the bits must be the
 * ones of the first. */
#ifndef CUDA_CHECK_H
#define CUDA_CHECK_H

#include "compute/cuda/compute_cuda_internal.h"
#include "compute/reference/compute_reference_internal.h"
#include "emu.h"

struct check {
    const char *name;
    void (*run)(void);
};
extern const struct check row_checks[], expert_checks[], vector_checks[], attention_checks[],
    product_checks[]; /* each ends with a row without a name */

extern struct compute_cuda cuda;                /* its launches go to the emulator */
extern const struct compute_kernels *reference; /* of cuda.dtype */
extern const char *check_case;                  /* the shape at work, for a message */

/* Memory on the host until the case ends: zeros, or random numbers of about the size `scale`. Act
 * arrays are of cuda.dtype. */
void *host_zeros(size_t bytes);
float *host_random(size_t n, float scale);
void *host_act(size_t n, float scale);
float act_at(const void *x, int64_t i);
uint32_t random_below(uint32_t n);
size_t act_bytes(size_t n);
/* A copy on the device; device memory that nobody wrote yet. */
void *device_copy(const void *host, size_t bytes);
void *device_new(size_t bytes);
/* Begins a case: memory of the one before is gone, and random numbers start anew. */
void begin_case(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Numbers on the device beside those of the reference: each may be off by `bound` times the largest
 * magnitude of the latter. bf16 results may round to the neighbour as well. */
void want_f32(const char *what, const float *got, const float *want, size_t n, float bound);
void want_act(const char *what, const void *got, const void *want, size_t n, float bound);
void want_bytes(const char *what, const void *got, const void *want, size_t bytes);

/* For every format of activations: sets cuda.dtype and reference. */
#define FOR_FORMATS for (int format_ = 0; check_format(format_); format_++)
bool check_format(int format);

#endif
