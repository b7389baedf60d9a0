/* compute_cpu_matmul.c: the general matrix product for optimisers, cut into tiles of C. */
#include "compute/cpu/compute_cpu_dnnl_internal.h"
#include "compute/cpu/compute_cpu_internal.h"
#include "compute/reference/compute_reference_internal.h"
#include "compute/x86/compute_x86_linear_internal.h"

/* Tiles of C: the reference keeps its operands in L1; oneDNN wants a few hundred per side. */
enum { PLAIN_TILE = 64, DNNL_TILE = 256 };

struct matmul_run {
    compute_t *c;
    const struct compute_matmul *m;
    int64_t tile, columns;            /* columns: tiles along N */
    struct dnnl_product *products[4]; /* full, lower edge, right edge, corner */
    char *scratch;
    size_t stride;
};

/* One tile of C over the whole of K, so that a number is summed by one thread in one order. */
static void matmul_task(void *ctx, size_t task, int thread)
{
    const struct matmul_run *r = ctx;
    struct compute_matmul m = *r->m; /* of one tile */
    int64_t i = (int64_t)task / r->columns * r->tile, j = (int64_t)task % r->columns * r->tile;
    size_t size = compute_dtype_size(m.in);
    m.A = (const char *)m.A + (size_t)(m.transpose_a ? i : i * m.lda) * size;
    m.B = (const char *)m.B + (size_t)(m.transpose_b ? j * m.ldb : j) * size;
    m.C = (float *)m.C + i * m.ldc + j;
    m.M = MIN(r->tile, m.M - i);
    m.N = MIN(r->tile, m.N - j);
    if (r->c->dnnl) {
        struct dnnl_product *p = r->products[(m.M < r->tile) + 2 * (m.N < r->tile)];
        compute_dnnl_run(p, thread, m.A, m.B, m.C, r->scratch + (size_t)thread * r->stride);
    } else {
        compute_kernels_reference(m.in)->matmul(&m);
    }
}

/* Makes the product of each of the four shapes of tile that M and N give. */
static void matmul_prepare(struct matmul_run *r)
{
    const struct compute_matmul *m = r->m;
    size_t scratch = 0;
    for (int edge = 0; edge < 4; edge++) {
        struct product_key k = {.K = m->K, .ldc = m->ldc, .in = m->in, .out = COMPUTE_F32};
        k.M = edge & 1 ? m->M % r->tile : r->tile;
        k.N = edge & 2 ? m->N % r->tile : r->tile;
        if (k.M == 0 || k.N == 0 || k.M > m->M || k.N > m->N) continue;
        k.a_row = m->transpose_a ? 1 : m->lda;
        k.a_col = m->transpose_a ? m->lda : 1;
        k.b_row = m->transpose_b ? 1 : m->ldb;
        k.b_col = m->transpose_b ? m->ldb : 1;
        k.alpha = m->alpha;
        k.beta = m->beta;
        r->products[edge] = compute_dnnl_product(r->c, &k);
        scratch = MAX(scratch, compute_dnnl_scratch(r->products[edge]));
    }
    r->scratch = compute_private_scratch(r->c, scratch, &r->stride);
}

void compute_cpu_matmul(compute_t *c, const struct compute_matmul *m)
{
    CHECK(m->M >= 1 && m->N >= 1 && m->K >= 1 && m->out == COMPUTE_F32);
#if COMPUTE_X86_KERNELS
    if (m->in == COMPUTE_BF16 && c->amx) {
        compute_x86_matmul_amx(c, m);
        return;
    }
#endif
    struct matmul_run r = {.c = c, .m = m, .tile = c->dnnl ? DNNL_TILE : PLAIN_TILE};
    r.columns = ceil_div(m->N, r.tile);
    if (c->dnnl) matmul_prepare(&r);
    pool_run(c->pool, (size_t)(ceil_div(m->M, r.tile) * r.columns), matmul_task, &r);
}
