/* test_compute_gradients.c: every operation beside an independent formula in double, and every
 * backward pass beside finite differences of that formula.
 *
 * Each test writes the operation as a plain function of doubles that ends in one number: the inner
 * product of the outputs with random directions. Its numerical derivative by every input, by
 * central differences, is what the backward pass must give (fp32: 2e-5 of the largest element).
 * Runs on every backend this CPU has. */
#include "test_compute_arrays.h"

#include <stdio.h>

enum { MAX_INPUTS = 4 };

/* The formula: inputs as arrays of double; returns the scalar. */
typedef double formula_fn(double *const in[], void *ctx);

static double to_double(const struct array *a, double *out)
{
    for (size_t i = 0; i < a->n; i++)
        out[i] = array_get(a, i);
    return 0;
}

static double *doubles(const struct array *a)
{
    double *x = mem_alloc(a->n * sizeof *x);
    to_double(a, x);
    return x;
}

/* got [n] must be the derivative of f by in[which]. */
static void expect_gradient(const char *what, formula_fn *f, void *ctx, double *const in[],
                            int which, const struct array *got)
{
    struct array want = array_new(COMPUTE_F32, got->n);
    for (size_t i = 0; i < got->n; i++) {
        double kept = in[which][i], step = 1e-4 * fmax(1.0, fabs(kept));
        in[which][i] = kept + step;
        double above = f(in, ctx);
        in[which][i] = kept - step;
        double below = f(in, ctx);
        in[which][i] = kept;
        array_set(&want, i, (float)((above - below) / (2 * step)));
    }
    array_expect(what, got, &want, 1e-5, 2e-5);
    array_free(&want);
}

static void expect_near(const char *what, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s is %.9g, want %.9g (allowed %.3g)", what, got, want, bound);
}

static double dot(const struct array *a, const struct array *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->n; i++)
        sum += (double)array_get(a, i) * array_get(b, i);
    return sum;
}

/* ------------------------------------------------------------------ backends */

static compute_t *contexts[3];
static size_t n_contexts;

static int open_contexts(void **state)
{
    (void)state;
    for (int b = COMPUTE_REFERENCE; b <= COMPUTE_AVX512; b++) {
        struct compute_options o = {.dtype = COMPUTE_F32, .backend = (enum compute_backend)b};
        n_contexts += compute_new(&o, &contexts[n_contexts], NULL) == 0;
    }
    return 0;
}

static int close_contexts(void **state)
{
    (void)state;
    while (n_contexts)
        compute_free(contexts[--n_contexts]);
    return 0;
}

#define FOR_CONTEXTS(c)                        \
    for (size_t i_ = 0; i_ < n_contexts; i_++) \
        for (compute_t *c = contexts[i_]; c; c = NULL)

/* ------------------------------------------------------------------ norms */

struct norm_shape {
    int64_t M, D;
    const struct array *u, *w; /* directions of y (or a) and of h_out */
};

static void rms_rows(int64_t M, int64_t D, const double *x, const double *g, double *y)
{
    for (int64_t m = 0; m < M; m++) {
        double squares = 0;
        for (int64_t d = 0; d < D; d++)
            squares += x[m * D + d] * x[m * D + d];
        for (int64_t d = 0; d < D; d++)
            y[m * D + d] = g[d] * x[m * D + d] / sqrt(squares / (double)D + 1e-5);
    }
}

static double rmsnorm_formula(double *const in[], void *ctx)
{
    const struct norm_shape *s = ctx;
    double *y = mem_alloc((size_t)(s->M * s->D) * sizeof *y), sum = 0;
    rms_rows(s->M, s->D, in[0], in[1], y);
    for (int64_t i = 0; i < s->M * s->D; i++)
        sum += y[i] * array_get(s->u, (size_t)i);
    mem_free(y);
    return sum;
}

