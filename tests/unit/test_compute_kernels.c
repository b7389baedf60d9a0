/* test_compute_kernels.c: every entry of every kernel table this CPU can run, beside the
 * reference's, on the same random input: several odd shapes each, so that tails are met.
 *
 * The bounds: fp32 results differ by the order of a sum and by the last bits of exp and tanh, so a
 * few 1e-6 of the largest element; bfloat16 results may round to the neighbour (one step of 2^-7,
 * see array_expect). A kernel with a wider bound says why. Every buffer is fenced. */
#include "test_compute_arrays.h"

#include <stdio.h>

#include "compute/reference/compute_reference_internal.h"
#include "compute/x86/compute_x86_internal.h"

struct fast_table {
    const struct compute_kernels *fast, *ref;
    enum compute_dtype dtype;
};

static struct fast_table tables[4];
static size_t n_tables;

static void collect(enum compute_backend b, enum compute_dtype t,
                    const struct compute_kernels *(*get)(enum compute_dtype))
{
    compute_t *c;
    if (compute_new(&(struct compute_options){.dtype = t, .backend = b}, &c, NULL) < 0)
        return; /* not on this CPU */
    compute_free(c);
    tables[n_tables++] = (struct fast_table){get(t), compute_kernels_reference(t), t};
}

static int collect_all(void **state)
{
    (void)state;
#if COMPUTE_X86_KERNELS
    for (int t = COMPUTE_F32; t <= COMPUTE_BF16; t++) {
        collect(COMPUTE_AVX2, (enum compute_dtype)t, compute_kernels_avx2);
        collect(COMPUTE_AVX512, (enum compute_dtype)t, compute_kernels_avx512);
    }
#else
    (void)collect;
#endif
    return 0;
}

/* Runs body for every table with a kernel of that name. */
#define FOR_TABLES(entry, t)                                                                \
    if (n_tables == 0) {                                                                    \
        print_message("no fast kernel table runs on this processor: nothing to compare\n"); \
        skip();                                                                             \
    }                                                                                       \
    for (struct fast_table *t = tables; t < tables + n_tables; t++)                         \
        if (t->fast->entry)

static const int64_t widths[] = {1, 2, 7, 16, 31, 33, 64, 100, 257, 768};
static const int64_t row_counts[] = {1, 3, 17};

#define FOR_SHAPES(rows, D)                               \
    for (size_t r_ = 0; r_ < ARRAY_LEN(row_counts); r_++) \
        for (size_t d_ = 0; d_ < ARRAY_LEN(widths); d_++) \
            for (int64_t rows = row_counts[r_], D = widths[d_], once_ = 1; once_; once_ = 0)

static char label_text[128];
static const char *label(const struct fast_table *t, const char *what, int64_t rows, int64_t D)
{
    snprintf(label_text, sizeof label_text, "%s %s [%lld, %lld]", t->fast->name, what,
             (long long)rows, (long long)D);
    return label_text;
}

/* ------------------------------------------------------------------ conversion */

static void test_convert(void **state)
{
    (void)state;
    FOR_TABLES(to_act, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        size_t n = (size_t)widths[i];
        struct array x = array_random(COMPUTE_F32, n, i, 0, 3);
        struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
        /* halves that round to even, a denormal, infinity and a NaN whose low bits alone are set */
        uint32_t special[] = {0x3f808000, 0x3f818000, 0x00012345, 0x7f800000,
                              0x7f800001, 0xff800000, 0x7f7fffff, 0x80000000};
        if (n >= 31) memcpy(array_f32(&x) + n - ARRAY_LEN(special), special, sizeof special);
        t->fast->to_act(n, array_f32(&x), got.data);
        t->ref->to_act(n, array_f32(&x), want.data);
        for (size_t j = 0; j < n; j++) {
            float g = array_get(&got, j), w = array_get(&want, j);
            if (memcmp(&g, &w, sizeof g) != 0 && !(isnan(g) && isnan(w)))
                fail_msg("%s to_act: element %zu of %zu is %g, want %g", t->fast->name, j, n,
                         (double)g, (double)w);
        }
        array_free(&x);
        array_free(&got);
        array_free(&want);
    }
    FOR_TABLES(from_act, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        size_t n = (size_t)widths[i];
        struct array x = array_random(t->dtype, n, i, 0, 3);
        struct array got = array_new(COMPUTE_F32, n), want = array_new(COMPUTE_F32, n);
        t->fast->from_act(n, x.data, got.data);
        t->ref->from_act(n, x.data, want.data);
        assert_memory_equal(got.data, want.data, n * sizeof(float));
        array_free(&x);
        array_free(&got);
        array_free(&want);
    }
}

static void test_scale(void **state)
{
    (void)state;
    FOR_TABLES(scale, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        size_t n = (size_t)widths[i];
        struct array x = array_random(t->dtype, n, i, 0, 3);
        struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
        t->fast->scale(n, 0.7f, x.data, got.data);
        t->ref->scale(n, 0.7f, x.data, want.data);
        array_expect(label(t, "scale", 1, widths[i]), &got, &want, 0, 0);
        array_free(&x);
        array_free(&got);
        array_free(&want);
    }
}

/* ------------------------------------------------------------------ norms */

