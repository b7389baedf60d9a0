/* train_muon.c: Muon (Jordan et al. 2024): momentum, made orthogonal, for every matrix.
 *
 * With g the gradient of one matrix [out, in], m its momentum, u = g + beta m (Nesterov's form):
 *
 *   p -= lr (sqrt(max(1, out / in)) orthogonal(u) + decay p)
 *
 * orthogonal(u) replaces all singular values by about 1. With X = u / |u|_F and r the shorter side,
 * five Newton-Schulz iterations do it (X X^T taken from the side that makes it [r, r]):
 *
 *   A = X X^T,   X <- (a I + b A + c A A) X,   (a, b, c) = (3.4445, -4.7750, 2.0315)
 *
 * which map every singular value in (0, 1] to about 0.7 to 1.2. The first two products are symmetric, and
 * little more than half of them is computed (compute_symmetric.c). The products run in the context's
 * number format: in bfloat16 the errors are of the size the iteration leaves anyway.
 *
 * A step has many small matrices (every expert has three) and a few large ones. A small one is done
 * whole by one thread, with a compute context and scratch of its own, so threads never wait for each
 * other inside; a large one (LARGE) is done by all threads together. Which, is decided by size
 * alone, and a matrix never sees another, so results are the same for any number of threads.
 * Every worker does every shape once at the start: after that nothing is allocated.
 *
 * Of a matrix that the ranks of a tensor-parallel group divide, each has its own part of momentum and
 * weights. They gather u, all make it orthogonal, and each takes its part of the result: such matrices
 * are done one after the other by all threads, in the same order on all ranks. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

#define LARGE ((int64_t)1 << 20) /* numbers in a matrix that is worth all threads */

struct muon_matrix {
    size_t offset;               /* in the flat arrays */
    int64_t out, in;             /* of what is here */
    int64_t whole_out, whole_in; /* the same, or a multiple of one of them */
    double decay;
};

/* One context and the scratch for a matrix of up to `matrix` numbers, squares of up to `square`. */
struct muon_worker {
    compute_t *compute;
    bool owns_compute;
    size_t matrix, square;
    float *u, *y;      /* [matrix] */
    float *a, *a2, *b; /* [square] */
    /* In bf16: copies of what a product reads. NULL in fp32. */
    bf16_t *act_x;                  /* [matrix] */
    bf16_t *act_a, *act_a2, *act_b; /* [square] */
};

struct train_muon {
    double momentum;
    int64_t iterations;
    struct pool *pool;
    struct muon_matrix *small, *large, *divided;
    size_t n_small, n_large, n_divided;
    group_t *tensor;
    float *parts;                /* of a divided matrix: [ranks, out, in] */
    size_t *bounds;              /* [ranks + 1] */
    struct muon_worker *workers; /* one a thread, for small matrices */
    int n_workers;
    struct muon_worker together; /* on the caller's context, for large ones */

    /* The step in progress. */
    double lr, grad_scale;
    float *weights, *momenta;
    const float *gradients;
};

/* ------------------------------------------------------------------ Newton-Schulz */

/* An operand in the context's format: the array itself, or its copy. */
static const void *operand(const struct muon_worker *w, const float *x, size_t n, bf16_t *copy)
{
    if (!copy) return x;
    compute_to_act(w->compute, x, n, copy);
    return copy;
}

static void add_to_diagonal(float *x, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        x[i * n + i] += value;
}

/* y = (a I + b A + c A A) x, for x [out, in]; in bf16, where x is read from its copy, y may be x.
 * The sum is factored so that it takes no pass over x: B = c A (A + b/c I), then y = (B + a I) x. */
static void iterate(const struct muon_worker *w, int64_t out, int64_t in, const float *x, float *y)
{
    const float ca = 3.4445f, cb = -4.7750f, cc = 2.0315f;
    bool tall = out > in;
    int64_t r = MIN(out, in);
    size_t square = (size_t)(r * r);
    compute_t *c = w->compute;
    struct compute_matmul m = {.in = w->act_x ? COMPUTE_BF16 : COMPUTE_F32, .M = r, .N = r};
    const void *ax = operand(w, x, (size_t)(out * in), w->act_x);
    m.transpose_a = tall;
    m.transpose_b = !tall;
    m.K = MAX(out, in);
    m.alpha = 1;
    m.A = m.B = ax;
    m.lda = m.ldb = in;
    m.C = w->a;
    m.ldc = r;
    compute_matmul_symmetric(c, &m);

    m.A = operand(w, w->a, square, w->act_a);
    compute_axpby(c, square, 1, w->a, 0, w->a2);
    add_to_diagonal(w->a2, r, cb / cc);
    m.B = operand(w, w->a2, square, w->act_a2);
    m.transpose_a = m.transpose_b = false;
    m.K = m.lda = m.ldb = r;
    m.alpha = cc;
    m.C = w->b;
    compute_matmul_symmetric(c, &m);

    add_to_diagonal(w->b, r, ca);
    const void *b = operand(w, w->b, square, w->act_b);
    m.M = out;
    m.N = m.ldb = m.ldc = in;
    m.lda = r;
    m.alpha = 1;
    m.A = tall ? ax : b;
    m.B = tall ? b : ax;
    m.C = y;
    compute_matmul(c, &m);
}

