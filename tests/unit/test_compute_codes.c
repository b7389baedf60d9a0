/* test_compute_codes.c: products with weights in codes. The reference is held to sums in double; every
 * other backend to the reference, bit for bit, in both formats of activations; and a row's results to
 * those of the row alone. */
#include "test_compute_arrays.h"

#include <stdio.h>

/* The forms of Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K. */
static const struct compute_codes forms[] = {
    {4, 8, false, false},   {4, 0, true, false}, {5, 16, false, false}, {5, 0, true, false},
    {8, 128, false, false}, {4, 0, true, true},  {5, 0, true, true},    {6, 32, false, true}};
enum { N_FORMS = ARRAY_LEN(forms), MOST_ROWS = 300 };

/* Two groups of two parts. */
struct problem {
    int64_t in, out[2];
    struct compute_codes form[2];
    uint8_t *codes[2], *scale_steps[2], *least_steps[2];
    uint16_t *scales[2], *leasts[2];
    double *w; /* [2, out[0] + out[1], in] */
    struct array x;
    int32_t offset[3];
};

static uint32_t draw(uint64_t stream, size_t i)
{
    return (uint32_t)(rng_uniform(21, stream, i) * 0x1p32);
}

/* Halves of ordinary size, of either sign, and sometimes subnormal or zero. */
static uint16_t some_half(uint64_t stream, size_t i)
{
    uint32_t x = draw(stream, i);
    uint32_t exponent = i % 17 == 3 ? 0 : 6 + x % 6;
    return (uint16_t)((x >> 3 & 1) << 15 | exponent << 10 | (x >> 4 & 1023));
}

static double half_value(uint16_t x)
{
    int exponent = x >> 10 & 31, fraction = x & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return x >> 15 ? -size : size;
}

static void fill_part(struct problem *p, int part)
{
    const struct compute_codes *f = &p->form[part];
    int64_t rows = 2 * p->out[part], block = compute_codes_block(f);
    int64_t blocks = p->in / block, halves = f->shared ? p->in / 256 : blocks;
    size_t n = (size_t)(rows * p->in), nb = (size_t)(rows * blocks), nh = (size_t)(rows * halves);
    uint64_t stream = (uint64_t)(10 * part);
    p->codes[part] = mem_alloc(n);
    p->scale_steps[part] = mem_alloc(nb);
    p->least_steps[part] = mem_alloc(nb);
    p->scales[part] = mem_alloc(nh * 2);
    p->leasts[part] = mem_alloc(nh * 2);
    for (size_t i = 0; i < n; i++)
        p->codes[part][i] = (uint8_t)(draw(stream, i) >> (32 - f->bits));
    for (size_t i = 0; i < nb; i++) {
        p->scale_steps[part][i] = (uint8_t)draw(stream + 1, i);
        p->least_steps[part][i] = (uint8_t)(draw(stream + 2, i) & 63);
    }
    for (size_t i = 0; i < nh; i++) {
        p->scales[part][i] = some_half(stream + 3, i);
        p->leasts[part][i] = some_half(stream + 4, i);
    }
    int64_t all = p->out[0] + p->out[1], before = part ? p->out[0] : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < p->in; k++) {
            int64_t b = r * blocks + k / block, h = f->shared ? r * halves + k / 256 : b;
            double scale = half_value(p->scales[part][h]);
            double least = f->least ? half_value(p->leasts[part][h]) : 0;
            if (f->shared) scale *= (int8_t)p->scale_steps[part][b];
            if (f->shared) least *= -(double)p->least_steps[part][b];
            int64_t row = r / p->out[part] * all + before + r % p->out[part];
            p->w[row * p->in + k] = scale * (p->codes[part][r * p->in + k] - f->zero) + least;
        }
}

static struct problem problem_new(int64_t in, int first, int second, int32_t rows,
                                  enum compute_dtype dtype)
{
    struct problem p = {.in = in, .out = {37, 16}, .form = {forms[first], forms[second]}};
    p.w = mem_alloc((size_t)(2 * 53 * in) * sizeof(double));
    fill_part(&p, 0);
    fill_part(&p, 1);
    p.offset[1] = rows / 3;
    p.offset[2] = rows;
    p.x = array_random(dtype, (size_t)(rows * in), 22, 0, 1);
    for (int64_t k = 0; k < in && rows > 2; k++) /* a row of zeros, a row with one large number */
        array_set(&p.x, (size_t)(in + k), 0);
    if (rows > 2) array_set(&p.x, (size_t)(2 * in + 5), 4000);
    return p;
}