static void test_rmsnorm(void **state)
{
    (void)state;
    enum { M = 3, D = 21 };
    FOR_CONTEXTS(c)
    {
        struct array x = array_random(COMPUTE_F32, M * D, 1, 0.3, 1);
        struct array g = array_random(COMPUTE_F32, D, 2, 1, 0.2);
        struct array u = array_random(COMPUTE_F32, M * D, 3, 0, 1);
        struct array y = array_new(COMPUTE_F32, M * D), rstd = array_new(COMPUTE_F32, M);
        struct array dx = array_new(COMPUTE_F32, M * D), dg = array_new(COMPUTE_F32, D);
        struct norm_shape s = {M, D, &u, NULL};
        double *in[] = {doubles(&x), doubles(&g)};
        struct compute_norm norm = {M, D, 1e-5f, x.data, g.data, y.data, rstd.data};
        compute_rmsnorm(c, &norm);
        expect_near("rmsnorm", dot(&y, &u), rmsnorm_formula(in, &s), 1e-5);
        struct compute_norm_grad grad = {u.data, dx.data, dg.data, false, false};
        compute_rmsnorm_backward(c, &norm, &grad);
        expect_gradient("rmsnorm dx", rmsnorm_formula, &s, in, 0, &dx);
        expect_gradient("rmsnorm dg", rmsnorm_formula, &s, in, 1, &dg);
        /* added to: twice the gradient */
        struct array dx2 = array_copy(&dx), dg2 = array_copy(&dg);
        grad = (struct compute_norm_grad){u.data, dx2.data, dg2.data, true, true};
        compute_rmsnorm_backward(c, &norm, &grad);
        for (int i = 0; i < M * D; i++)
            assert_true(fabsf(array_get(&dx2, (size_t)i) - 2 * array_get(&dx, (size_t)i)) < 1e-6f);
        for (int i = 0; i < D; i++)
            assert_true(fabsf(array_get(&dg2, (size_t)i) - 2 * array_get(&dg, (size_t)i)) < 1e-6f);
        struct array *all[] = {&x, &g, &u, &y, &rstd, &dx, &dg, &dx2, &dg2};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            array_free(all[i]);
        mem_free(in[0]);
        mem_free(in[1]);
    }
}

/* in: h, y, g_post, g_next */
static double seam_formula(double *const in[], void *ctx)
{
    const struct norm_shape *s = ctx;
    size_t n = (size_t)(s->M * s->D);
    double *h_out = mem_alloc(n * sizeof *h_out), *a = mem_alloc(n * sizeof *a), sum = 0;
    rms_rows(s->M, s->D, in[1], in[2], h_out);
    for (size_t i = 0; i < n; i++)
        h_out[i] += in[0][i];
    rms_rows(s->M, s->D, h_out, in[3], a);
    for (size_t i = 0; i < n; i++)
        sum += a[i] * array_get(s->u, i) + h_out[i] * array_get(s->w, i);
    mem_free(h_out);
    mem_free(a);
    return sum;
}

static void test_seam(void **state)
{
    (void)state;
    enum { M = 3, D = 21 };
    FOR_CONTEXTS(c)
    {
        struct array h = array_random(COMPUTE_F32, M * D, 1, 0, 1);
        struct array y = array_random(COMPUTE_F32, M * D, 2, 0, 2);
        struct array g_post = array_random(COMPUTE_F32, D, 3, 1, 0.2);
        struct array g_next = array_random(COMPUTE_F32, D, 4, 1, 0.2);
        struct array u = array_random(COMPUTE_F32, M * D, 5, 0, 1);
        struct array w = array_random(COMPUTE_F32, M * D, 6, 0, 1), dh = array_copy(&w);
        struct array h_out = array_new(COMPUTE_F32, M * D), a = array_new(COMPUTE_F32, M * D);
        struct array rstd_post = array_new(COMPUTE_F32, M), rstd_next = array_new(COMPUTE_F32, M);
        struct array dy = array_new(COMPUTE_F32, M * D);
        struct array dg_post = array_new(COMPUTE_F32, D), dg_next = array_new(COMPUTE_F32, D);
        struct norm_shape s = {M, D, &u, &w};
        double *in[] = {doubles(&h), doubles(&y), doubles(&g_post), doubles(&g_next)};
        struct compute_seam seam = {.M = M, .D = D, .eps = 1e-5f, .h = h.data, .y = y.data};
        seam.g_post = g_post.data;
        seam.g_next = g_next.data;
        seam.h_out = h_out.data;
        seam.a = a.data;
        seam.rstd_post = rstd_post.data;
        seam.rstd_next = rstd_next.data;
        compute_seam_forward(c, &seam);
        expect_near("seam", dot(&a, &u) + dot(&h_out, &w), seam_formula(in, &s), 2e-5);
        struct compute_seam_grad grad = {u.data,       dh.data,      dy.data,
                                         dg_post.data, dg_next.data, false};
        compute_seam_backward(c, &seam, &grad);
        expect_gradient("seam dh", seam_formula, &s, in, 0, &dh);
        expect_gradient("seam dy", seam_formula, &s, in, 1, &dy);
        expect_gradient("seam dg_post", seam_formula, &s, in, 2, &dg_post);
        expect_gradient("seam dg_next", seam_formula, &s, in, 3, &dg_next);
        struct array *all[] = {&h,     &y, &g_post,    &g_next,    &u,  &w,       &dh,
                               &h_out, &a, &rstd_post, &rstd_next, &dy, &dg_post, &dg_next};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            array_free(all[i]);
        for (int i = 0; i < 4; i++)
            mem_free(in[i]);
    }
}

