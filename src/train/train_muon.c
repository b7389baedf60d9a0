/* train_muon.c: the orthogonal factor of a matrix by Newton-Schulz iteration (Jordan et al. 2024).
 *
 * With X = U / |U|_F (and the shorter side as rows), five times
 *
 *   A = X X^T,   X <- a X + (b A + c A A) X,   (a, b, c) = (3.4445, -4.7750, 2.0315)
 *
 * which maps every singular value in (0, 1] to about 0.7 to 1.2: near enough to 1, and fast. The
 * products run in the context's number format: with bfloat16 the small errors are of the size the
 * iteration leaves anyway, and the polynomial takes them in.
 *
 * Memory for the largest matrix of the table is taken once. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

struct train_muon {
    compute_t *compute;
    int64_t iterations;
    size_t matrix, square; /* floats: largest matrix, largest square of a shorter side */
    float *x, *y;          /* [rows, cols], rows <= cols */
    float *a, *b;          /* [rows, rows] */
    void *act;             /* bf16 copies of x, a, b; NULL in fp32 */
};

static bool is_matrix(const struct param *p)
{
    return p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS;
}

static void largest(const struct param_table *t, size_t *matrix, size_t *square)
{
    *matrix = *square = 16;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (!is_matrix(p)) continue;
        size_t in = (size_t)p->shape[p->n_dims - 1], out = (size_t)p->shape[p->n_dims - 2];
        size_t side = MIN(in, out);
        *matrix = MAX(*matrix, in * out);
        *square = MAX(*square, side * side);
    }
}

/* All arrays in one region: x, y, a, b in fp32 and, in half as many bytes, copies of x, a, b. */
static size_t region_bytes(size_t matrix, size_t square)
{
    return (2 * matrix + 2 * square) * sizeof(float) + (matrix + 2 * square) * sizeof(bf16_t);
}

size_t train_muon_bytes(const struct param_table *t)
{
    size_t matrix, square;
    largest(t, &matrix, &square);
    return region_bytes(matrix, square);
}

train_muon_t *train_muon_new(compute_t *c, const struct param_table *t, int64_t iterations)
{
    train_muon_t *m = mem_calloc(1, sizeof(*m));
    m->compute = c;
    m->iterations = iterations;
    largest(t, &m->matrix, &m->square);
    m->x = mem_map(region_bytes(m->matrix, m->square));
    if (!m->x) {
        mem_free(m);
        return NULL;
    }
    m->y = m->x + m->matrix;
    m->a = m->y + m->matrix;
    m->b = m->a + m->square;
    if (compute_act_dtype(c) == COMPUTE_BF16) m->act = m->b + m->square;
    return m;
}

void train_muon_free(train_muon_t *m)
{
    if (!m) return;
    mem_unmap(m->x, region_bytes(m->matrix, m->square));
    mem_free(m);
}

/* An operand of a product in the context's format: the array itself, or its copy at `place`. */
static const void *operand(train_muon_t *m, const float *x, size_t n, size_t place)
{
    if (!m->act) return x;
    bf16_t *copy = (bf16_t *)m->act + place;
    compute_to_act(m->compute, x, n, copy);
    return copy;
}

/* y = a x + (b A + c A A) x with A = x x^T; x [r, n]. */
static void iterate(train_muon_t *m, int64_t r, int64_t n, const float *x, float *y)
{
    const float ca = 3.4445f, cb = -4.7750f, cc = 2.0315f;
    enum compute_dtype in = m->act ? COMPUTE_BF16 : COMPUTE_F32;
    size_t square = (size_t)(r * r), matrix = (size_t)(r * n);
    const void *xa = operand(m, x, matrix, 0);
    compute_matmul(m->compute, false, true, r, r, n, 1, in, xa, n, xa, n, 0, m->a, r);
    const void *aa = operand(m, m->a, square, m->matrix);
    memcpy(m->b, m->a, square * sizeof(float));
    compute_matmul(m->compute, false, false, r, r, r, cc, in, aa, r, aa, r, cb, m->b, r);
    const void *ba = operand(m, m->b, square, m->matrix + m->square);
    memcpy(y, x, matrix * sizeof(float));
    compute_matmul(m->compute, false, false, r, n, r, 1, in, ba, r, xa, n, ca, y, n);
}

static void transpose(int64_t rows, int64_t cols, const float *x, float *y)
{
    enum { BLOCK = 32 };
    for (int64_t i = 0; i < rows; i += BLOCK) {
        for (int64_t j = 0; j < cols; j += BLOCK) {
            for (int64_t k = i; k < MIN(i + BLOCK, rows); k++) {
                for (int64_t l = j; l < MIN(j + BLOCK, cols); l++)
                    y[l * rows + k] = x[k * cols + l];
            }
        }
    }
}

void train_muon_orthogonalize(train_muon_t *m, int64_t out, int64_t in, float *u)
{
    size_t n = (size_t)(out * in);
    double norm = sqrt(compute_sum_squares(m->compute, u, n));
    if (!(norm > 0)) return; /* an expert that saw no token yet: nothing to do */
    bool tall = out > in;
    int64_t r = MIN(out, in), c = MAX(out, in);
    float *x = m->x, *y = m->y;
    compute_axpby(m->compute, n, 0, u, (float)(1 / norm), u);
    if (tall)
        transpose(out, in, u, x);
    else
        memcpy(x, u, n * sizeof(float));
    for (int64_t i = 0; i < m->iterations; i++) {
        iterate(m, r, c, x, y);
        float *swap = x;
        x = y;
        y = swap;
    }
    if (tall)
        transpose(in, out, x, u);
    else
        memcpy(u, x, n * sizeof(float));
}
