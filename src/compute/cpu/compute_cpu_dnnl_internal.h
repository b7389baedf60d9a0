/* compute_cpu_dnnl_internal.h: matrix products by oneDNN, each on one thread.
 *
 * A product is a primitive for one exact shape, found or made once by the thread that starts an
 * operation, then run by any thread of the pool on tiles of that shape. Since a tile is always
 * computed by one thread with one primitive, results do not depend on how many threads there are.
 */
#ifndef COLOSSUS_COMPUTE_CPU_DNNL_INTERNAL_H
#define COLOSSUS_COMPUTE_CPU_DNNL_INTERNAL_H

#include "compute/core/compute_linear_internal.h"

/* C[M, N] = alpha * A[M, K] . B[K, N] + beta * C. Strides are in elements; one stride of A and one
 * of B is 1. b_packed: B is in the layout that this product's pack makes, strides are those of
 * the plain array that is packed. C rows are ldc apart. Fastest where no operand has gaps. */
struct product_key {
    int64_t M, N, K, a_row, a_col, b_row, b_col, ldc;
    enum compute_dtype in, out;
    float alpha, beta;
    bool b_packed;
};

struct dnnl_product;

int compute_dnnl_new(compute_t *c, struct compute_dnnl **out, struct error *e);
void compute_dnnl_free(struct compute_dnnl *d);
const char *compute_dnnl_label(const struct compute_dnnl *d); /* " + oneDNN (...)" */

/* Finds or makes a product. Inside a task it must find: make all of them before pool_run. */
struct dnnl_product *compute_dnnl_product(compute_t *c, const struct product_key *key);
/* Bytes of working memory one thread needs to run it; 64-byte aligned. */
size_t compute_dnnl_scratch(const struct dnnl_product *p);
/* The packed form of B: bytes, and making it (on the calling thread of index `thread`). Products
 * that differ only in M and the strides and format of A and C share it. */
size_t compute_dnnl_packed_bytes(const struct dnnl_product *p);
void compute_dnnl_pack(struct dnnl_product *p, int thread, const void *plain, void *packed,
                       void *scratch);
void compute_dnnl_run(struct dnnl_product *p, int thread, const void *A, const void *B, void *C,
                      void *scratch);

/* Linear layers by such products (compute_cpu_linear_dnnl.c). */
extern const struct linear_ops compute_linear_dnnl;

#endif