/* ------------------------------------------------------------------ attention and rotation */

struct attention_shape {
    struct compute_attention a;
    const struct array *u;
};

/* in: q, k, v, each [B*T, ld] */
static double attention_formula(double *const in[], void *ctx)
{
    const struct attention_shape *s = ctx;
    const struct compute_attention *a = &s->a;
    double sum = 0, score[64];
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t i = 0; i < a->H; i++)
            for (int64_t t = 0; t < a->T; t++) {
                int64_t row = b * a->T + t, kv = i / (a->H / a->K) * a->h, L = a->temperature_len;
                int64_t first = a->doc_start ? a->doc_start[row] : 0;
                double total = 0;
                for (int64_t u = first; u <= t; u++) {
                    double x = 0;
                    for (int64_t d = 0; d < a->h; d++)
                        x += in[0][row * a->ld + i * a->h + d] *
                             in[1][(b * a->T + u) * a->ld + kv + d];
                    x *= (double)a->multiplier;
                    if (a->cap > 0) x = (double)a->cap * tanh(x / (double)a->cap);
                    if (L > 0 && t > L) x *= log2((double)t) / log2((double)L);
                    total += score[u] = exp(x);
                }
                for (int64_t u = first; u <= t; u++)
                    for (int64_t d = 0; d < a->h; d++)
                        sum += score[u] / total * in[2][(b * a->T + u) * a->ld + kv + d] *
                               array_get(s->u, (size_t)(row * a->ld_out + i * a->h + d));
            }
    return sum;
}

static void check_attention(compute_t *c, float cap, int64_t temperature_len, bool documents)
{
    enum { B = 2, T = 13, H = 4, K = 2, W = 6, LD = H * W + 3, LD_OUT = H * W + 1, N = B * T };
    struct array q = array_random(COMPUTE_F32, N * LD, 1, 0, 1);
    struct array k = array_random(COMPUTE_F32, N * LD, 2, 0, 1);
    struct array v = array_random(COMPUTE_F32, N * LD, 3, 0, 1);
    struct array u = array_random(COMPUTE_F32, N * LD_OUT, 4, 0, 1);
    struct array out = array_new(COMPUTE_F32, N * LD_OUT), lse = array_new(COMPUTE_F32, B * H * T);
    struct array dq = array_new(COMPUTE_F32, N * LD), dk = array_new(COMPUTE_F32, N * LD);
    struct array dv = array_new(COMPUTE_F32, N * LD);
    int32_t doc_start[N];
    for (int i = 0; i < N; i++)
        doc_start[i] = i % T / 5 * 5;
    struct attention_shape s = {.u = &u};
    s.a = (struct compute_attention){.B = B, .T = T, .H = H, .K = K, .h = W, .ld = LD};
    s.a.q = q.data;
    s.a.k = k.data;
    s.a.v = v.data;
    s.a.ld_out = LD_OUT;
    s.a.out = out.data;
    s.a.lse = lse.data;
    s.a.multiplier = 0.8f;
    s.a.cap = cap;
    s.a.temperature_len = temperature_len;
    s.a.doc_start = documents ? doc_start : NULL;
    double *in[] = {doubles(&q), doubles(&k), doubles(&v)};
    compute_attention_forward(c, &s.a);
    expect_near("attention", dot(&out, &u), attention_formula(in, &s), 1e-4);
    struct compute_attention_grad grad = {u.data, dq.data, dk.data, dv.data};
    compute_attention_backward(c, &s.a, &grad);
    expect_gradient("attention dq", attention_formula, &s, in, 0, &dq);
    expect_gradient("attention dk", attention_formula, &s, in, 1, &dk);
    expect_gradient("attention dv", attention_formula, &s, in, 2, &dv);
    struct array *all[] = {&q, &k, &v, &u, &out, &lse, &dq, &dk, &dv};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    for (int i = 0; i < 3; i++)
        mem_free(in[i]);
}

static void test_attention(void **state)
{
    (void)state;
    FOR_CONTEXTS(c)
    {
        check_attention(c, 0, 0, false);
        check_attention(c, 2, 0, false);
        check_attention(c, 30, 4, false);
        check_attention(c, 3, 0, true);
    }
}

