/* test_model_cache.c: decoding: the same logits as the whole forward pass, and the same bits for any
 * way of cutting the tokens into calls, after truncation, and for any number of threads. */
#include "test_model_support.h"

enum { TOKENS = 110, V = 61, WIDE = 3, KINDS = 4 };

static struct model_config kinds(int i)
{
    struct model_config c = i == 0 || i == WIDE ? small_config()
                            : i == 1            ? small_grok2()
                                                : small_dense();
    if (i == WIDE) { /* wide enough for the fast kernels' blocks */
        c.d_model = 160;
        c.head_dim = 64;
        c.ffn_hidden = 200;
    }
    return c;
}

static void open_random(struct rig *r, int kind, struct rig_options o)
{
    struct model_config c = kinds(kind);
    o.inference = true;
    rig_open(r, &c, 1, TOKENS, o);
    random_weights(r->model, 5);
}

static void for_all(void (*check)(int kind, struct rig_options o))
{
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
            if (!backend_present(BACKENDS[k])) continue;
            if (kind == WIDE && BACKENDS[k] == COMPUTE_REFERENCE) continue; /* has no blocks */
            check(kind, (struct rig_options){COMPUTE_F32, BACKENDS[k], 1, true});
            check(kind, (struct rig_options){COMPUTE_BF16, BACKENDS[k], 1, true});
        }
}

/* Decodes all tokens in calls of the given lengths (the last repeats); logits of each call's last
 * token go to row `token` of out. */
static void decode_cut(model_t *m, const uint32_t *tokens, const int *lengths, size_t n_lengths,
                       float *out)
{
    model_cache_t *c = model_cache_new(m, TOKENS);
    size_t k = 0;
    for (int64_t at = 0; at < TOKENS; k++) {
        int64_t n = MIN(lengths[MIN(k, n_lengths - 1)], TOKENS - at);
        model_decode(m, c, tokens + at, n, out + (at + n - 1) * V);
        at += n;
    }
    model_cache_free(c);
}

static void check_agreement(int kind, struct rig_options o)
{
    struct rig r;
    uint32_t tokens[TOKENS];
    static float stepped[TOKENS * V], whole[TOKENS * V];
    open_random(&r, kind, o);
    random_tokens(tokens, TOKENS, V, 1);
    decode_cut(r.model, tokens, (int[]){1}, 1, stepped);
    struct model_batch b = {.B = 1, .T = TOKENS, .inputs = tokens};
    model_logits(r.model, &b, whole);
    if (o.dtype == COMPUTE_F32)
        assert_true(relative_max(stepped, whole, TOKENS * V) < 5e-5);
    else if (kind == 2) /* with experts a choice may flip where sums are in another order */
        assert_true(relative_l2(stepped, whole, TOKENS * V) < 0.02);
    rig_close(&r);
}

static void test_agrees_with_the_forward_pass(void **state)
{
    (void)state;
    for_all(check_agreement);
}

static void check_cuts(int kind, struct rig_options o)
{
    static const int cuts[][4] = {{110, 1, 1, 1}, {75, 75, 75, 75}, {90, 1, 17, 32},
                                  {7, 1, 30, 5},  {32, 32, 32, 32}, {31, 2, 33, 9},
                                  {3, 3, 3, 3},   {40, 1, 1, 64}};
    struct rig r;
    uint32_t tokens[TOKENS];
    static float one[TOKENS * V], cut[TOKENS * V];
    open_random(&r, kind, o);
    random_tokens(tokens, TOKENS, V, 2);
    decode_cut(r.model, tokens, (int[]){1}, 1, one);
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        memset(cut, 0xff, sizeof(cut)); /* NaN where nothing was written */
        decode_cut(r.model, tokens, cuts[i], 4, cut);
        int compared = 0;
        for (int t = 0; t < TOKENS; t++) {
            if (isnan(cut[t * V])) continue;
            assert_memory_equal(cut + t * V, one + t * V, V * sizeof(float));
            compared++;
        }
        assert_true(compared >= 1);
        assert_false(isnan(cut[(TOKENS - 1) * V]));
    }
    rig_close(&r);
}

static void test_any_cut_gives_the_same_bits(void **state)
{
    (void)state;
    for_all(check_cuts);
}

