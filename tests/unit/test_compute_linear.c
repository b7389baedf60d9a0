/* test_compute_linear.c: linear layers and the general product beside plain sums in double, on
 * every backend this CPU has and in both formats: groups with empty, short and long row ranges,
 * several parts, widths that fill no tile, rows that are no multiple of anything.
 *
 * The bounds: inputs are rounded to the format first, so both sides see the same numbers and fp32
 * accumulation explains the rest: about sqrt(K) 2^-24 of the sum of magnitudes; 2e-6 of
 * sqrt(K) * largest covers it for the sizes here. */
#include "test_compute_arrays.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

struct linear_case {
    int groups;
    int64_t in;
    int parts;
    int64_t out[COMPUTE_MAX_PARTS];
    int32_t rows[4]; /* per group */
    bool frozen;     /* the last part has no gradient */
};

static const struct linear_case cases[] = {
    {1, 1, 1, {1}, {1}, false},
    {1, 17, 1, {5}, {3}, false},
    {1, 64, 3, {64, 16, 16}, {128}, false},
    {1, 96, 3, {33, 7, 50}, {77}, true},
    {1, 130, 2, {200, 200}, {301}, false},
    {1, 256, 1, {512}, {256}, false},
    {3, 64, 2, {96, 96}, {32, 0, 96}, false},
    {4, 40, 1, {24}, {0, 64, 160, 32}, false},
    {3, 96, 2, {64, 40}, {320, 32, 544}, false},
};

/* ------------------------------------------------------------------ plain sums */

struct problem {
    const struct linear_case *k;
    int64_t out, rows;
    int32_t offset[5];
    struct array master[COMPUTE_MAX_PARTS], rounded[COMPUTE_MAX_PARTS], grad[COMPUTE_MAX_PARTS];
    struct array x, dy;
    double *exact_x, *exact_dy, *exact_w; /* [rows, in], [rows, out], [groups, out, in] */
};

static void problem_widen(struct problem *p)
{
    for (size_t i = 0; i < p->x.n; i++)
        p->exact_x[i] = array_get(&p->x, i);
    for (size_t i = 0; i < p->dy.n; i++)
        p->exact_dy[i] = array_get(&p->dy, i);
    double *w = p->exact_w;
    for (int g = 0; g < p->k->groups; g++)
        for (int i = 0; i < p->k->parts; i++) {
            size_t n = (size_t)(p->k->out[i] * p->k->in);
            for (size_t j = 0; j < n; j++)
                *w++ = array_get(&p->rounded[i], (size_t)g * n + j);
        }
}

static struct problem problem_new(const struct linear_case *k, enum compute_dtype dtype)
{
    struct problem p = {.k = k};
    for (int g = 0; g < k->groups; g++)
        p.offset[g + 1] = p.offset[g] + k->rows[g];
    p.rows = p.offset[k->groups];
    for (int i = 0; i < k->parts; i++) {
        size_t n = (size_t)(k->groups * k->out[i] * k->in);
        p.out += k->out[i];
        p.master[i] = array_random(COMPUTE_F32, n, (uint64_t)i, 0, 1);
        p.rounded[i] = array_new(dtype, n);
        for (size_t j = 0; j < n; j++)
            array_set(&p.rounded[i], j, array_get(&p.master[i], j));
        p.grad[i] = array_random(COMPUTE_F32, n, (uint64_t)(10 + i), 0, 1);
    }
    p.x = array_random(dtype, (size_t)(p.rows * k->in), 20, 0, 1);
    p.dy = array_random(dtype, (size_t)(p.rows * p.out), 21, 0, 1);
    p.exact_x = mem_alloc(p.x.n * sizeof(double));
    p.exact_dy = mem_alloc(p.dy.n * sizeof(double));
    p.exact_w = mem_alloc((size_t)(k->groups * p.out * k->in) * sizeof(double));
    problem_widen(&p);
    return p;
}

static void problem_free(struct problem *p)
{
    for (int i = 0; i < p->k->parts; i++) {
        array_free(&p->master[i]);
        array_free(&p->rounded[i]);
        array_free(&p->grad[i]);
    }
    array_free(&p->x);
    array_free(&p->dy);
    mem_free(p->exact_x);
    mem_free(p->exact_dy);
    mem_free(p->exact_w);
}

static int group_of(const struct problem *p, int64_t row)
{
    int g = 0;
    while (row >= p->offset[g + 1])
        g++;
    return g;
}

/* |got - want| <= 2e-6 * (1 + sqrt(K)) * 3, half a step of fp32 for each of K partial sums as large as
 * the whole, which go astray like sqrt(K), and one step of bfloat16 where got is one. */