/* Token by token over pages, in pages that lie anywhere, gives what the whole sequence at once gives,
 * and the same bits however rows are put into runs. */
static void check_paged(compute_t *c, compute_t *whole, float cap, int64_t temperature_len,
                        int64_t window)
{
    enum { T = 861, H = 6, K = 2, W = 24, LD = (H + 2 * K) * W, PAGES = T / COMPUTE_PAGE + 1 };
    enum compute_dtype act = compute_act_dtype(c);
    size_t size = compute_dtype_size(act);
    struct array qkv = array_random(act, T * LD, 1, 0, 1);
    struct array want = array_new(act, T * H * W);
    struct array got = array_new(act, T * H * W);
    struct array first = array_new(act, T * H * W);
    size_t bytes = compute_page_bytes(c, K, W);
    char *memory = mem_alloc(PAGES * 2 * bytes);
    void *pages[PAGES];
    for (int i = 0; i < PAGES; i++)
        pages[i] = memory + (size_t)(PAGES - 1 - i) * 2 * bytes;
    const char *x = qkv.data;
    struct compute_attention a = {.B = 1, .T = T, .H = H, .K = K, .h = W, .ld = LD};
    a.q = x;
    a.k = x + H * W * size;
    a.v = x + (H + K) * W * size;
    a.ld_out = H * W;
    a.out = want.data;
    a.multiplier = 0.5f;
    a.cap = cap;
    a.temperature_len = temperature_len;
    int32_t start[T];
    for (int32_t i = 0; i < T; i++)
        start[i] = MAX(i - (int32_t)window + 1, 0);
    if (window) a.doc_start = start;
    compute_attention_forward(whole, &a);
    struct compute_paged p = {.H = H, .K = K, .h = W, .ld = LD, .ld_out = H * W};
    p.at = bytes; /* the second layer of a page */
    p.q = a.q;
    p.k = a.k;
    p.v = a.v;
    p.out = got.data;
    p.multiplier = a.multiplier;
    p.cap = cap;
    p.temperature_len = temperature_len;
    p.window = window;
    /* how many positions a run has, in turns; and how many runs a call */
    static const int64_t lengths[][5] = {
        {1, 1, 1, 1, 1}, {32, 32, 32, 32, 32}, {3, 31, 1, 7, 20}, {29, 32, 5, 31, 32}};
    static const int64_t calls[] = {1, 1, 1, T};
    struct compute_paged_run *runs = mem_calloc(T, sizeof(*runs));
    for (size_t kind = 0; kind < ARRAY_LEN(lengths); kind++) {
        memset(memory, 0xff, PAGES * 2 * bytes); /* NaN where nothing was written */
        p.runs = runs;
        p.n_runs = 0;
        for (int64_t pos = 0, i = 0; pos < T; i++) {
            int64_t n = MIN(lengths[kind][i % 5], T - pos);
            runs[p.n_runs++] =
                (struct compute_paged_run){.row = pos, .n = n, .pos = pos, .pages = pages};
            pos += n;
            if (p.n_runs < calls[kind] && pos < T) continue;
            compute_paged_store(c, &p);
            compute_paged_attention(c, &p);
            p.n_runs = 0;
        }
        array_expect("paged attention", &got, &want, 2e-6, act == COMPUTE_F32 ? 2e-6 : 0x1p-8);
        if (kind == 0) memcpy(first.data, got.data, T * H * W * size);
        assert_memory_equal(first.data, got.data, T * H * W * size);
    }
    mem_free(runs);
    struct array *all[] = {&qkv, &want, &got, &first};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    mem_free(memory);
}

static void check_paged_all(compute_t *c, compute_t *whole)
{
    check_paged(c, whole, 30, 0, 0);
    check_paged(c, whole, 30, 9, 0);
    check_paged(c, whole, 0, 0, 0);
    check_paged(c, whole, 0, 0, 20);
    check_paged(c, whole, 30, 0, 1);
    check_paged(c, whole, 30, 9, 40);
}

static void test_attention_paged(void **state)
{
    (void)state;
    FOR_CONTEXTS(c)
    {
        check_paged_all(c, c);
    }
}

/* In bfloat16 a probability may be rounded, which moves a mean of values by up to 2^-9 of the largest
 * of them. */