/* w->u becomes orthogonal; returns where the result is: w->u or w->y. NULL: u is all zeros, as for
 * an expert that saw no token yet. */
static float *orthogonalize(const struct muon_worker *w, int64_t out, int64_t in,
                            int64_t iterations)
{
    size_t n = (size_t)(out * in);
    float *x = w->u, *y = w->act_x ? w->u : w->y;
    double norm = sqrt(compute_sum_squares(w->compute, x, n));
    if (!(norm > 0)) return NULL;
    compute_axpby(w->compute, n, 0, x, (float)(1 / norm), x);
    for (int64_t i = 0; i < iterations; i++) {
        iterate(w, out, in, x, y);
        float *swap = x;
        x = y;
        y = swap;
    }
    return x;
}

/* ------------------------------------------------------------------ a step */

static void step_matrix(const train_muon_t *m, const struct muon_worker *w,
                        const struct muon_matrix *x)
{
    size_t n = (size_t)(x->out * x->in);
    struct compute_momentum o = {.beta = (float)m->momentum,
                                 .grad_scale = (float)m->grad_scale,
                                 .nesterov = true,
                                 .n = n,
                                 .g = m->gradients + x->offset,
                                 .m = m->momenta + x->offset,
                                 .u = w->u};
    compute_momentum(w->compute, &o);
    const float *update = orthogonalize(w, x->out, x->in, m->iterations);
    double shape = sqrt(fmax(1, (double)x->out / (double)x->in));
    float keep = (float)(1 - m->lr * x->decay);
    /* without an update the weights only decay: w->u holds zeros then */
    compute_axpby(w->compute, n, (float)(-m->lr * shape), update ? update : w->u, keep,
                  m->weights + x->offset);
}

/* The parts of all ranks, one after the other, to a whole matrix, or its part of rank `own` back. */
static void join_parts(const struct muon_matrix *x, const float *parts, int ranks, float *whole)
{
    for (int r = 0; r < ranks; r++) {
        const float *part = parts + (int64_t)r * x->out * x->in;
        int64_t row = x->whole_out > x->out ? r * x->out : 0;
        int64_t column = x->whole_in > x->in ? r * x->in : 0;
        for (int64_t i = 0; i < x->out; i++)
            memcpy(whole + (row + i) * x->whole_in + column, part + i * x->in,
                   (size_t)x->in * sizeof(float));
    }
}

static void take_part(const struct muon_matrix *x, const float *whole, int own, float *part)
{
    int64_t row = x->whole_out > x->out ? own * x->out : 0;
    int64_t column = x->whole_in > x->in ? own * x->in : 0;
    for (int64_t i = 0; i < x->out; i++)
        memcpy(part + i * x->in, whole + (row + i) * x->whole_in + column,
               (size_t)x->in * sizeof(float));
}

/* An error of the gathering sticks to the job: whoever sums or agrees next is told. */
static void step_divided(const train_muon_t *m, const struct muon_matrix *x)
{
    const struct muon_worker *w = &m->together;
    int own = group_rank(m->tensor), ranks = group_size(m->tensor);
    size_t n = (size_t)(x->out * x->in);
    struct compute_momentum o = {.beta = (float)m->momentum,
                                 .grad_scale = (float)m->grad_scale,
                                 .nesterov = true,
                                 .n = n,
                                 .g = m->gradients + x->offset,
                                 .m = m->momenta + x->offset,
                                 .u = m->parts + (size_t)own * n};
    compute_momentum(w->compute, &o);
    for (int r = 0; r <= ranks; r++)
        m->bounds[r] = (size_t)r * n;
    group_gather(m->tensor, m->parts, m->bounds, GROUP_F32, NULL);
    join_parts(x, m->parts, ranks, w->u);
    const float *update = orthogonalize(w, x->whole_out, x->whole_in, m->iterations);
    take_part(x, update ? update : w->u, own, m->parts);
    double shape = sqrt(fmax(1, (double)x->whole_out / (double)x->whole_in));
    compute_axpby(w->compute, n, (float)(-m->lr * shape), m->parts, (float)(1 - m->lr * x->decay),
                  m->weights + x->offset);
}