static void check_threads(int kind, struct rig_options o)
{
    struct rig one, two;
    uint32_t tokens[TOKENS];
    static float a[TOKENS * V], b[TOKENS * V];
    open_random(&one, kind, o);
    o.threads = 2;
    open_random(&two, kind, o);
    random_tokens(tokens, TOKENS, V, 3);
    memset(a, 0, sizeof(a));
    memset(b, 0, sizeof(b));
    decode_cut(one.model, tokens, (int[]){20, 1, 1, 9}, 4, a);
    decode_cut(two.model, tokens, (int[]){20, 1, 1, 9}, 4, b);
    assert_memory_equal(a, b, sizeof(a));
    rig_close(&one);
    rig_close(&two);
}

static void test_threads(void **state)
{
    (void)state;
    for_all(check_threads);
}

/* Forgetting a tail and saying something else is as if it had never been said; another sequence in
 * another cache, and evaluation in between, do not disturb. */
static void check_truncation(int kind, struct rig_options o)
{
    struct rig r;
    uint32_t tokens[TOKENS], other[TOKENS];
    float want[V], have[V], sink[V], nll[TOKENS];
    open_random(&r, kind, o);
    random_tokens(tokens, TOKENS, V, 4);
    random_tokens(other, TOKENS, V, 5);
    model_cache_t *c = model_cache_new(r.model, TOKENS), *d = model_cache_new(r.model, 50);
    model_decode(r.model, c, tokens, 60, want);
    model_cache_truncate(c, 0);
    model_decode(r.model, c, tokens, 41, sink);
    model_decode(r.model, c, other, 34, sink);
    model_decode(r.model, d, other, 50, sink);
    struct model_batch b = {.B = 1, .T = 20, .inputs = other, .targets = other};
    model_score(r.model, &b, nll);
    model_cache_truncate(c, 41);
    model_decode(r.model, c, tokens + 41, 19, have);
    assert_memory_equal(have, want, sizeof(want));
    model_cache_free(c);
    model_cache_free(d);
    rig_close(&r);
}

static void test_truncation(void **state)
{
    (void)state;
    for_all(check_truncation);
}

/* A cache that grows between two calls gives the bits of one that was large from the start. */
static void check_growth(int kind, struct rig_options o)
{
    struct rig r;
    uint32_t tokens[TOKENS];
    float want[V], have[V];
    open_random(&r, kind, o);
    random_tokens(tokens, TOKENS, V, 6);
    model_cache_t *large = model_cache_new(r.model, TOKENS), *c = model_cache_new(r.model, 7);
    model_decode(r.model, large, tokens, TOKENS, want);
    model_decode(r.model, c, tokens, 7, have);
    assert_true(model_cache_grow(c, 5)); /* never smaller */
    assert_true(model_cache_grow(c, 40));
    model_decode(r.model, c, tokens + 7, 30, have);
    assert_true(model_cache_grow(c, TOKENS));
    model_decode(r.model, c, tokens + 37, TOKENS - 37, have);
    assert_memory_equal(have, want, sizeof(want));
    model_cache_free(large);
    model_cache_free(c);
    rig_close(&r);
}

static void test_growth(void **state)
{
    (void)state;
    for_all(check_growth);
}

static void test_memory(void **state)
{
    (void)state;
    struct rig r;
    uint32_t tokens[TOKENS];
    float logits[V];
    open_random(&r, 1, (struct rig_options){COMPUTE_BF16, COMPUTE_REFERENCE, 1, true});
    random_tokens(tokens, TOKENS, V, 4);
    /* a token more costs its keys and values: 2 layers, key and value, 2 heads of 8, 2 bytes; and
     * its share of the rotation table; whole pages here */
    size_t more = model_cache_bytes(r.model, 3200) - model_cache_bytes(r.model, 1600);
    assert_int_equal(more, 1600 * (2 * 2 * 2 * 8 * 2 + 8 * 4));
    model_cache_t *c = model_cache_new(r.model, TOKENS);
    model_decode(r.model, c, tokens, 70, logits);
    uint64_t count = mem_alloc_count();
    model_decode(r.model, c, tokens, 1, logits);
    model_decode(r.model, c, tokens, 4, logits);
    assert_int_equal(mem_alloc_count(), count);
    model_cache_free(c);
    model_cache_free(NULL);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_forward_pass),
        cmocka_unit_test(test_any_cut_gives_the_same_bits),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