static void problem_free(struct problem *p)
{
    for (int i = 0; i < 2; i++) {
        mem_free(p->codes[i]);
        mem_free(p->scale_steps[i]);
        mem_free(p->least_steps[i]);
        mem_free(p->scales[i]);
        mem_free(p->leasts[i]);
    }
    mem_free(p->w);
    array_free(&p->x);
}

/* ------------------------------------------------------------------ a layer */

struct layer {
    compute_linear_t *l;
    void *memory;
    size_t bytes;
};

static void layer_free(struct layer *y)
{
    compute_linear_free(y->l);
    mem_unmap(y->memory, y->bytes);
}

static struct layer layer_new(compute_t *c, const struct problem *p)
{
    struct compute_linear_desc d = {.groups = 2, .in = p->in, .parts = 2, .max_rows = MOST_ROWS};
    struct layer y;
    for (int i = 0; i < 2; i++) {
        d.out[i] = p->out[i];
        d.codes[i] = p->form[i];
    }
    y.bytes = compute_linear_bytes(c, &d);
    d.memory = y.memory = mem_map(y.bytes);
    y.l = compute_linear_new(c, &d);
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < 2; i++) {
            int64_t half = p->out[i] / 2; /* in two pieces that no band divides */
            for (int64_t first = 0; first < p->out[i]; first += half + 1) {
                int64_t row = g * p->out[i] + first, block = compute_codes_block(&p->form[i]);
                int64_t unit = p->form[i].shared ? 256 : block;
                struct compute_linear_codes r = {.group = g, .part = i, .first = first};
                r.n = MIN(half + 1, p->out[i] - first);
                r.codes = p->codes[i] + row * p->in;
                r.scales = p->scales[i] + row * (p->in / unit);
                r.leasts = p->leasts[i] + row * (p->in / unit);
                r.scale_steps = p->scale_steps[i] + row * (p->in / block);
                r.least_steps = p->least_steps[i] + row * (p->in / block);
                compute_linear_put_codes(y.l, &r);
            }
        }
    return y;
}

static struct array forward(compute_t *c, const struct problem *p, enum compute_dtype y_dtype)
{
    struct layer y = layer_new(c, p);
    struct array out = array_random(y_dtype, (size_t)(p->offset[2] * 53), 23, 0, 1);
    compute_linear_forward(y.l, (struct compute_rows){p->offset, p->offset[2]}, p->x.data, out.data,
                           y_dtype);
    layer_free(&y);
    return out;
}

/* Each block of X is rounded by 2^-16 of its largest number, and the rest is fp32. */
static void expect_exact(const struct problem *p, const struct array *y)
{
    for (int64_t r = 0; r < p->offset[2]; r++) {
        const double *w = p->w + (r >= p->offset[1] ? 53 * p->in : 0);
        for (int64_t o = 0; o < 53; o++) {
            double want = 0, bound = 1e-30;
            for (int64_t b = 0; b < p->in; b += 32) {
                double most = 0, weights = 0, sizes = 0;
                for (int64_t k = b; k < b + 32; k++) {
                    double x = array_get(&p->x, (size_t)(r * p->in + k)), v = w[o * p->in + k];
                    want += x * v;
                    most = fmax(most, fabs(x));
                    weights += fabs(v);
                    sizes += fabs(x * v);
                }
                bound += most * weights * 0x1p-15 + sizes * 1e-5;
            }
            double got = array_get(y, (size_t)(r * 53 + o));
            if (!(fabs(got - want) <= bound))
                fail_msg("row %d, column %d: %.9g, want %.9g, allowed %.3g", (int)r, (int)o, got,
                         want, bound);
        }
    }
}

static void expect_same(const char *what, const struct array *got, const struct array *want)
{
    for (size_t i = 0; i < want->n; i++) {
        float a = array_get(got, i), b = array_get(want, i);
        if (memcmp(&a, &b, sizeof(a)) != 0)
            fail_msg("%s: number %zu is %.9g, the reference has %.9g", what, i, (double)a,
                     (double)b);
    }
}

static void check(int64_t in, int first, int second, int32_t rows)
{
    struct pool *pool = pool_new(2);
    for (int t = COMPUTE_F32; t <= COMPUTE_BF16; t++) {
        struct problem p = problem_new(in, first, second, rows, (enum compute_dtype)t);
        struct array want[2] = {{0}};
        for (int b = COMPUTE_REFERENCE; b <= COMPUTE_AVX512; b++) {
            struct compute_options o = {(enum compute_dtype)t, (enum compute_backend)b, pool};
            compute_t *c;
            if (compute_new(&o, &c, NULL) < 0) continue;
            for (int y = COMPUTE_F32; y <= t; y++) {
                struct array got = forward(c, &p, (enum compute_dtype)y);
                if (b == COMPUTE_REFERENCE && y == COMPUTE_F32) expect_exact(&p, &got);
                if (b != COMPUTE_REFERENCE) {
                    expect_same(compute_backend_name(c), &got, &want[y]);
                    array_free(&got);
                } else
                    want[y] = got;
            }
            compute_free(c);
        }
        array_free(&want[0]);
        if (want[1].block) array_free(&want[1]);
        problem_free(&p);
    }
    pool_free(pool);
}