static void expect_sum(const char *what, double got, double want, int64_t K,
                       enum compute_dtype dtype)
{
    double bound = 6e-6 * (1 + sqrt((double)K)) + FLT_EPSILON / 2 * sqrt((double)K) * fabs(want);
    if (dtype == COMPUTE_BF16) bound += BF16_STEP * fabs(want);
    if (!(fabs(got - want) <= bound))
        fail_msg("%s: %.9g, want %.9g (off by %.3g, allowed %.3g)", what, got, want,
                 fabs(got - want), bound);
}

/* ------------------------------------------------------------------ the three products */

static void check_forward(compute_linear_t *l, const struct problem *p, enum compute_dtype y_dtype,
                          const char *name)
{
    struct array y = array_random(y_dtype, (size_t)(p->rows * p->out), 30, 0, 1);
    compute_linear_forward(l, (struct compute_rows){p->offset, p->rows}, p->x.data, y.data,
                           y_dtype);
    for (int64_t r = 0; r < p->rows; r++) {
        const double *w = p->exact_w + group_of(p, r) * p->out * p->k->in;
        for (int64_t o = 0; o < p->out; o++) {
            double want = 0;
            for (int64_t i = 0; i < p->k->in; i++)
                want += p->exact_x[r * p->k->in + i] * w[o * p->k->in + i];
            expect_sum(name, array_get(&y, (size_t)(r * p->out + o)), want, p->k->in, y_dtype);
        }
    }
    array_free(&y);
}

static void check_backward_input(compute_linear_t *l, const struct problem *p,
                                 enum compute_dtype dx_dtype, const char *name)
{
    struct array dx = array_random(dx_dtype, (size_t)(p->rows * p->k->in), 31, 0, 1);
    compute_linear_backward_input(l, (struct compute_rows){p->offset, p->rows}, p->dy.data, dx.data,
                                  dx_dtype);
    for (int64_t r = 0; r < p->rows; r++) {
        const double *w = p->exact_w + group_of(p, r) * p->out * p->k->in;
        for (int64_t i = 0; i < p->k->in; i++) {
            double want = 0;
            for (int64_t o = 0; o < p->out; o++)
                want += p->exact_dy[r * p->out + o] * w[o * p->k->in + i];
            expect_sum(name, array_get(&dx, (size_t)(r * p->k->in + i)), want, p->out, dx_dtype);
        }
    }
    array_free(&dx);
}

static void check_backward_weight(compute_linear_t *l, struct problem *p, bool accumulate,
                                  const char *name)
{
    const struct linear_case *k = p->k;
    struct array before[COMPUTE_MAX_PARTS];
    for (int part = 0; part < k->parts; part++)
        before[part] = array_copy(&p->grad[part]);
    compute_linear_backward_weight(l, (struct compute_rows){p->offset, p->rows}, p->dy.data,
                                   p->x.data, accumulate);
    int64_t column = 0;
    for (int part = 0; part < k->parts; column += k->out[part++])
        for (int64_t at = 0; at < k->groups * k->out[part] * k->in; at++) {
            int64_t g = at / (k->out[part] * k->in), o = at / k->in % k->out[part], i = at % k->in;
            double old = array_get(&before[part], (size_t)at), want = accumulate ? old : 0;
            double got = array_get(&p->grad[part], (size_t)at);
            if (k->frozen && part == k->parts - 1) {
                assert_true(got == old);
                continue;
            }
            for (int64_t r = p->offset[g]; r < p->offset[g + 1]; r++)
                want += p->exact_dy[r * p->out + column + o] * p->exact_x[r * p->k->in + i];
            expect_sum(name, got, want, k->rows[g], COMPUTE_F32);
        }
    for (int part = 0; part < k->parts; part++)
        array_free(&before[part]);
}

