/* compute_symmetric.c: products that are known to be symmetric, as two of the three in each of Muon's
 * iterations.
 *
 * Of each panel of rows only what lies from the diagonal on is computed. With n panels that is (n + 1) / 2n
 * of the work: the narrower, the less, and the worse the products run; a panel has 128 rows, of large
 * matrices an eighth of them. Which, is settled by the size alone. */
#include "compute/compute.h"

#include <math.h>

#define PANEL ((int64_t)128)
#define TILE  ((int64_t)32) /* of what is mirrored: both sides of it fit the first cache */

static int64_t panel_of(int64_t M)
{
    return MAX(PANEL, (M / 8 + 63) / 64 * 64);
}

static const void *element(const struct compute_matmul *m, const void *x, int64_t i)
{
    return (const char *)x + (size_t)i * (m->in == COMPUTE_BF16 ? sizeof(bf16_t) : sizeof(float));
}

struct tile {
    int64_t row, row_end, column, column_end;
};

static void mirror(float *C, int64_t ld, const struct tile *t)
{
    for (int64_t j = t->row; j < t->row_end; j++)
        for (int64_t k = t->column; k < t->column_end; k++)
            C[j * ld + k] = C[k * ld + j];
}

void compute_matmul_symmetric(compute_t *c, const struct compute_matmul *m)
{
    const int64_t panel = panel_of(m->M);
    float *C = m->C;
    CHECK(m->M == m->N && m->beta == 0);
    for (int64_t i = 0; i < m->M; i += panel) {
        struct compute_matmul part = *m;
        const int64_t end = MIN(i + panel, m->M);
        part.M = end - i;
        part.N = m->M - i;
        part.A = element(m, m->A, m->transpose_a ? i : i * m->lda);
        part.B = element(m, m->B, m->transpose_b ? i * m->ldb : i);
        part.C = C + i * m->ldc + i;
        compute_matmul(c, &part);
        for (int64_t j = end; j < m->M; j += TILE)
            for (int64_t k = i; k < end; k += TILE)
                mirror(C, m->ldc, &(struct tile){j, MIN(j + TILE, m->M), k, MIN(k + TILE, end)});
    }
}

/* X X^T [r, r], its square, and [r, r] X, where r is the shorter side. */
double compute_newton_flops(double out, double in)
{
    const double r = fmin(out, in), k = fmax(out, in);
    const double panels = ceil(r / (double)panel_of((int64_t)r));
    return (2 * r * r * k + 2 * r * r * r) * (panels + 1) / (2 * panels) + 2 * r * r * k;
}