static void test_rmsnorm(void **state)
{
    (void)state;
    FOR_TABLES(rmsnorm, t)
    FOR_SHAPES(rows, D)
    {
        size_t n = (size_t)(rows * D);
        struct array x = array_random(COMPUTE_F32, n, 1, 0.2, 2);
        struct array g = array_random(COMPUTE_F32, (size_t)D, 2, 1, 0.1);
        struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
        struct array got_s = array_new(COMPUTE_F32, (size_t)rows);
        struct array want_s = array_new(COMPUTE_F32, (size_t)rows);
        struct compute_norm norm = {rows, D, 1e-5f, x.data, g.data, got.data, NULL};
        t->fast->rmsnorm(&norm, 0, rows);
        norm.rstd = got_s.data;
        t->fast->rmsnorm(&norm, 0, rows / 2); /* in two pieces */
        t->fast->rmsnorm(&norm, rows / 2, rows - rows / 2);
        norm.y = want.data;
        norm.rstd = want_s.data;
        t->ref->rmsnorm(&norm, 0, rows);
        array_expect(label(t, "rmsnorm y", rows, D), &got, &want, 2e-6, 0);
        array_expect(label(t, "rmsnorm rstd", rows, D), &got_s, &want_s, 1e-6, 0);
        array_free(&x);
        array_free(&g);
        array_free(&got);
        array_free(&want);
        array_free(&got_s);
        array_free(&want_s);
    }
}

static void check_rmsnorm_backward(const struct fast_table *t, int64_t rows, int64_t D, bool add)
{
    size_t n = (size_t)(rows * D);
    struct array x = array_random(COMPUTE_F32, n, 1, 0.2, 2);
    struct array g = array_random(COMPUTE_F32, (size_t)D, 2, 1, 0.1);
    struct array s = array_random(COMPUTE_F32, (size_t)rows, 3, 0.5, 0.01);
    struct array dy = array_random(t->dtype, n, 4, 0, 1);
    struct array got = array_random(COMPUTE_F32, n, 5, 0, 1), want = array_copy(&got);
    struct array got_g = array_random(COMPUTE_F32, (size_t)D, 6, 0, 1), want_g = array_copy(&got_g);
    struct compute_norm norm = {.M = rows, .D = D, .x = x.data, .g = g.data, .rstd = s.data};
    struct compute_norm_grad grad = {.dy = dy.data, .dx = got.data, .add = add};
    t->fast->rmsnorm_backward(&norm, &grad, 0, rows / 2, got_g.data);
    t->fast->rmsnorm_backward(&norm, &grad, rows / 2, rows - rows / 2, got_g.data);
    grad.dx = want.data;
    t->ref->rmsnorm_backward(&norm, &grad, 0, rows, want_g.data);
    array_expect(label(t, "rmsnorm dx", rows, D), &got, &want, 1e-6, 2e-6);
    array_expect(label(t, "rmsnorm dg", rows, D), &got_g, &want_g, 1e-6, 2e-6);
    array_free(&x);
    array_free(&g);
    array_free(&s);
    array_free(&dy);
    array_free(&got);
    array_free(&want);
    array_free(&got_g);
    array_free(&want_g);
}

static void test_rmsnorm_backward(void **state)
{
    (void)state;
    FOR_TABLES(rmsnorm_backward, t)
    FOR_SHAPES(rows, D)
    {
        check_rmsnorm_backward(t, rows, D, false);
        check_rmsnorm_backward(t, rows, D, true);
    }
}

/* One side's buffers of a seam. */
struct seam_side {
    struct array h, h_out, a, rstd_post, rstd_next, dh, dy, dg_post, dg_next;
};

static struct seam_side seam_side_new(enum compute_dtype dtype, int64_t rows, int64_t D)
{
    size_t n = (size_t)(rows * D);
    return (struct seam_side){
        .h = array_random(COMPUTE_F32, n, 1, 0, 1),
        .h_out = array_random(COMPUTE_F32, n, 1, 0, 1),
        .a = array_new(dtype, n),
        .rstd_post = array_new(COMPUTE_F32, (size_t)rows),
        .rstd_next = array_new(COMPUTE_F32, (size_t)rows),
        .dh = array_random(COMPUTE_F32, n, 7, 0, 1),
        .dy = array_new(dtype, n),
        .dg_post = array_random(COMPUTE_F32, (size_t)D, 8, 0, 1),
        .dg_next = array_random(COMPUTE_F32, (size_t)D, 9, 0, 1),
    };
}

static void seam_side_free(struct seam_side *s)
{
    struct array *all[] = {&s->h,  &s->h_out, &s->a,       &s->rstd_post, &s->rstd_next,
                           &s->dh, &s->dy,    &s->dg_post, &s->dg_next};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
}

/* A seam that lacks a norm or its second line; and a whole one as two calls, which give its bits. */
static void check_seam_parts(const struct fast_table *t, int64_t rows, int64_t D)
{
    size_t n = (size_t)(rows * D);
    struct array y = array_random(t->dtype, n, 1, 0, 1), da = array_random(t->dtype, n, 2, 0, 1);
    struct array g = array_random(COMPUTE_F32, (size_t)D, 3, 1, 0.2);
    struct seam_side side[2] = {seam_side_new(t->dtype, rows, D), seam_side_new(t->dtype, rows, D)};
    struct compute_seam seam[2], whole;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < 2; i++) {
            struct seam_side *s = &side[i];
            seam[i] = (struct compute_seam){.M = rows, .D = D, .eps = 1e-5f, .y = y.data};
            seam[i].h = s->h.data;
            seam[i].h_out = s->h_out.data;
            seam[i].scale = 0.3f;
            seam[i].rstd_post = s->rstd_post.data;
            seam[i].rstd_next = s->rstd_next.data;
            if (kind & 1) seam[i].g_post = g.data;
            if (kind & 2) seam[i].g_next = g.data;
            if (kind < 3) seam[i].a = s->a.data;
            (i ? t->ref : t->fast)->seam_forward(&seam[i], 0, rows);
        }
        array_expect(label(t, "seam part h_out", rows, D), &side[0].h_out, &side[1].h_out, 1e-6,
                     2e-6);
        array_expect(label(t, "seam part a", rows, D), &side[0].a, &side[1].a, 1e-6, 4e-6);
    }
    for (int i = 0; i < 2; i++) {
        struct seam_side *s = &side[i];
        const struct compute_kernels *k = t->fast;
        seam[i].a = s->a.data;
        k->seam_forward(&seam[i], 0, rows); /* both are kind 3 still: whole */
        whole = seam[i];
        struct compute_seam_grad both = {da.data, s->dh.data, s->dy.data};
        struct compute_seam_grad upper = {.da = da.data, .dh = s->dh.data};
        struct compute_seam_grad lower = {.dh = s->dh.data, .dy = s->dy.data};
        if (i == 0) {
            k->seam_backward(&whole, &both, 0, rows, s->dg_post.data, s->dg_next.data);
            continue;
        }
        k->seam_backward(&whole, &upper, 0, rows, NULL, s->dg_next.data);
        k->seam_backward(&whole, &lower, 0, rows, s->dg_post.data, NULL);
    }
    const struct {
        const struct array *one, *two;
        size_t n;
    } same[] = {{&side[0].dh, &side[1].dh, n * 4},
                {&side[0].dy, &side[1].dy, n * compute_dtype_size(t->dtype)},
                {&side[0].dg_post, &side[1].dg_post, (size_t)D * 4},
                {&side[0].dg_next, &side[1].dg_next, (size_t)D * 4}};
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_memory_equal(same[i].one->data, same[i].two->data, same[i].n);
    for (int i = 0; i < 2; i++)
        seam_side_free(&side[i]);
    array_free(&y);
    array_free(&da);
    array_free(&g);
}