static void check_linear(compute_t *c, const struct linear_case *k)
{
    enum compute_dtype dtype = compute_act_dtype(c);
    struct problem p = problem_new(k, dtype);
    struct compute_linear_desc d = {.groups = k->groups, .in = k->in, .parts = k->parts};
    for (int i = 0; i < k->parts; i++) {
        d.out[i] = k->out[i];
        d.master[i] = p.master[i].data;
        d.grad[i] = k->frozen && i == k->parts - 1 ? NULL : p.grad[i].data;
    }
    d.max_rows = p.rows + 64;
    char name[128];
    snprintf(name, sizeof name, "%s %s %lld -> %lld", compute_backend_name(c),
             dtype == COMPUTE_F32 ? "f32" : "bf16", (long long)k->in, (long long)p.out);
    compute_linear_t *l = compute_linear_new(c, &d);
    compute_linear_update(l);
    check_forward(l, &p, COMPUTE_F32, name);
    check_backward_input(l, &p, COMPUTE_F32, name);
    if (dtype == COMPUTE_BF16) {
        check_forward(l, &p, COMPUTE_BF16, name);
        check_backward_input(l, &p, COMPUTE_BF16, name);
    }
    check_backward_weight(l, &p, false, name);
    check_backward_weight(l, &p, true, name);
    /* the copy follows the masters when told to */
    for (int i = 0; i < k->parts; i++)
        for (size_t j = 0; j < p.master[i].n; j++) {
            array_set(&p.master[i], j, -0.5f * array_get(&p.master[i], j));
            array_set(&p.rounded[i], j, array_get(&p.master[i], j));
        }
    problem_widen(&p);
    compute_linear_update(l);
    check_forward(l, &p, COMPUTE_F32, name);
    check_backward_input(l, &p, COMPUTE_F32, name);
    compute_linear_free(l);
    problem_free(&p);
}

/* ------------------------------------------------------------------ large shapes
 * Sizes at which an implementation changes its way (sums cut into chunks, results written past the
 * cache, tasks of several sizes), checked at random places of each result. */

static const struct linear_case large_cases[] = {
    {1, 5003, 1, {96}, {301}, false},             /* a long sum forward */
    {1, 96, 2, {3001, 1700}, {287}, false},       /* a long sum backward */
    {1, 3000, 1, {200}, {300}, false},            /* a longish one */
    {1, 600, 3, {1024, 256, 256}, {1511}, false}, /* a large result, many tokens, odd */
    {1, 64, 1, {20000}, {1}, false},              /* one row: decoding */
    {2, 512, 2, {512, 512}, {1600, 2048}, false}, /* experts with many tokens */
};

enum { SAMPLES = 300 };

static int64_t sample(uint64_t stream, uint64_t i, int64_t n)
{
    return (int64_t)(rng_u64(3, stream, i) % (uint64_t)n);
}

static void sample_rows(compute_linear_t *l, const struct problem *p, bool forward, bool narrow)
{
    enum compute_dtype t = narrow ? COMPUTE_BF16 : COMPUTE_F32;
    int64_t in = p->k->in, width = forward ? p->out : in, K = forward ? in : p->out;
    struct array y = array_new(t, (size_t)(p->rows * width));
    if (forward)
        compute_linear_forward(l, (struct compute_rows){p->offset, p->rows}, p->x.data, y.data, t);
    else
        compute_linear_backward_input(l, (struct compute_rows){p->offset, p->rows}, p->dy.data,
                                      y.data, t);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        int64_t r = sample(1, i, p->rows), n = sample(2, i, width);
        const double *w = p->exact_w + group_of(p, r) * p->out * in;
        double want = 0;
        for (int64_t k = 0; k < K; k++)
            want += forward ? p->exact_x[r * p->k->in + k] * w[n * in + k]
                            : p->exact_dy[r * p->out + k] * w[k * in + n];
        expect_sum(forward ? "large forward" : "large dX", array_get(&y, (size_t)(r * width + n)),
                   want, K, t);
    }
    array_free(&y);
}

static void sample_weight(compute_linear_t *l, struct problem *p, bool accumulate)
{
    const struct linear_case *k = p->k;
    struct array old = array_copy(&p->grad[0]);
    compute_linear_backward_weight(l, (struct compute_rows){p->offset, p->rows}, p->dy.data,
                                   p->x.data, accumulate);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        int64_t g = sample(3, i, k->groups), o = sample(4, i, k->out[0]), n = sample(5, i, k->in);
        size_t at = (size_t)((g * k->out[0] + o) * k->in + n);
        double want = accumulate ? array_get(&old, at) : 0;
        for (int64_t r = p->offset[g]; r < p->offset[g + 1]; r++)
            want += p->exact_dy[r * p->out + o] * p->exact_x[r * p->k->in + n];
        expect_sum("large dW", array_get(&p->grad[0], at), want, k->rows[g], COMPUTE_F32);
    }
    array_free(&old);
}

