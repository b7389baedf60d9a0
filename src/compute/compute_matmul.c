/* compute_matmul.c: the general matrix product for optimisers and tests, cut into tiles of C; and
 * the measurement of the machine's peak. */
#include "compute/compute_dnnl_internal.h"
#include "compute/compute_matmul_internal.h"
#include "compute/x86/compute_x86_linear_internal.h"

/* Tiles of C: the reference keeps its operands in L1; oneDNN wants a few hundred per side. */
enum { PLAIN_TILE = 64, DNNL_TILE = 256 };

struct matmul_run {
    compute_t *c;
    const struct matmul_call *m;
    int64_t tile, columns;            /* columns: tiles along N */
    struct dnnl_product *products[4]; /* full, lower edge, right edge, corner */
    char *scratch;
    size_t stride;
};

static void matmul_task(void *ctx, size_t task, int thread)
{
    const struct matmul_run *r = ctx;
    const struct matmul_call *m = r->m;
    int64_t i = (int64_t)task / r->columns * r->tile, j = (int64_t)task % r->columns * r->tile;
    size_t size = compute_dtype_size(m->in);
    const char *A = m->A + (size_t)(m->ta ? i : i * m->lda) * size;
    const char *B = m->B + (size_t)(m->tb ? j * m->ldb : j) * size;
    float *C = m->C + i * m->ldc + j;
    int64_t rows = MIN(r->tile, m->M - i), columns = MIN(r->tile, m->N - j);
    if (r->c->dnnl)
        compute_dnnl_run(r->products[(rows < r->tile) + 2 * (columns < r->tile)], thread, A, B, C,
                         r->scratch + (size_t)thread * r->stride);
    else
        compute_kernels_reference(m->in)->matmul(m->ta, m->tb, rows, columns, m->K, m->alpha, A,
                                                 m->lda, B, m->ldb, m->beta, C, COMPUTE_F32,
                                                 m->ldc);
}

/* Makes the product of each of the four shapes of tile that M and N give. */
static void matmul_prepare(struct matmul_run *r)
{
    const struct matmul_call *m = r->m;
    size_t scratch = 0;
    for (int edge = 0; edge < 4; edge++) {
        struct product_key k = {.K = m->K, .ldc = m->ldc, .in = m->in, .out = COMPUTE_F32};
        k.M = edge & 1 ? m->M % r->tile : r->tile;
        k.N = edge & 2 ? m->N % r->tile : r->tile;
        if (k.M == 0 || k.N == 0 || k.M > m->M || k.N > m->N) continue;
        k.a_row = m->ta ? 1 : m->lda;
        k.a_col = m->ta ? m->lda : 1;
        k.b_row = m->tb ? 1 : m->ldb;
        k.b_col = m->tb ? m->ldb : 1;
        k.alpha = m->alpha;
        k.beta = m->beta;
        r->products[edge] = compute_dnnl_product(r->c, &k);
        scratch = MAX(scratch, compute_dnnl_scratch(r->products[edge]));
    }
    r->scratch = compute_private_scratch(r->c, scratch, &r->stride);
}

void compute_matmul(compute_t *c, bool transpose_a, bool transpose_b, int64_t M, int64_t N,
                    int64_t K, float alpha, enum compute_dtype in, const void *A, int64_t lda,
                    const void *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    CHECK(M >= 1 && N >= 1 && K >= 1);
    struct matmul_call m = {.ta = transpose_a, .tb = transpose_b, .M = M, .N = N, .K = K};
    m.lda = lda;
    m.ldb = ldb;
    m.ldc = ldc;
    m.alpha = alpha;
    m.beta = beta;
    m.in = in;
    m.A = A;
    m.B = B;
    m.C = C;
#if COMPUTE_X86_KERNELS
    if (in == COMPUTE_BF16 && c->amx) {
        compute_x86_matmul_amx(c, &m);
        return;
    }
#endif
    struct matmul_run r = {.c = c, .m = &m, .tile = c->dnnl ? DNNL_TILE : PLAIN_TILE};
    r.columns = ceil_div(N, r.tile);
    if (c->dnnl) matmul_prepare(&r);
    pool_run(c->pool, (size_t)(ceil_div(M, r.tile) * r.columns), matmul_task, &r);
}

/* ------------------------------------------------------------------ peak */

double compute_measure_peak(compute_t *c, double seconds)
{
    enum { SIDE = 2048 };
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