static void check_seam(const struct fast_table *t, int64_t rows, int64_t D, bool in_place)
{
    size_t n = (size_t)(rows * D);
    struct array y = array_random(t->dtype, n, 2, 0, 2), da = array_random(t->dtype, n, 3, 0, 1);
    struct array g_post = array_random(COMPUTE_F32, (size_t)D, 4, 1, 0.1);
    struct array g_next = array_random(COMPUTE_F32, (size_t)D, 5, 1, 0.1);
    struct seam_side side[2] = {seam_side_new(t->dtype, rows, D), seam_side_new(t->dtype, rows, D)};
    for (int i = 0; i < 2; i++) {
        struct seam_side *s = &side[i];
        const struct compute_kernels *k = i == 0 ? t->fast : t->ref;
        struct compute_seam seam = {.M = rows, .D = D, .eps = 1e-5f, .y = y.data};
        seam.h = in_place ? s->h_out.data : s->h.data;
        seam.g_post = g_post.data;
        seam.g_next = g_next.data;
        seam.h_out = s->h_out.data;
        seam.a = s->a.data;
        seam.rstd_post = s->rstd_post.data;
        seam.rstd_next = s->rstd_next.data;
        struct compute_seam_grad grad = {.da = da.data, .dh = s->dh.data, .dy = s->dy.data};
        int64_t piece = i == 0 ? (rows + 1) / 2 : rows;
        for (int64_t r = 0; r < rows; r += piece)
            k->seam_forward(&seam, r, MIN(piece, rows - r));
        seam.h = NULL;
        for (int64_t r = 0; r < rows; r += piece)
            k->seam_backward(&seam, &grad, r, MIN(piece, rows - r), s->dg_post.data,
                             s->dg_next.data);
    }
    array_expect(label(t, "seam h_out", rows, D), &side[0].h_out, &side[1].h_out, 1e-6, 2e-6);
    array_expect(label(t, "seam a", rows, D), &side[0].a, &side[1].a, 1e-6, 4e-6);
    array_expect(label(t, "seam rstd_post", rows, D), &side[0].rstd_post, &side[1].rstd_post, 1e-6,
                 0);
    array_expect(label(t, "seam rstd_next", rows, D), &side[0].rstd_next, &side[1].rstd_next, 2e-6,
                 0);
    array_expect(label(t, "seam dh", rows, D), &side[0].dh, &side[1].dh, 1e-6, 4e-6);
    array_expect(label(t, "seam dy", rows, D), &side[0].dy, &side[1].dy, 1e-6, 1e-5);
    array_expect(label(t, "seam dg_post", rows, D), &side[0].dg_post, &side[1].dg_post, 1e-6, 4e-6);
    array_expect(label(t, "seam dg_next", rows, D), &side[0].dg_next, &side[1].dg_next, 1e-6, 4e-6);
    seam_side_free(&side[0]);
    seam_side_free(&side[1]);
    array_free(&y);
    array_free(&da);
    array_free(&g_post);
    array_free(&g_next);
}

static void test_seam(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    FOR_SHAPES(rows, D)
    {
        check_seam(t, rows, D, false);
        check_seam(t, rows, D, true);
        check_seam_parts(t, rows, D);
    }
}

/* ------------------------------------------------------------------ attention */

struct attention_case {
    int64_t B, T, H, K, h, extra_ld;
    float multiplier, cap;
    int64_t temperature_len;
    bool documents;
};

static const struct attention_case attention_cases[] = {
    {1, 1, 1, 1, 8, 0, 0.3f, 30, 0, false},    {1, 5, 2, 1, 2, 0, 0.7f, 0, 0, false},
    {2, 33, 2, 2, 16, 3, 0.25f, 30, 0, false}, {1, 130, 4, 2, 64, 0, 0.125f, 30, 0, true},
    {2, 70, 3, 1, 40, 8, 0.2f, 5, 20, true},   {1, 257, 2, 1, 128, 64, 0.09f, 30, 64, false},
    {1, 200, 6, 2, 64, 32, 0.5f, 2, 0, false},
};

/* Both passes of one case by one table; outputs in fresh arrays. */
struct attention_result {
    struct array out, lse, dq, dk, dv;
};