static void step_task(void *ctx, size_t task, int thread)
{
    const train_muon_t *m = ctx;
    step_matrix(m, &m->workers[thread], &m->small[task]);
}

void train_muon_step(train_muon_t *m, double lr, double grad_scale, const float *gradients,
                     float *momenta, float *weights)
{
    m->lr = lr;
    m->grad_scale = grad_scale;
    m->gradients = gradients;
    m->momenta = momenta;
    m->weights = weights;
    for (size_t i = 0; i < m->n_large; i++)
        step_matrix(m, &m->together, &m->large[i]);
    for (size_t i = 0; i < m->n_divided; i++)
        step_divided(m, &m->divided[i]);
    pool_run(m->pool, m->n_small, step_task, m);
}

/* ------------------------------------------------------------------ memory */

static size_t worker_bytes(const struct muon_worker *w)
{
    return (2 * w->matrix + 3 * w->square) * sizeof(float) +
           (w->matrix + 3 * w->square) * sizeof(bf16_t);
}

/* Makes room for another matrix. */
static void measure_worker(struct muon_worker *w, int64_t out, int64_t in)
{
    size_t side = (size_t)MIN(out, in), line = 16; /* keeps every array on a cache line */
    w->matrix = MAX(w->matrix, ((size_t)(out * in) + 2 * line - 1) / (2 * line) * 2 * line);
    w->square = MAX(w->square, (side * side + 2 * line - 1) / (2 * line) * 2 * line);
}

bool train_muon_takes(const struct param *p)
{
    return p->kind == PARAM_MATRIX || p->kind == PARAM_EXPERTS;
}

/* How many matrices of a parameter are this rank's: those of its part, which no cut divides. */
static int64_t count_own(const struct param *p, const struct train_shares *shares)
{
    size_t size = (size_t)(p->shape[p->n_dims - 1] * p->shape[p->n_dims - 2]);
    return (int64_t)(train_shares_clip(shares, p->offset, p->count).count / size);
}

/* What a parameter's matrices are. */
static struct muon_matrix matrix_of(const struct param *p)
{
    int last = p->n_dims - 1;
    return (struct muon_matrix){.out = p->shape[last - 1],
                                .in = p->shape[last],
                                .whole_out = p->whole[last - 1],
                                .whole_in = p->whole[last]};
}

enum { SMALL, LARGE_ONE, DIVIDED, KINDS };

static int kind_of(const struct param *p)
{
    if (p->divided) return DIVIDED;
    return p->shape[p->n_dims - 1] * p->shape[p->n_dims - 2] >= LARGE ? LARGE_ONE : SMALL;
}

/* Sizes of both kinds of worker; the numbers of matrices of each kind. */
static void measure(const struct param_table *t, const struct train_shares *shares,
                    struct muon_worker *small, struct muon_worker *large, size_t n[KINDS])
{
    memset(n, 0, KINDS * sizeof(*n));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        int64_t own = train_muon_takes(p) ? count_own(p, shares) : 0;
        if (own == 0) continue;
        struct muon_matrix x = matrix_of(p);
        int kind = kind_of(p);
        n[kind] += (size_t)own;
        measure_worker(kind == SMALL ? small : large, x.whole_out, x.whole_in);
    }
}

uint64_t train_muon_sends(const struct param_table *t, const struct train_shares *shares, int size)
{
    uint64_t sent = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (!train_muon_takes(p) || !p->divided) continue;
        sent += train_shares_clip(shares, p->offset, p->count).count * sizeof(float);
    }
    return sent * (uint64_t)(size - 1);
}

size_t train_muon_bytes(const struct param_table *t, const struct train_shares *shares, int threads)
{
    struct muon_worker small = {0}, large = {0};
    size_t n[KINDS];
    measure(t, shares, &small, &large, n);
    size_t parts = n[DIVIDED] ? large.matrix * sizeof(float) : 0;
    return worker_bytes(&small) * (size_t)threads + worker_bytes(&large) + parts;
}

static bool map_worker(struct muon_worker *w, enum compute_dtype format)
{
    if (w->matrix == 0) return true;
    w->u = mem_map(worker_bytes(w));
    if (!w->u) return false;
    w->y = w->u + w->matrix;
    w->a = w->y + w->matrix;
    w->a2 = w->a + w->square;
    w->b = w->a2 + w->square;
    if (format == COMPUTE_F32) return true;
    w->act_x = (bf16_t *)(void *)(w->b + w->square);
    w->act_a = w->act_x + w->matrix;
    w->act_a2 = w->act_a + w->square;
    w->act_b = w->act_a2 + w->square;
    return true;
}