static void check_large(compute_t *c, const struct linear_case *k)
{
    struct problem p = problem_new(k, compute_act_dtype(c));
    struct compute_linear_desc d = {.groups = k->groups, .in = k->in, .parts = k->parts};
    for (int i = 0; i < k->parts; i++) {
        d.out[i] = k->out[i];
        d.master[i] = p.master[i].data;
        d.grad[i] = p.grad[i].data;
    }
    d.max_rows = p.rows;
    compute_linear_t *l = compute_linear_new(c, &d);
    compute_linear_update(l);
    for (int narrow = 0; narrow < (compute_act_dtype(c) == COMPUTE_BF16 ? 2 : 1); narrow++) {
        sample_rows(l, &p, true, narrow);
        sample_rows(l, &p, false, narrow);
    }
    sample_weight(l, &p, false);
    sample_weight(l, &p, true);
    compute_linear_free(l);
    problem_free(&p);
}

/* ------------------------------------------------------------------ the general product */

static void check_matmul(compute_t *c, enum compute_dtype in, int64_t M, int64_t N, int64_t K,
                         bool ta, bool tb, float alpha, float beta)
{
    int64_t lda = (ta ? M : K) + 3, ldb = (tb ? K : N) + 5, ldc = N + 1;
    struct array A = array_random(in, (size_t)((ta ? K : M) * lda), 1, 0, 1);
    struct array B = array_random(in, (size_t)((tb ? N : K) * ldb), 2, 0, 1);
    struct array C = array_random(COMPUTE_F32, (size_t)(M * ldc), 3, 0, 1), old = array_copy(&C);
    char name[128];
    snprintf(name, sizeof name, "%s matmul %s%s %lld x %lld x %lld", compute_backend_name(c),
             ta ? "T" : "N", tb ? "T" : "N", (long long)M, (long long)N, (long long)K);
    struct compute_matmul m = {ta,    tb,   M,  N,           K,      lda,    ldb,   ldc,
                               alpha, beta, in, COMPUTE_F32, A.data, B.data, C.data};
    compute_matmul(c, &m);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            double sum = 0;
            for (int64_t p = 0; p < K; p++)
                sum += (double)array_get(&A, (size_t)(ta ? p * lda + i : i * lda + p)) *
                       array_get(&B, (size_t)(tb ? j * ldb + p : p * ldb + j));
            size_t at = (size_t)(i * ldc + j);
            double want = (double)alpha * sum;
            if (beta != 0) want += (double)beta * array_get(&old, at);
            expect_sum(name, array_get(&C, at), want, K, COMPUTE_F32);
        }
    array_free(&A);
    array_free(&B);
    array_free(&C);
    array_free(&old);
}

/* ------------------------------------------------------------------ over all backends */

static void for_backends(void (*body)(compute_t *c))
{
    struct pool *pool = pool_new(2);
    for (int b = COMPUTE_REFERENCE; b <= COMPUTE_AVX512; b++)
        for (int t = COMPUTE_F32; t <= COMPUTE_BF16; t++)
            for (int tiles = 0; tiles < (b == COMPUTE_AVX512 && t == COMPUTE_BF16 ? 2 : 1);
                 tiles++) {
                struct compute_options o = {(enum compute_dtype)t, (enum compute_backend)b, pool};
                compute_t *c;
                /* oneDNN does what AMX tiles do where there are tiles, and must be right too */
                if (!tiles) setenv("COLOSSUS_AMX", "0", 1);
                int rc = compute_new(&o, &c, NULL);
                unsetenv("COLOSSUS_AMX");
                if (rc < 0) continue;
                body(c);
                compute_free(c);
            }
    pool_free(pool);
}

static void all_linears(compute_t *c)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_linear(c, &cases[i]);
}

static void large_linears(compute_t *c)
{
    /* the reference computes plain sums itself, slowly */
    for (size_t i = 0; i < ARRAY_LEN(large_cases); i++)
        if (strcmp(compute_backend_name(c), "reference") != 0) check_large(c, &large_cases[i]);
}

static void all_matmuls(compute_t *c)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1}, {7, 5, 3}, {65, 130, 40}, {128, 64, 300}, {300, 270, 70}};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        for (int flags = 0; flags < 8; flags++)
            check_matmul(c, flags & 4 ? COMPUTE_BF16 : COMPUTE_F32, shapes[i][0], shapes[i][1],
                         shapes[i][2], flags & 1, flags & 2, i % 2 ? 1.0f : 0.7f,
                         i == 3 ? 0.0f : -1.5f);
}

static void test_linear(void **state)
{
    (void)state;
    for_backends(all_linears);
}

static void test_large(void **state)
{
    (void)state;
    for_backends(large_linears);
}

static void test_matmul(void **state)
{
    (void)state;
    for_backends(all_matmuls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear), cmocka_unit_test(test_large),
                                       cmocka_unit_test(test_matmul)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
