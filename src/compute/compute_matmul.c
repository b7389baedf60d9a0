/* compute_matmul.c: the general matrix product for optimisers and tests, cut into square tiles of
 * C; and the measurement of the machine's peak. */
#include "compute/compute_internal.h"

enum { MATMUL_TILE = 64 };

struct matmul {
    bool ta, tb;
    int64_t M, N, K, lda, ldb, ldc, columns; /* columns: tiles along N */
    float alpha, beta;
    enum compute_dtype in;
    const char *A, *B;
    float *C;
};

static void matmul_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct matmul *m = ctx;
    int64_t i = (int64_t)task / m->columns * MATMUL_TILE;
    int64_t j = (int64_t)task % m->columns * MATMUL_TILE;
    size_t size = compute_dtype_size(m->in);
    const char *A = m->A + (size_t)(m->ta ? i : i * m->lda) * size;
    const char *B = m->B + (size_t)(m->tb ? j * m->ldb : j) * size;
    compute_kernels_reference(m->in)->matmul(
        m->ta, m->tb, MIN(MATMUL_TILE, m->M - i), MIN(MATMUL_TILE, m->N - j), m->K, m->alpha, A,
        m->lda, B, m->ldb, m->beta, m->C + i * m->ldc + j, COMPUTE_F32, m->ldc);
}

void compute_matmul(compute_t *c, bool transpose_a, bool transpose_b, int64_t M, int64_t N,
                    int64_t K, float alpha, enum compute_dtype in, const void *A, int64_t lda,
                    const void *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    struct matmul m = {.ta = transpose_a, .tb = transpose_b, .M = M, .N = N, .K = K};
    m.lda = lda;
    m.ldb = ldb;
    m.ldc = ldc;
    m.columns = ceil_div(N, MATMUL_TILE);
    m.alpha = alpha;
    m.beta = beta;
    m.in = in;
    m.A = A;
    m.B = B;
    m.C = C;
    pool_run(c->pool, (size_t)(ceil_div(M, MATMUL_TILE) * m.columns), matmul_task, &m);
}

/* ------------------------------------------------------------------ peak */

double compute_measure_peak(compute_t *c, double seconds)
{
    enum { SIDE = 1024 };
    size_t size = compute_dtype_size(c->dtype), n = (size_t)SIDE * SIDE;
    char *operands = mem_map(2 * n * size);
    float *C = mem_map(n * sizeof(float));
    CHECK_MSG(operands && C, "no memory to measure the peak");
    double best_s = 0, end_s = time_now_s() + seconds;
    for (int run = 0; run < 3 || time_now_s() < end_s; run++) {
        double start_s = time_now_s();
        compute_matmul(c, false, true, SIDE, SIDE, SIDE, 1, c->dtype, operands, SIDE,
                       operands + n * size, SIDE, 0, C, SIDE);
        double took_s = time_now_s() - start_s;
        if (run == 1 || (run > 1 && took_s < best_s)) best_s = took_s; /* run 0 warms up */
    }
    mem_unmap(operands, 2 * n * size);
    mem_unmap(C, n * sizeof(float));
    return 2.0 * SIDE * SIDE * SIDE / best_s;
}