static void test_attention_paged_bf16(void **state)
{
    (void)state;
    static const enum compute_backend backends[] = {COMPUTE_REFERENCE, COMPUTE_AVX2,
                                                    COMPUTE_AVX512};
    compute_t *all[ARRAY_LEN(backends)] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
        struct compute_options o = {.dtype = COMPUTE_BF16, .backend = backends[i]};
        if (compute_new(&o, &all[i], NULL) == 0) check_paged_all(all[i], all[0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        if (all[i]) compute_free(all[i]);
}

static void test_rope(void **state)
{
    (void)state;
    enum { B = 2, T = 5, POS = 3, HEADS = 2, W = 6, LD = HEADS * W + 1 };
    FOR_CONTEXTS(c)
    {
        struct array x = array_random(COMPUTE_F32, B * T * LD, 1, 0, 1), y = array_copy(&x);
        struct array table = array_new(COMPUTE_F32, compute_rope_table_floats(POS + T, W));
        compute_rope_table(POS + T, &(struct compute_rotation){.h = W, .theta = 100}, table.data);
        int32_t position[B * T];
        for (int r = 0; r < B * T; r++)
            position[r] = r % T + POS;
        struct compute_rope rope = {B * T, T, HEADS, W, LD, position, table.data, false, y.data};
        compute_rope(c, &rope);
        for (int64_t r = 0; r < B * T; r++)
            for (int64_t i = 0; i < HEADS; i++)
                for (int64_t d = 0; d < W / 2; d++) {
                    double angle = (double)(r % T + POS) * pow(100.0, -2.0 * (double)d / W);
                    size_t at = (size_t)(r * LD + i * W + d);
                    double a = array_get(&x, at), b = array_get(&x, at + W / 2);
                    expect_near("rope", array_get(&y, at), a * cos(angle) - b * sin(angle), 1e-6);
                    expect_near("rope", array_get(&y, at + W / 2), b * cos(angle) + a * sin(angle),
                                1e-6);
                }
        /* a rotation's gradient is the rotation back */
        rope.backward = true;
        compute_rope(c, &rope);
        array_expect("rope there and back", &y, &x, 0, 1e-6);
        array_free(&x);
        array_free(&y);
        array_free(&table);
    }
}

/* ------------------------------------------------------------------ gated unit */

struct glu_shape {
    int64_t M, F;
    const struct array *u;
};

/* in: gu, w */
static double glu_formula(double *const in[], void *ctx)
{
    const struct glu_shape *s = ctx;
    double sum = 0;
    for (int64_t m = 0; m < s->M; m++)
        for (int64_t f = 0; f < s->F; f++) {
            double gate = in[0][m * 2 * s->F + f], up = in[0][m * 2 * s->F + s->F + f];
            double gelu =
                0.5 * gate * (1 + tanh(sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate)));
            sum += in[1][m] * gelu * up * array_get(s->u, (size_t)(m * s->F + f));
        }
    return sum;
}

static void test_glu(void **state)
{
    (void)state;
    enum { M = 4, F = 19 };
    FOR_CONTEXTS(c)
    {
        struct array gu = array_random(COMPUTE_F32, M * 2 * F, 1, 0, 2);
        struct array w = array_random(COMPUTE_F32, M, 2, 0.5, 0.2);
        struct array u = array_random(COMPUTE_F32, M * F, 3, 0, 1);
        struct array act = array_new(COMPUTE_F32, M * F), act2 = array_new(COMPUTE_F32, M * F);
        struct array dgu = array_new(COMPUTE_F32, M * 2 * F), dw = array_new(COMPUTE_F32, M);
        struct glu_shape s = {M, F, &u};
        double *in[] = {doubles(&gu), doubles(&w)};
        struct compute_glu glu = {M, F, gu.data, w.data, act.data};
        compute_glu_forward(c, &glu);
        expect_near("glu", dot(&act, &u), glu_formula(in, &s), 1e-4);
        struct compute_glu_grad grad = {u.data, dgu.data, dw.data};
        glu.act = act2.data;
        compute_glu_backward(c, &glu, &grad);
        array_expect("glu forward again", &act2, &act, 1e-6, 1e-6);
        expect_gradient("glu dgu", glu_formula, &s, in, 0, &dgu);
        expect_gradient("glu dw", glu_formula, &s, in, 1, &dw);
        struct array *all[] = {&gu, &w, &u, &act, &act2, &dgu, &dw};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            array_free(all[i]);
        mem_free(in[0]);
        mem_free(in[1]);
    }
}

/* ------------------------------------------------------------------ router */

struct router_shape {
    const struct compute_router *r; /* the choice of experts is a constant of the formula */
    const struct array *u, *f;
    double aux_coef, z_coef;
};

/* in: x, W */
static double router_formula(double *const in[], void *ctx)
{
    const struct router_shape *s = ctx;
    const struct compute_router *r = s->r;
    double sum = 0, p[16], cap = (double)r->cap;
    for (int64_t m = 0; m < r->M; m++) {
        double total = 0;
        for (int64_t e = 0; e < r->E; e++) {
            double logit = 0;
            for (int64_t d = 0; d < r->D; d++)
                logit += in[0][m * r->D + d] * in[1][e * r->D + d];
            if (cap > 0) logit = cap * tanh(logit / cap);
            total += p[e] = exp(logit);
        }
        for (int64_t j = 0; j < r->k; j++)
            sum += p[r->top[m * r->k + j]] / total * array_get(s->u, (size_t)(m * r->k + j));
        for (int64_t e = 0; e < r->E; e++)
            sum += s->aux_coef * (double)r->E * array_get(s->f, (size_t)e) * p[e] / total /
                   (double)r->M;
        sum += s->z_coef * log(total) * log(total) / (double)r->M;
    }
    return sum;
}

static void check_router(compute_t *c, float cap, bool biased)
{
    enum { M = 6, D = 17, E = 5, K = 2 };
    struct array x = array_random(COMPUTE_F32, M * D, 1, 0, 1);
    struct array W = array_random(COMPUTE_F32, E * D, 2, 0, 0.4);
    struct array bias = array_random(COMPUTE_F32, E, 3, 0, 0.3);
    struct array u = array_random(COMPUTE_F32, M * K, 4, 0, 1);
    struct array f = array_random(COMPUTE_F32, E, 5, 0.2, 0.05);
    struct array probs = array_new(COMPUTE_F32, M * E), lse = array_new(COMPUTE_F32, M);
    struct array weight = array_new(COMPUTE_F32, M * K);
    struct array dx = array_new(COMPUTE_F32, M * D), dW = array_new(COMPUTE_F32, E * D);
    int32_t top[M * K];
    struct compute_router r = {.M = M, .D = D, .E = E, .k = K, .cap = cap, .x = x.data};
    r.W = W.data;
    r.bias = biased ? bias.data : NULL;
    r.probs = probs.data;
    r.lse = lse.data;
    r.top = top;
    r.weight = weight.data;
    compute_router_forward(c, &r);
    for (int m = 0; m < M; m++) {
        /* no expert that was left out scores above one that was taken */
        for (int j = 0; j < K; j++)
            for (int e = 0; e < E; e++) {
                bool taken = e == top[m * K] || e == top[m * K + 1];
                float score = array_get(&probs, (size_t)(m * E + e)) +
                              (biased ? array_get(&bias, (size_t)e) : 0);
                int t = top[m * K + j];
                float chosen = array_get(&probs, (size_t)(m * E + t)) +
                               (biased ? array_get(&bias, (size_t)t) : 0);
                assert_true(taken || score < chosen);
            }
        for (int j = 0; j < K; j++)
            assert_true(array_get(&weight, (size_t)(m * K + j)) ==
                        array_get(&probs, (size_t)(m * E + top[m * K + j])));
    }
    struct router_shape s = {&r, &u, &f, 0.7, 0.2};
    double *in[] = {doubles(&x), doubles(&W)};
    struct compute_router_grad grad = {u.data, f.data, 0.7f, 0.2f, dx.data, dW.data, false};
    compute_router_backward(c, &r, &grad);
    expect_gradient("router dx", router_formula, &s, in, 0, &dx);
    expect_gradient("router dW", router_formula, &s, in, 1, &dW);
    struct array *all[] = {&x, &W, &bias, &u, &f, &probs, &lse, &weight, &dx, &dW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    mem_free(in[0]);
    mem_free(in[1]);
}

static void test_router(void **state)
{
    (void)state;
    FOR_CONTEXTS(c)
    {
        check_router(c, 0, false);
        check_router(c, 1.5f, true);
    }
}

/* Gather and combine with a dispatch of random choices: every token meets its experts once. */
static void test_dispatch(void **state)
{
    (void)state;
    enum { M = 150, E = 7, K = 3, D = 9 };
    int32_t top[M * K], offset[E + 1], count[E], slot_row[M * K];
    int64_t bound = compute_dispatch_rows(M, E, K, COMPUTE_ROW_ALIGN);
    int32_t *row_token = mem_alloc((size_t)bound * sizeof *row_token);
    int32_t *row_slot = mem_alloc((size_t)bound * sizeof *row_slot);
    for (int m = 0; m < M; m++) { /* three different ones; expert 3 is never chosen */
        static const int32_t choices[] = {0, 1, 2, 4, 5, 6};
        for (int j = 0; j < K; j++)
            top[m * K + j] = choices[(rng_u64(1, 2, (uint64_t)m) + (uint64_t)j) % 6];
    }
    float weight[M * K], *row_weight = mem_alloc((size_t)bound * sizeof(*row_weight));
    for (int s = 0; s < M * K; s++)
        weight[s] = (float)(s + 1);
    struct compute_dispatch dispatch = {M,         E,        K,      COMPUTE_ROW_ALIGN,
                                        top,       offset,   count,  slot_row,
                                        row_token, row_slot, weight, row_weight};
    compute_t *any;
    assert_int_equal(compute_new(&(struct compute_options){COMPUTE_F32}, &any, NULL), 0);
    compute_dispatch(any, &dispatch);
    assert_true(offset[E] <= bound);
    assert_int_equal(count[3], 0);
    int total = 0;
    for (int e = 0; e < E; e++) {
        assert_int_equal(offset[e] % COMPUTE_ROW_ALIGN, 0);
        total += count[e];
        int32_t last = -1;
        for (int32_t r = offset[e]; r < offset[e + 1]; r++) {
            if (r >= offset[e] + count[e]) {
                assert_int_equal(row_token[r], -1);
                assert_int_equal(row_slot[r], -1);
                assert_true(row_weight[r] == 0);
                continue;
            }
            assert_int_equal(top[row_slot[r]], e);
            assert_int_equal(row_token[r], row_slot[r] / K);
            assert_int_equal(slot_row[row_slot[r]], r);
            assert_true(row_weight[r] == weight[row_slot[r]]);
            assert_true(row_slot[r] > last); /* slots keep their order */
            last = row_slot[r];
        }
    }
    assert_int_equal(total, M * K);
    float d_weight[M * K], share[E];
    struct compute_slots slots = {M, E, K, row_weight, slot_row, count, d_weight, share};
    compute_slots(any, &slots);
    assert_memory_equal(d_weight, weight, sizeof(weight)); /* there and back */
    for (int e = 0; e < E; e++)
        assert_true(share[e] == (float)(count[e] / (double)(M * K)));
    compute_free(any);
    mem_free(row_weight);
    FOR_CONTEXTS(c)
    {
        struct array x = array_random(COMPUTE_F32, M * D, 1, 0, 1);
        struct array rows = array_new(COMPUTE_F32, (size_t)(bound * D));
        struct array out = array_new(COMPUTE_F32, M * D);
        struct compute_gather gather = {bound, D, &offset[E], row_token, x.data, rows.data};
        compute_gather(c, &gather);
        struct compute_combine combine = {M,      D,      K,    slot_row, rows.data,
                                          x.data, x.data, 0.5f, out.data};
        compute_combine(c, &combine);
        for (size_t i = 0; i < M * D; i++) /* K copies, a and b */
            expect_near("gather and combine", array_get(&out, i), 0.5 * (K + 2) * array_get(&x, i),
                        1e-5);
        array_free(&x);
        array_free(&rows);
        array_free(&out);
    }
    mem_free(row_token);
    mem_free(row_slot);
}

/* ------------------------------------------------------------------ embedding and loss */

static void test_embed(void **state)
{
    (void)state;
    enum { M = 9, D = 70, V = 5 };
    static const uint32_t ids[M] = {1, 4, 1, 0, 0, 3, 1, 4, 4};
    FOR_CONTEXTS(c)
    {
        struct array table = array_random(COMPUTE_F32, V * D, 1, 0, 1);
        struct array h = array_new(COMPUTE_F32, M * D),
                     dh = array_random(COMPUTE_F32, M * D, 2, 0, 1);
        struct array d_table = array_new(COMPUTE_F32, V * D), want = array_new(COMPUTE_F32, V * D);
        struct compute_embed embed = {M, D, ids, 3};
        compute_embed(c, &embed, table.data, h.data);
        compute_embed_backward(c, &embed, dh.data, d_table.data);
        for (size_t m = 0; m < M; m++)
            for (size_t d = 0; d < D; d++) {
                expect_near("embed", array_get(&h, m * D + d),
                            3.0 * array_get(&table, ids[m] * D + d), 1e-6);
                array_set(&want, ids[m] * D + d,
                          array_get(&want, ids[m] * D + d) + 3 * array_get(&dh, m * D + d));
            }
        array_expect("embed backward", &d_table, &want, 1e-6, 1e-6);
        array_free(&table);
        array_free(&h);
        array_free(&dh);
        array_free(&d_table);
        array_free(&want);
    }
}

struct loss_shape {
    int64_t M, V;
    const uint32_t *targets;
    double multiplier, cap, scale;
};

static double loss_formula(double *const in[], void *ctx)
{
    const struct loss_shape *s = ctx;
    double sum = 0;
    for (int64_t m = 0; m < s->M; m++) {
        double total = 0, target = 0;
        for (int64_t v = 0; v < s->V; v++) {
            double x = s->multiplier * in[0][m * s->V + v];
            if (s->cap > 0) x = s->cap * tanh(x / s->cap);
            total += exp(x);
            if (v == s->targets[m]) target = x;
        }
        sum += s->scale * (log(total) - target);
    }
    return sum;
}

static void check_loss(compute_t *c, float cap)
{
    enum { M = 3, V = 37 };
    static const uint32_t targets[M] = {0, 36, 11};
    struct array z = array_random(COMPUTE_F32, M * V, 1, 0, 3), logits = array_copy(&z);
    struct array nll = array_new(COMPUTE_F32, M), dz = array_new(COMPUTE_F32, M * V);
    struct loss_shape s = {M, V, targets, 0.6f, (double)cap, 0.25};
    double *in[] = {doubles(&z)};
    struct compute_loss loss = {M, V, z.data, targets, 0.6f, cap, 0.25f, nll.data, dz.data};
    compute_cross_entropy(c, &loss);
    double sum = 0;
    for (size_t m = 0; m < M; m++)
        sum += 0.25 * array_get(&nll, m);
    expect_near("loss", sum, loss_formula(in, &s), 1e-5);
    expect_gradient("loss dz", loss_formula, &s, in, 0, &dz);
    compute_logits(c, M, V, 0.6f, cap, logits.data);
    for (size_t i = 0; i < M * V; i++) {
        double x = (double)0.6f * array_get(&z, i);
        expect_near("logits", array_get(&logits, i),
                    cap > 0 ? (double)cap * tanh(x / (double)cap) : x, 1e-5);
    }
    array_free(&z);
    array_free(&logits);
    array_free(&nll);
    array_free(&dz);
    mem_free(in[0]);
}

static void test_loss(void **state)
{
    (void)state;
    FOR_CONTEXTS(c)
    {
        check_loss(c, 0);
        check_loss(c, 2);
    }
}

/* ------------------------------------------------------------------ optimisers */

/* Three steps of AdamW and momentum in double, from the formulas of the paper. */
static void test_optimizers(void **state)
{
    (void)state;
    enum { N = 37 };
    FOR_CONTEXTS(c)
    {
        struct array p = array_random(COMPUTE_F32, N, 1, 0, 1), m = array_new(COMPUTE_F32, N);
        struct array v = array_new(COMPUTE_F32, N), mu = array_new(COMPUTE_F32, N);
        struct array u = array_new(COMPUTE_F32, N);
        double wp[N], wm[N] = {0}, wv[N] = {0}, wmu[N] = {0};
        to_double(&p, wp);
        for (int step = 1; step <= 3; step++) {
            struct array g = array_random(COMPUTE_F32, N, (uint64_t)(10 + step), 0, 1);
            struct compute_adamw o = {0.01f, 0.9f, 0.95f,  1e-8f,  0.1f,   0.5f,
                                      step,  N,    p.data, g.data, m.data, v.data};
            compute_adamw(c, &o);
            struct compute_momentum o2 = {0.9f, 0.5f, true, N, g.data, mu.data, u.data};
            compute_momentum(c, &o2);
            for (size_t i = 0; i < N; i++) {
                double grad = 0.5 * array_get(&g, i);
                wm[i] = 0.9 * wm[i] + 0.1 * grad;
                wv[i] = 0.95 * wv[i] + 0.05 * grad * grad;
                double mh = wm[i] / (1 - pow(0.9, step)), vh = wv[i] / (1 - pow(0.95, step));
                wp[i] -= 0.01 * (mh / (sqrt(vh) + 1e-8) + 0.1 * wp[i]);
                wmu[i] = 0.9 * wmu[i] + grad;
                expect_near("adamw", array_get(&p, i), wp[i], 3e-6);
                expect_near("momentum", array_get(&mu, i), wmu[i], 1e-6);
                expect_near("nesterov", array_get(&u, i), grad + 0.9 * wmu[i], 1e-6);
            }
            array_free(&g);
        }
        struct array *all[] = {&p, &m, &v, &mu, &u};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            array_free(all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_seam),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_paged),
        cmocka_unit_test(test_attention_paged_bf16),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_router),
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_optimizers),
    };
    return cmocka_run_group_tests(tests, open_contexts, close_contexts);
}