static void free_worker(struct muon_worker *w)
{
    if (w->u) mem_unmap(w->u, worker_bytes(w));
    if (w->owns_compute && w->compute) compute_free(w->compute);
}

static bool open_workers(train_muon_t *m, compute_t *c, const struct muon_worker *size,
                         enum compute_backend backend)
{
    enum compute_dtype format = compute_act_dtype(c);
    m->n_workers = pool_threads(m->pool);
    m->workers = mem_calloc((size_t)m->n_workers, sizeof(*m->workers));
    m->together.compute = c;
    bool good = map_worker(&m->together, format);
    for (int i = 0; i < m->n_workers && good; i++) {
        struct muon_worker *w = &m->workers[i];
        struct compute_options o = {.dtype = format, .backend = backend};
        *w = *size;
        w->owns_compute = true;
        good = compute_new(&o, &w->compute, NULL) >= 0 && map_worker(w, format);
    }
    return good;
}

static void list_matrices(train_muon_t *m, const struct param_table *t,
                          const struct train_shares *shares, double decay)
{
    struct muon_matrix *next[KINDS];
    next[SMALL] = m->small = mem_calloc(m->n_small + 1, sizeof(*m->small));
    next[LARGE_ONE] = m->large = mem_calloc(m->n_large + 1, sizeof(*m->large));
    next[DIVIDED] = m->divided = mem_calloc(m->n_divided + 1, sizeof(*m->divided));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        if (!train_muon_takes(p)) continue;
        struct muon_matrix x = matrix_of(p);
        int64_t count = count_own(p, shares);
        x.offset = train_shares_clip(shares, p->offset, p->count).first;
        x.decay = p->decay ? decay : 0;
        for (int64_t j = 0; j < count; j++, x.offset += (size_t)(x.out * x.in))
            *next[kind_of(p)]++ = x;
    }
}

/* Every worker does every shape once on numbers of no meaning, so that each context has made its
 * products before the first step; which worker gets which matrix then does not matter. */
static void warm_up(const struct muon_worker *w, const struct muon_matrix *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = list[j].whole_out == list[i].whole_out && list[j].whole_in == list[i].whole_in;
        if (seen) continue;
        size_t count = (size_t)(list[i].whole_out * list[i].whole_in);
        for (size_t j = 0; j < count; j++)
            w->u[j] = (float)(1 + j % 7);
        orthogonalize(w, list[i].whole_out, list[i].whole_in, 1);
        struct compute_momentum o = {.nesterov = true, .n = count, .g = w->y, .m = w->y, .u = w->u};
        compute_momentum(w->compute, &o);
    }
}

/* Room for the parts of the ranks that divide matrices. */
static bool open_parts(train_muon_t *m)
{
    if (m->n_divided == 0) return true;
    m->parts = mem_map(m->together.matrix * sizeof(float));
    m->bounds = mem_calloc((size_t)group_size(m->tensor) + 1, sizeof(*m->bounds));
    return m->parts != NULL;
}

train_muon_t *train_muon_new(compute_t *c, const struct param_table *t,
                             const struct train_muon_options *o)
{
    const struct train_config *cfg = o->config;
    const struct train_shares *shares = o->shares;
    size_t n[KINDS];
    train_muon_t *m = mem_calloc(1, sizeof(*m));
    struct muon_worker small = {0};
    m->momentum = cfg->muon_momentum;
    m->iterations = cfg->muon_steps;
    m->pool = compute_pool(c);
    measure(t, shares, &small, &m->together, n);
    m->n_small = n[SMALL];
    m->n_large = n[LARGE_ONE];
    m->n_divided = n[DIVIDED];
    m->tensor = o->tensor;
    if (!open_workers(m, c, &small, (enum compute_backend)cfg->backend) || !open_parts(m)) {
        train_muon_free(m);
        return NULL;
    }
    list_matrices(m, t, shares, cfg->weight_decay);
    warm_up(&m->together, m->large, m->n_large);
    warm_up(&m->together, m->divided, m->n_divided);
    for (int i = 0; i < m->n_workers; i++)
        warm_up(&m->workers[i], m->small, m->n_small);
    return m;
}

void train_muon_free(train_muon_t *m)
{
    if (!m) return;
    for (int i = 0; i < m->n_workers; i++)
        free_worker(&m->workers[i]);
    if (m->parts) mem_unmap(m->parts, m->together.matrix * sizeof(float));
    mem_free(m->bounds);
    mem_free(m->divided);
    free_worker(&m->together);
    mem_free(m->workers);
    mem_free(m->small);
    mem_free(m->large);
    mem_free(m);
}