static struct attention_result attention_run(const struct compute_kernels *k,
                                             const struct attention_case *s,
                                             struct compute_attention a, enum compute_dtype dtype,
                                             const struct array *dout)
{
    size_t rows = (size_t)(s->B * s->T), n = rows * (size_t)a.ld;
    struct attention_result r = {
        array_new(dtype, rows * (size_t)a.ld_out),
        array_new(COMPUTE_F32, (size_t)(s->B * s->H * s->T)),
        array_new(dtype, n),
        array_new(dtype, n),
        array_new(dtype, n),
    };
    size_t bytes = k->attention_scratch(s->T, s->h);
    char *block = mem_alloc(bytes + 64);
    void *scratch = (void *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    a.out = r.out.data;
    a.lse = r.lse.data;
    struct compute_attention_grad grad = {dout->data, r.dq.data, r.dk.data, r.dv.data};
    /* in uneven pieces, last first: a piece must not lean on another */
    for (int64_t b = 0; b < s->B; b++)
        for (int64_t head = 0; head < s->H; head++)
            for (int64_t t1 = s->T; t1 > 0; t1 = t1 > 37 ? t1 - 37 : 0)
                k->attention_forward(&a, b, head, t1 > 37 ? t1 - 37 : 0, t1, scratch);
    for (int64_t b = 0; b < s->B; b++)
        for (int64_t kv = 0; kv < s->K; kv++)
            k->attention_backward(&a, &grad, b, kv, scratch);
    mem_free(block);
    return r;
}

static void check_attention(const struct fast_table *t, const struct attention_case *s)
{
    struct compute_attention a = {.B = s->B, .T = s->T, .H = s->H, .K = s->K, .h = s->h};
    a.ld = s->H * s->h + s->extra_ld;
    a.ld_out = s->H * s->h + 5;
    a.multiplier = s->multiplier;
    a.cap = s->cap;
    a.temperature_len = s->temperature_len;
    size_t rows = (size_t)(s->B * s->T), n = rows * (size_t)a.ld;
    struct array q = array_random(t->dtype, n, 1, 0, 1), k = array_random(t->dtype, n, 2, 0, 1);
    struct array v = array_random(t->dtype, n, 3, 0, 1);
    struct array dout = array_random(t->dtype, rows * (size_t)a.ld_out, 4, 0, 1);
    int32_t *doc_start = mem_calloc(rows, sizeof *doc_start);
    for (size_t i = 0; i < rows; i++) /* documents of 29 tokens */
        doc_start[i] = (int32_t)((int64_t)i % s->T / 29 * 29);
    a.q = q.data;
    a.k = k.data;
    a.v = v.data;
    a.doc_start = s->documents ? doc_start : NULL;
    struct attention_result got = attention_run(t->fast, s, a, t->dtype, &dout);
    struct attention_result want = attention_run(t->ref, s, a, t->dtype, &dout);
    /* bfloat16 kernels may round probabilities and their gradients to 8 bits before the second
     * product, as the published model does: an error of 2^-8 of the largest term, averaging out. */
    double bound = t->dtype == COMPUTE_BF16 ? 1.5e-2 : 1e-5;
    array_expect(label(t, "attention out", s->T, s->h), &got.out, &want.out, 0, bound);
    array_expect(label(t, "attention lse", s->T, s->h), &got.lse, &want.lse, 0, bound * 0.1);
    array_expect(label(t, "attention dq", s->T, s->h), &got.dq, &want.dq, 0, bound);
    array_expect(label(t, "attention dk", s->T, s->h), &got.dk, &want.dk, 0, bound);
    array_expect(label(t, "attention dv", s->T, s->h), &got.dv, &want.dv, 0, bound);
    struct array *all[] = {&q,      &k,      &v,        &dout,     &got.out, &got.lse, &got.dq,
                           &got.dk, &got.dv, &want.out, &want.lse, &want.dq, &want.dk, &want.dv};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    mem_free(doc_start);
}

static void test_attention(void **state)
{
    (void)state;
    FOR_TABLES(attention_forward, t)
    for (size_t i = 0; i < ARRAY_LEN(attention_cases); i++)
        check_attention(t, &attention_cases[i]);
}

static void test_rope(void **state)
{
    (void)state;
    static const int64_t head_widths[] = {2, 6, 16, 40, 64, 128};
    enum { ROWS = 9, HEADS = 3, T = 5, FIRST = 2, ROW0 = 3 };
    FOR_TABLES(rope, t)
    for (size_t i = 0; i < ARRAY_LEN(head_widths); i++)
        for (int way = 0; way < 3; way++) { /* forward, backward, pairs of neighbours */
            int64_t h = head_widths[i], ld = HEADS * h + 7;
            struct array table = array_new(COMPUTE_F32, compute_rope_table_floats(FIRST + T, h));
            compute_rope_table(FIRST + T, &(struct compute_rotation){.h = h, .theta = 10000},
                               table.data);
            struct array got = array_random(t->dtype, (size_t)(ROWS * ld), i, 0, 1);
            struct array want = array_copy(&got);
            static const int32_t position[ROWS] = {2, 3, 4, 5, 6, 0, 6, 3, 2};
            struct compute_rope rope = {ROWS,     T,          HEADS,    h,        ld,
                                        position, table.data, way == 1, got.data, way == 2};
            t->fast->rope(&rope, ROW0, ROWS - ROW0);
            rope.x = want.data;
            t->ref->rope(&rope, ROW0, ROWS - ROW0);
            array_expect(label(t, "rope", ROWS, h), &got, &want, 0, 1e-6);
            array_free(&table);
            array_free(&got);
            array_free(&want);
        }
}

static void test_head_norm_and_bias(void **state)
{
    (void)state;
    enum { ROWS = 9, HEADS = 3, ROW0 = 3 };
    FOR_TABLES(head_norm, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        int64_t h = widths[i], ld = HEADS * h + 7;
        struct array g = array_random(COMPUTE_F32, (size_t)(HEADS * h), 1, 1, 0.3);
        struct array got = array_random(t->dtype, (size_t)(ROWS * ld), 2, 0, 1);
        struct array want = array_copy(&got);
        struct compute_head_norm norm = {ROWS, HEADS, h, ld, 1e-5f, g.data, got.data};
        struct compute_bias bias = {ROWS, HEADS * h, ld, g.data, got.data};
        t->fast->head_norm(&norm, ROW0, ROWS - ROW0);
        t->fast->bias(&bias, 1, ROWS - 1);
        norm.x = bias.x = want.data;
        t->ref->head_norm(&norm, ROW0, ROWS - ROW0);
        t->ref->bias(&bias, 1, ROWS - 1);
        array_expect(label(t, "norm of heads, bias", ROWS, h), &got, &want, 2e-6, 1e-6);
        array_free(&g);
        array_free(&got);
        array_free(&want);
    }
}

/* ------------------------------------------------------------------ gated unit */

static void check_glu(const struct fast_table *t, int64_t rows, int64_t F, bool weighted)
{
    size_t n = (size_t)(rows * F);
    struct array gu = array_random(t->dtype, 2 * n, 1, 0, 2),
                 d = array_random(t->dtype, n, 2, 0, 1);
    struct array w = array_random(COMPUTE_F32, (size_t)rows, 3, 0.5, 0.2);
    const float *weight = weighted ? array_f32(&w) : NULL;
    /* gates beyond the range where tanh is 1, and zero */
    array_set(&gu, 0, -12.0f);
    if (F > 2) array_set(&gu, 1, 15.0f), array_set(&gu, 2, 0.0f);
    struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
    struct array got_gu = array_copy(&gu), want_gu = array_new(t->dtype, 2 * n);
    struct array got_w = array_new(COMPUTE_F32, (size_t)rows);
    struct array want_w = array_new(COMPUTE_F32, (size_t)rows);
    struct compute_glu glu = {rows, F, gu.data, weight, got.data};
    struct compute_glu ref = {rows, F, gu.data, weight, want.data};
    t->fast->glu_forward(&glu, 0, rows / 2);
    t->fast->glu_forward(&glu, rows / 2, rows - rows / 2);
    t->ref->glu_forward(&ref, 0, rows);
    array_expect(label(t, "glu forward", rows, F), &got, &want, 4e-6, 1e-6);
    glu.activation = ref.activation = COMPUTE_SILU;
    t->fast->glu_forward(&glu, 0, rows);
    t->ref->glu_forward(&ref, 0, rows);
    array_expect(label(t, "glu forward, silu", rows, F), &got, &want, 4e-6, 1e-6);
    glu.activation = ref.activation = COMPUTE_GELU_TANH;
    struct compute_glu_grad grad = {d.data, got_gu.data, got_w.data}; /* in place */
    glu.gu = got_gu.data;
    t->fast->glu_backward(&glu, &grad, 0, rows / 2);
    t->fast->glu_backward(&glu, &grad, rows / 2, rows - rows / 2);
    struct compute_glu_grad ref_grad = {d.data, want_gu.data, want_w.data};
    t->ref->glu_backward(&ref, &ref_grad, 0, rows);
    array_expect(label(t, "glu act again", rows, F), &got, &want, 4e-6, 1e-6);
    array_expect(label(t, "glu dgu", rows, F), &got_gu, &want_gu, 4e-6, 2e-6);
    array_expect(label(t, "glu dw", rows, F), &got_w, &want_w, 4e-6, 4e-6);
    glu.gu = gu.data;
    grad.dw = NULL;
    t->fast->glu_backward(&glu, &grad, 0, rows);
    array_expect(label(t, "glu dgu without dw", rows, F), &got_gu, &want_gu, 4e-6, 2e-6);
    struct array *all[] = {&gu, &d, &w, &got, &want, &got_gu, &want_gu, &got_w, &want_w};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
}

static void test_glu(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    FOR_SHAPES(rows, F)
    {
        check_glu(t, rows, F, false);
        check_glu(t, rows, F, true);
    }
}

/* ------------------------------------------------------------------ router and dispatch */

struct router_side {
    struct array probs, lse, weight, dx, dW;
    int32_t *top;
};

static struct router_side router_side_new(int64_t rows, int64_t D, int64_t E, int64_t k)
{
    return (struct router_side){
        array_new(COMPUTE_F32, (size_t)(rows * E)),
        array_new(COMPUTE_F32, (size_t)rows),
        array_new(COMPUTE_F32, (size_t)(rows * k)),
        array_new(COMPUTE_F32, (size_t)(rows * D)),
        array_random(COMPUTE_F32, (size_t)(E * D), 9, 0, 1),
        mem_calloc((size_t)(rows * k), sizeof(int32_t)),
    };
}

static void router_side_free(struct router_side *s)
{
    struct array *all[] = {&s->probs, &s->lse, &s->weight, &s->dx, &s->dW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    mem_free(s->top);
}

static void check_router(const struct fast_table *t, int64_t rows, int64_t D, int64_t E, float cap,
                         bool biased)
{
    int64_t k = MIN(E, 2);
    struct array x = array_random(t->dtype, (size_t)(rows * D), 1, 0, 1);
    struct array W = array_random(COMPUTE_F32, (size_t)(E * D), 2, 0, 1.0 / sqrt((double)D));
    struct array bias = array_random(COMPUTE_F32, (size_t)E, 3, 0, 0.2);
    struct array d_weight = array_random(COMPUTE_F32, (size_t)(rows * k), 4, 0, 1);
    struct array f = array_random(COMPUTE_F32, (size_t)E, 5, 0.2, 0.05);
    struct router_side side[2] = {router_side_new(rows, D, E, k), router_side_new(rows, D, E, k)};
    for (int i = 0; i < 2; i++) {
        const struct compute_kernels *kern = i == 0 ? t->fast : t->ref;
        struct router_side *s = &side[i];
        struct compute_router r = {.M = 2 * rows, .D = D, .E = E, .k = k, .cap = cap};
        r.x = x.data;
        r.W = W.data;
        r.bias = biased ? bias.data : NULL;
        r.probs = s->probs.data;
        r.lse = s->lse.data;
        r.top = s->top;
        r.weight = s->weight.data;
        struct compute_router_grad grad = {d_weight.data, f.data,     0.3f, 0.2f,
                                           s->dx.data,    s->dW.data, false};
        int64_t piece = i == 0 ? (rows + 1) / 2 : rows;
        for (int64_t m = 0; m < rows; m += piece)
            kern->router_forward(&r, m, MIN(piece, rows - m));
        for (int64_t m = 0; m < rows; m += piece)
            kern->router_backward(&r, &grad, m, MIN(piece, rows - m), s->dW.data);
    }
    array_expect(label(t, "router probs", rows, D), &side[0].probs, &side[1].probs, 1e-5, 1e-6);
    array_expect(label(t, "router lse", rows, D), &side[0].lse, &side[1].lse, 4e-6, 2e-6);
    /* random scores are nowhere near a tie, so the choice must be the same */
    assert_memory_equal(side[0].top, side[1].top, (size_t)(rows * k) * sizeof(int32_t));
    array_expect(label(t, "router weight", rows, D), &side[0].weight, &side[1].weight, 1e-5, 1e-6);
    array_expect(label(t, "router dx", rows, D), &side[0].dx, &side[1].dx, 1e-5, 1e-5);
    array_expect(label(t, "router dW", rows, D), &side[0].dW, &side[1].dW, 1e-5, 1e-5);
    struct array *all[] = {&x, &W, &bias, &d_weight, &f};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
    router_side_free(&side[0]);
    router_side_free(&side[1]);
}

static void test_router(void **state)
{
    (void)state;
    static const int64_t experts[] = {1, 2, 5, 8, 16, 33};
    FOR_TABLES(name, t)
    for (size_t i = 0; i < ARRAY_LEN(experts); i++)
        for (size_t d = 2; d < ARRAY_LEN(widths); d++) {
            check_router(t, 7, widths[d], experts[i], 0, false);
            check_router(t, 7, widths[d], experts[i], 3, true);
        }
}

/* Equal probabilities: the smaller index wins, in every table. */
static void test_router_ties(void **state)
{
    (void)state;
    enum { E = 6, D = 32, K = 3 };
    FOR_TABLES(router_forward, t)
    {
        struct array x = array_random(t->dtype, D, 1, 0, 1), W = array_new(COMPUTE_F32, E * D);
        struct router_side s = router_side_new(1, D, E, K);
        struct compute_router r = {.M = 1, .D = D, .E = E, .k = K, .x = x.data, .W = W.data};
        r.probs = s.probs.data;
        r.lse = s.lse.data;
        r.top = s.top;
        r.weight = s.weight.data;
        t->fast->router_forward(&r, 0, 1);
        for (int j = 0; j < K; j++)
            assert_int_equal(s.top[j], j);
        array_free(&x);
        array_free(&W);
        router_side_free(&s);
    }
}

static void test_combine(void **state)
{
    (void)state;
    enum { SOURCE_ROWS = 11, K = 2 };
    FOR_TABLES(name, t)
    FOR_SHAPES(rows, D)
    {
        size_t n = (size_t)(rows * D);
        struct array x = array_random(t->dtype, (size_t)(SOURCE_ROWS * D), 1, 0, 1);
        struct array a = array_random(t->dtype, n, 2, 0, 1),
                     b = array_random(COMPUTE_F32, n, 3, 0, 1);
        struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
        int32_t index[64];
        for (int64_t i = 0; i < rows * K; i++)
            index[i] = (int32_t)(i * 5 % SOURCE_ROWS);
        for (int mask = 0; mask < 4; mask++) {
            struct compute_combine m = {.M = rows, .D = D, .k = K, .slot_row = index, .y = x.data};
            m.a = mask & 1 ? a.data : NULL;
            m.b = mask & 2 ? b.data : NULL;
            m.scale = 0.7f;
            m.out = got.data;
            t->fast->combine(&m, 0, rows / 2);
            t->fast->combine(&m, rows / 2, rows - rows / 2);
            m.out = want.data;
            t->ref->combine(&m, 0, rows);
            array_expect(label(t, "combine", rows, D), &got, &want, 0, 1e-6);
        }
        array_free(&x);
        array_free(&a);
        array_free(&b);
        array_free(&got);
        array_free(&want);
    }
}

/* ------------------------------------------------------------------ embedding and loss */

static void test_embed(void **state)
{
    (void)state;
    enum { V = 13 };
    FOR_TABLES(name, t)
    FOR_SHAPES(rows, D)
    {
        struct array table = array_random(COMPUTE_F32, (size_t)(V * D), 1, 0, 1);
        struct array h = array_random(COMPUTE_F32, (size_t)(rows * D), 2, 0, 1),
                     ref_h = array_copy(&h);
        struct array ref_table = array_copy(&table);
        uint32_t ids[32];
        for (int64_t i = 0; i < rows; i++)
            ids[i] = (uint32_t)(i * i % V); /* some repeat */
        struct compute_embed embed = {rows, D, ids, 0.3f};
        t->fast->embed_backward(&embed, D / 3, D, h.data, table.data);
        t->ref->embed_backward(&embed, D / 3, D, h.data, ref_table.data);
        array_expect(label(t, "embed backward", rows, D), &table, &ref_table, 0, 1e-6);
        t->fast->embed(&embed, 0, rows / 2, table.data, h.data);
        t->fast->embed(&embed, rows / 2, rows - rows / 2, table.data, h.data);
        t->ref->embed(&embed, 0, rows, table.data, ref_h.data);
        array_expect(label(t, "embed", rows, D), &h, &ref_h, 1e-7, 0);
        array_free(&table);
        array_free(&ref_table);
        array_free(&h);
        array_free(&ref_h);
    }
}

static void check_cross_entropy(const struct fast_table *t, int64_t rows, int64_t V, float cap)
{
    size_t n = (size_t)(rows * V);
    struct array z = array_random(COMPUTE_F32, n, 1, 0, 4), z2 = array_copy(&z);
    struct array got = array_new(t->dtype, n), want = array_new(t->dtype, n);
    struct array got_nll = array_new(COMPUTE_F32, (size_t)rows);
    struct array want_nll = array_new(COMPUTE_F32, (size_t)rows);
    uint32_t targets[32];
    for (int64_t i = 0; i < rows; i++)
        targets[i] = (uint32_t)((i * 31 + V - 1) % V);
    struct compute_loss loss = {rows, V, z.data, targets, 0.6f, cap, 0.01f, got_nll.data, NULL};
    t->fast->cross_entropy(&loss, 0, rows);
    loss.d_logits = got.data;
    t->fast->cross_entropy(&loss, 0, rows / 2);
    t->fast->cross_entropy(&loss, rows / 2, rows - rows / 2);
    loss.nll = want_nll.data;
    loss.d_logits = want.data;
    t->ref->cross_entropy(&loss, 0, rows);
    /* a single logit has loss 0, where the order of operations may leave an ulp of the logit */
    for (int64_t i = 0; i < rows; i++)
        if (fabsf(array_get(&got_nll, (size_t)i) - array_get(&want_nll, (size_t)i)) > 1e-5f)
            fail_msg("%s: nll %g, want %g", label(t, "cross entropy", rows, V),
                     (double)array_get(&got_nll, (size_t)i),
                     (double)array_get(&want_nll, (size_t)i));
    if (V > 1) array_expect(label(t, "cross entropy dz", rows, V), &got, &want, 4e-6, 2e-6);
    t->fast->logits(rows, V, 0.6f, cap, z.data);
    t->ref->logits(rows, V, 0.6f, cap, z2.data);
    array_expect(label(t, "logits", rows, V), &z, &z2, 1e-6, 1e-6);
    struct array *all[] = {&z, &z2, &got, &want, &got_nll, &want_nll};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
}

/* The logits of two processes, ids [0, cut) and [cut, V): their sums put together are the whole's, and
 * with them each gives its columns of the gradient. */
static void check_divided_loss(const struct compute_kernels *k, enum compute_dtype dtype, int64_t V,
                               int64_t cut)
{
    enum { ROWS = 5 };
    struct array z = array_random(COMPUTE_F32, (size_t)(ROWS * V), 1, 0, 4);
    struct array want = array_new(dtype, (size_t)(ROWS * V));
    uint32_t targets[ROWS];
    float nll[ROWS], lse[2][ROWS] = {{0}}, hit[2][ROWS] = {{0}}, all[ROWS];
    for (int64_t r = 0; r < ROWS; r++)
        targets[r] = (uint32_t)(r * 31 % V);
    struct compute_loss whole = {ROWS, V, z.data, targets, 0.6f, 5, 0.01f, nll, want.data};
    k->cross_entropy(&whole, 0, ROWS);
    const int64_t first[] = {0, cut, V};
    struct array part[2], got[2];
    for (int p = 0; p < 2; p++) {
        int64_t n = first[p + 1] - first[p];
        part[p] = array_new(COMPUTE_F32, (size_t)(ROWS * n));
        got[p] = array_new(dtype, (size_t)(ROWS * n));
        for (int64_t i = 0; i < ROWS * n; i++)
            array_f32(&part[p])[i] = array_f32(&z)[i / n * V + first[p] + i % n];
        struct compute_loss half = {ROWS, n, part[p].data, targets, 0.6f, 5, 0.01f, hit[p], NULL};
        half.step = COMPUTE_LOSS_SUM;
        half.first = first[p];
        half.lse = lse[p];
        k->cross_entropy(&half, 0, ROWS);
    }
    for (int64_t r = 0; r < ROWS; r++) {
        all[r] = (float)log(exp((double)lse[0][r]) + exp((double)lse[1][r]));
        assert_true(fabsf(all[r] + hit[0][r] + hit[1][r] - nll[r]) < 1e-5f);
        assert_true(hit[0][r] == 0 || hit[1][r] == 0); /* a target is in one of them */
    }
    for (int p = 0; p < 2; p++) {
        int64_t n = first[p + 1] - first[p];
        struct compute_loss half = {ROWS, n, part[p].data, targets, 0.6f, 5, 0.01f, NULL};
        half.d_logits = got[p].data;
        half.step = COMPUTE_LOSS_GRADIENT;
        half.first = first[p];
        half.lse = all;
        k->cross_entropy(&half, 0, ROWS);
        for (int64_t i = 0; i < ROWS * n; i++) {
            float x = array_get(&got[p], (size_t)i);
            float y = array_get(&want, (size_t)(i / n * V + first[p] + i % n));
            if (!(fabsf(x - y) <= 1e-6f + (float)BF16_STEP * fabsf(y)))
                fail_msg("%s: %g, want %g", k->name, (double)x, (double)y);
        }
        array_free(&part[p]);
        array_free(&got[p]);
    }
    array_free(&z);
    array_free(&want);
}

/* Of a table that is divided likewise, each gives the rows of its ids, and zeros for the others'. */
static void check_divided_embed(const struct compute_kernels *k, int64_t V, int64_t cut)
{
    enum { ROWS = 7, D = 19 };
    struct array table = array_random(COMPUTE_F32, (size_t)(V * D), 1, 0, 1);
    struct array d_whole = array_copy(&table), d_parts = array_copy(&table);
    struct array h = array_new(COMPUTE_F32, ROWS * D), part = array_copy(&h);
    uint32_t ids[ROWS];
    for (int64_t i = 0; i < ROWS; i++)
        ids[i] = (uint32_t)(i * i % V);
    struct compute_embed whole = {ROWS, D, ids, 0.3f};
    k->embed(&whole, 0, ROWS, table.data, h.data);
    k->embed_backward(&whole, 0, D, h.data, d_whole.data);
    const int64_t first[] = {0, cut, V};
    for (int p = 0; p < 2; p++) {
        struct compute_embed half = whole;
        half.first = first[p];
        half.count = first[p + 1] - first[p];
        k->embed(&half, 0, ROWS, array_f32(&table) + first[p] * D, part.data);
        for (int64_t i = 0; i < ROWS * D; i++) {
            bool here = ids[i / D] >= (uint64_t)first[p] && ids[i / D] < (uint64_t)first[p + 1];
            assert_true(array_f32(&part)[i] == (here ? array_f32(&h)[i] : 0));
        }
        k->embed_backward(&half, 0, D, h.data, array_f32(&d_parts) + first[p] * D);
    }
    assert_memory_equal(d_parts.data, d_whole.data, (size_t)(V * D) * sizeof(float));
    struct array *all[] = {&table, &d_whole, &d_parts, &h, &part};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        array_free(all[i]);
}

static void test_divided_vocabulary(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    for (int64_t cut = 1; cut < 40; cut += 6) {
        check_divided_loss(t->fast, t->dtype, 41, cut);
        check_divided_loss(t->ref, t->dtype, 41, cut);
        check_divided_embed(t->fast, 41, cut);
        check_divided_embed(t->ref, 41, cut);
    }
}

static void test_cross_entropy(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    FOR_SHAPES(rows, V)
    {
        check_cross_entropy(t, rows, V, 0);
        check_cross_entropy(t, rows, V, 5);
    }
}

/* ------------------------------------------------------------------ reductions and optimisers */

static void test_reductions(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        size_t n = (size_t)widths[i];
        struct array x = array_random(COMPUTE_F32, n, i, 1, 2);
        const struct compute_kernels *k = t->fast;
        {
            double want = t->ref->sum_squares(n, x.data), got = k->sum_squares(n, x.data);
            if (fabs(got - want) > 1e-12 * want)
                fail_msg("%s sum_squares(%zu): %.17g, want %.17g", k->name, n, got, want);
        }
        assert_true(k->all_finite(n, x.data));
        for (size_t j = 0; j < n; j++) { /* wherever it is */
            float kept = array_f32(&x)[j];
            array_f32(&x)[j] = j % 2 ? INFINITY : -NAN;
            assert_false(k->all_finite(n, x.data));
            array_f32(&x)[j] = kept;
        }
        array_free(&x);
    }
}

static void check_optimizers(const struct fast_table *t, size_t n)
{
    struct array g = array_random(COMPUTE_F32, n, 1, 0, 1);
    struct array p[2] = {array_random(COMPUTE_F32, n, 2, 0, 1)};
    struct array m[2] = {array_random(COMPUTE_F32, n, 3, 0, 0.1)};
    struct array v[2] = {array_random(COMPUTE_F32, n, 4, 1, 0.1)};
    p[1] = array_copy(&p[0]);
    m[1] = array_copy(&m[0]);
    v[1] = array_copy(&v[0]);
    for (int i = 0; i < 2; i++) {
        const struct compute_kernels *k = i == 0 ? t->fast : t->ref;
        struct compute_adamw o = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};
        o.decay = 0.1f;
        o.grad_scale = 0.5f;
        o.p = p[i].data;
        o.g = g.data;
        o.m = m[i].data;
        o.v = v[i].data;
        k->adamw(&o, 0.19f, 0.0975f, 0, n / 2);
        k->adamw(&o, 0.19f, 0.0975f, n / 2, n - n / 2);
        struct compute_momentum u = {0.9f, 0.5f, true, n, g.data, m[i].data, v[i].data};
        k->momentum(&u, 0, n);
        u.nesterov = false;
        k->momentum(&u, 0, n / 2);
        k->momentum(&u, n / 2, n - n / 2);
        k->axpby(n, 0.3f, g.data, -0.7f, p[i].data);
    }
    array_expect(label(t, "optimizer p", 1, (int64_t)n), &p[0], &p[1], 1e-6, 1e-6);
    array_expect(label(t, "optimizer m", 1, (int64_t)n), &m[0], &m[1], 1e-6, 1e-6);
    array_expect(label(t, "optimizer v", 1, (int64_t)n), &v[0], &v[1], 1e-6, 1e-6);
    for (int i = 0; i < 2; i++) {
        array_free(&p[i]);
        array_free(&m[i]);
        array_free(&v[i]);
    }
    array_free(&g);
}

static void test_optimizers(void **state)
{
    (void)state;
    FOR_TABLES(name, t)
    for (size_t i = 0; i < ARRAY_LEN(widths); i++)
        check_optimizers(t, (size_t)widths[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rmsnorm_backward),
        cmocka_unit_test(test_seam),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_head_norm_and_bias),
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_router),
        cmocka_unit_test(test_router_ties),
        cmocka_unit_test(test_combine),
        cmocka_unit_test(test_divided_vocabulary),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_optimizers),
    };
    return cmocka_run_group_tests(tests, collect_all, NULL);
}