static void every_form(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS; f++)
        check(512, f, (f + 3) % N_FORMS, 23);
}

static void widths_and_rows(void **state)
{
    static const int32_t rows[] = {1, 2, 7, 64};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(32 + 64 * (int64_t)i, 1, 4, rows[i]);
}

/* ------------------------------------------------------------------ rows by themselves */

static void row_alone(void **state)
{
    struct compute_options o = {COMPUTE_F32, COMPUTE_AUTO, NULL};
    compute_t *c;
    (void)state;
    assert_int_equal(compute_new(&o, &c, NULL), 0);
    for (int f = 0; f < N_FORMS; f++) {
        struct problem p = problem_new(256, f, f, MOST_ROWS, COMPUTE_F32);
        struct array all = forward(c, &p, COMPUTE_F32);
        struct layer y = layer_new(c, &p);
        for (int32_t r = 0; r < MOST_ROWS; r += 13) {
            struct array one = array_new(COMPUTE_F32, 53);
            const int32_t alone[3] = {0, r < p.offset[1], 1};
            compute_linear_forward(y.l, (struct compute_rows){alone, 1},
                                   (float *)p.x.data + r * 256, one.data, COMPUTE_F32);
            assert_memory_equal(one.data, (float *)all.data + r * 53, 53 * sizeof(float));
            array_free(&one);
        }
        layer_free(&y);
        array_free(&all);
        problem_free(&p);
    }
    compute_free(c);
}

/* What is not finite makes its row not finite, and no other. */
static void not_finite(void **state)
{
    (void)state;
    for (int b = COMPUTE_REFERENCE; b <= COMPUTE_AVX512; b++) {
        struct compute_options o = {COMPUTE_F32, (enum compute_backend)b, NULL};
        struct problem p = problem_new(64, 1, 4, 9, COMPUTE_F32);
        compute_t *c;
        if (compute_new(&o, &c, NULL) == 0) {
            array_set(&p.x, 4 * 64 + 40, INFINITY);
            array_set(&p.x, 6 * 64 + 3, NAN);
            struct array y = forward(c, &p, COMPUTE_F32);
            for (size_t i = 0; i < y.n; i++)
                assert_int_equal(!isfinite(array_get(&y, i)), i / 53 == 4 || i / 53 == 6);
            array_free(&y);
            compute_free(c);
        }
        problem_free(&p);
    }
}

/* A row of W looked up, as the file's floats are. */
static void looked_up(void **state)
{
    struct compute_options o = {COMPUTE_F32, COMPUTE_AUTO, NULL};
    compute_t *c;
    (void)state;
    assert_int_equal(compute_new(&o, &c, NULL), 0);
    for (int f = 0; f < N_FORMS; f++) {
        struct problem p = problem_new(256, f, f, 1, COMPUTE_F32);
        struct compute_linear_desc d = {.groups = 1, .in = 256, .parts = 1, .max_rows = 1};
        d.out[0] = p.out[0];
        d.codes[0] = p.form[0];
        size_t bytes = compute_linear_bytes(c, &d);
        d.memory = mem_map(bytes);
        compute_linear_t *l = compute_linear_new(c, &d);
        struct compute_linear_codes r = {.n = p.out[0],
                                         .codes = p.codes[0],
                                         .scales = p.scales[0],
                                         .leasts = p.leasts[0],
                                         .scale_steps = p.scale_steps[0],
                                         .least_steps = p.least_steps[0]};
        compute_linear_put_codes(l, &r);
        float h[2 * 256];
        const uint32_t ids[2] = {36, 3};
        struct compute_embed e = {.M = 2, .D = 256, .scale = 1, .ids = ids};
        compute_linear_embed(l, &e, h);
        for (int i = 0; i < 2 * 256; i++) {
            double want = p.w[(int64_t)ids[i / 256] * 256 + i % 256];
            if (!(fabs((double)h[i] - want) <= 1e-6 * (fabs(want) + 1)))
                fail_msg("form %d, number %d: %.9g, want %.9g", f, i, (double)h[i], want);
        }
        compute_linear_free(l);
        mem_unmap(d.memory, bytes);
        problem_free(&p);
    }
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form), cmocka_unit_test(widths_and_rows),
        cmocka_unit_test(row_alone), cmocka_unit_test(not_finite), cmocka_unit_test(looked_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
