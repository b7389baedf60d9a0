/* compute_matmul_internal.h: the arguments of compute_matmul, for its implementations. */
#ifndef COLOSSUS_COMPUTE_MATMUL_INTERNAL_H
#define COLOSSUS_COMPUTE_MATMUL_INTERNAL_H

#include "compute/compute_internal.h"

/* C[M, N] = alpha * op(A) . op(B) + beta * C. */
struct matmul_call {
    bool ta, tb;
    int64_t M, N, K, lda, ldb, ldc;
    float alpha, beta;
    enum compute_dtype in;
    const char *A, *B;
    float *C;
};

#endif
