/* compute_gpu_driver_internal.h: one NVIDIA GPU by the functions of its driver, libcuda, which is opened
 * when the program runs: a build needs no CUDA, and the same program runs where there is no GPU.
 *
 * What fails to open is an error with its cure. What fails later ends the process with exit code 75 and
 * a line that names the GPU and the operation: nothing on a GPU that has failed once can be believed. */
#ifndef COLOSSUS_COMPUTE_GPU_DRIVER_INTERNAL_H
#define COLOSSUS_COMPUTE_GPU_DRIVER_INTERNAL_H

#include "compute/cuda/compute_cuda_internal.h"

struct gpu;
/* GPU `number`, from 0 on. */
int gpu_open(int number, struct gpu **out, struct error *e);
void gpu_close(struct gpu *g);
const char *gpu_name(const struct gpu *g);
/* Compute capability, as 90. */
int gpu_form(const struct gpu *g);

/* Memory; NULL where there is none. At a multiple of 256 bytes. */
void *gpu_alloc(struct gpu *g, size_t bytes);
void gpu_free(struct gpu *g, void *memory);
void gpu_upload(struct gpu *g, void *to, const void *from, size_t bytes);
void gpu_download(struct gpu *g, void *to, const void *from,
                  size_t bytes);                                        /* behind all launches */
void gpu_copy(struct gpu *g, void *to, const void *from, size_t bytes); /* must not overlap */
void gpu_clear(struct gpu *g, void *to, size_t bytes);

/* The two functions, and the third on Hopper, of struct compute_cuda; `device` is a struct gpu. */
void gpu_launch(void *device, const struct compute_cuda_launch *l);
void *gpu_scratch(void *device, size_t bytes);
bool gpu_tensor_map(void *device, const void *matrix, int64_t width, int64_t rows,
                    struct cuda_tensor_map *out);
/* Another such block of memory, for what the host sends up for an operation. */
void *gpu_staging(struct gpu *g, size_t bytes);

#endif
