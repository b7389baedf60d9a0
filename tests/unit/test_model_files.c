/* test_model_files.c: weights to a file and back, what loading refuses, the memory plan, and
 * what model_new refuses. */
#include "test_model_support.h"
#include "weights_file.h"

#include <unistd.h>

static const struct rig_options PLAIN = {COMPUTE_F32, COMPUTE_REFERENCE, 1, false};

static const char *temporary_dir(struct arena *a)
{
    char *path = arena_strdup(a, "/tmp/colossus-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

/* ------------------------------------------------------------------ weights */

static void test_write_then_load(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct rig r, s;
    struct model_config c = small_grok2();
    arena_init(&a);
    const char *dir = temporary_dir(&a), *file = file_join(&a, dir, "model.safetensors");
    rig_open(&r, &c, 1, 4, PLAIN);
    random_weights(r.model, 3);
    if (weights_file_write(r.model, &c, false, file, &e) < 0) fail_with(&e);
    size_t bytes = model_params(r.model)->total * sizeof(float);
    const char *const paths[] = {dir, file}; /* the folder, and the file itself */
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        rig_open(&s, &c, 1, 4, PLAIN);
        if (model_load_weights(s.model, paths[i], &e) < 0) fail_with(&e);
        assert_memory_equal(model_weights(r.model), model_weights(s.model), bytes);
        /* the products use what was loaded */
        uint32_t tokens[4] = {1, 2, 3, 4};
        float x[4], y[4];
        struct model_batch b = {.B = 1, .T = 4, .inputs = tokens, .targets = tokens};
        model_score(r.model, &b, x);
        model_score(s.model, &b, y);
        assert_memory_equal(x, y, sizeof(x));
        rig_close(&s);
    }
    rig_close(&r);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

/* The routers' biases come back and choose the experts; a file without them clears them. */
static void test_selection_biases(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct rig r, s;
    struct model_config c = small_config();
    uint32_t tokens[4] = {1, 2, 3, 4};
    float biased[4], loaded[4], plain[4];
    struct model_batch b = {.B = 1, .T = 4, .inputs = tokens, .targets = tokens};
    arena_init(&a);
    const char *dir = temporary_dir(&a), *with = file_join(&a, dir, "with.safetensors"),
               *without = file_join(&a, dir, "without.safetensors");
    rig_open(&r, &c, 1, 4, PLAIN);
    rig_open(&s, &c, 1, 4, PLAIN);
    random_weights(r.model, 3);
    model_score(r.model, &b, plain);
    float *bias = model_router_bias(r.model);
    for (int i = 0; i < 8; i++)
        bias[i] = i % 4 == 2 || i % 4 == 3 ? 10 : -0.25f * (float)i;
    model_score(r.model, &b, biased);
    assert_true(memcmp(plain, biased, sizeof(plain)) != 0);
    if (weights_file_write(r.model, &c, true, with, &e) < 0) fail_with(&e);
    if (weights_file_write(r.model, &c, false, without, &e) < 0) fail_with(&e);
    if (model_load_weights(s.model, with, &e) < 0) fail_with(&e);
    assert_memory_equal(model_router_bias(s.model), bias, 8 * sizeof(float));
    model_score(s.model, &b, loaded);
    assert_memory_equal(loaded, biased, sizeof(biased));
    if (model_load_weights(s.model, without, &e) < 0) fail_with(&e);
    model_score(s.model, &b, loaded);
    assert_memory_equal(loaded, plain, sizeof(plain));

    struct model_config fewer = c;
    bias[5] = NAN;
    if (weights_file_write(r.model, &c, true, with, &e) < 0) fail_with(&e);
    assert_true(model_load_weights(s.model, with, &e) < 0);
    assert_non_null(strstr(e.text, "'blk.1.exp_probs_b.bias' holds NaN"));
    fewer.n_layers = 1;
    rig_close(&s);
    rig_open(&s, &fewer, 1, 4, PLAIN);
    assert_true(model_load_weights(s.model, with, &e) < 0);
    assert_non_null(strstr(e.text, "is not part of this model"));
    rig_close(&r);
    rig_close(&s);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

static void expect_load_error(model_t *m, const char *path, const char *word)
{
    struct error e = {0};
    assert_true(model_load_weights(m, path, &e) < 0);
    if (!strstr(e.text, word)) fail_msg("'%s' lacks '%s'", e.text, word);
}

static void test_loading_is_strict(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct rig r, s;
    struct model_config c = small_config();
    arena_init(&a);
    const char *dir = temporary_dir(&a), *file = file_join(&a, dir, "w.safetensors");
    rig_open(&r, &c, 1, 4, PLAIN);
    random_weights(r.model, 3);
    if (weights_file_write(r.model, &c, false, file, &e) < 0) fail_with(&e);

    c.tied_embeddings = false;
    rig_open(&s, &c, 1, 4, PLAIN);
    expect_load_error(s.model, file, "'output.weight' is missing");
    if (weights_file_write(s.model, &c, false, file, &e) < 0) fail_with(&e);
    expect_load_error(r.model, file, "'output.weight' is not part of this model");
    rig_close(&s);
    c = small_config();
    size_t last = model_params(r.model)->n_rows - 1;
    float *weight = model_weights(r.model) + model_params(r.model)->rows[last].offset;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        *weight = bad[i];
        if (weights_file_write(r.model, &c, false, file, &e) < 0) fail_with(&e);
        expect_load_error(r.model, file, "'output_norm.weight' holds NaN or infinite");
    }
    *weight = 1;
    if (weights_file_write(r.model, &c, false, file, &e) < 0) fail_with(&e);
    c.ffn_hidden++;
    rig_open(&s, &c, 1, 4, PLAIN);
    expect_load_error(s.model, file,
                      "'blk.0.ffn_gate_exps.weight' is 4 x 20 x 24, the configuration needs 4 x "
                      "21 x 24");
    expect_load_error(s.model, dir, "no model.safetensors");
    expect_load_error(s.model, "/nonexistent/file", "/nonexistent/file");
    rig_close(&r);
    rig_close(&s);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

/* BF16 files of other people's models: every value as it stands there. */
static void test_loading_converts(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    struct rig r;
    struct model_config c = small_dense();
    arena_init(&a);
    const char *dir = temporary_dir(&a), *file = file_join(&a, dir, "w.safetensors");
    rig_open(&r, &c, 1, 4, PLAIN);
    const struct param_table *t = model_params(r.model);
    struct safetensors_entry *entries = arena_alloc(&a, t->n_rows * sizeof(*entries));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct param *p = &t->rows[i];
        bf16_t *x = arena_alloc(&a, p->count * sizeof(bf16_t));
        for (size_t k = 0; k < p->count; k++)
            x[k] = bf16_store((float)rng_normal(1, i, k));
        entries[i] = (struct safetensors_entry){
            .dtype = ST_BF16, .n_dims = p->n_dims, .data = x, .bytes = p->count * 2};
        memcpy(entries[i].name, p->name, sizeof(p->name));
        memcpy(entries[i].shape, p->shape, sizeof(p->shape));
    }
    if (safetensors_write(file, entries, t->n_rows, NULL, &e) < 0) fail_with(&e);
    if (model_load_weights(r.model, file, &e) < 0) fail_with(&e);
    for (size_t i = 0; i < t->n_rows; i++)
        for (size_t k = 0; k < t->rows[i].count; k++) {
            float want = bf16_load(((const bf16_t *)entries[i].data)[k]);
            assert_true(model_weights(r.model)[t->rows[i].offset + k] == want);
        }
    rig_close(&r);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ memory */

/* Bytes of address space of this process: what mem_map takes, touched or not. */
static double mapped_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    long pages = 0;
    assert_int_equal(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double total_bytes(const struct model_memory *rows, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)rows[i].bytes;
    return sum;
}

/* The plan is what model_new takes from the system, up to the rounding of each mapping to huge
 * pages (2 MiB), and a small model is as exactly planned as its tables say. */
static void check_plan(const struct model_config *c, enum compute_backend backend,
                       enum compute_dtype dtype, bool training)
{
    struct error e = {0};
    struct compute_options co = {.dtype = dtype, .backend = backend};
    compute_t *compute = NULL;
    model_t *m = NULL;
    struct model_memory rows[16];
    if (compute_new(&co, &compute, &e) < 0) fail_with(&e);
    struct model_options o = {.compute = compute, .B = 4, .T = 256, .training = training};
    size_t n = model_plan_memory(c, &o, rows, ARRAY_LEN(rows));
    assert_true(n >= 4 && n <= ARRAY_LEN(rows));
    double planned = total_bytes(rows, n), before = mapped_bytes();
    if (model_new(c, &o, &m, &e) < 0) fail_with(&e);
    double taken = mapped_bytes() - before;
    /* five regions; up to two mappings for each product; scratch of the context, which is its own */
    double most = planned + (double)compute_scratch_bytes(compute) +
                  (double)(5 + 2 * (1 + 6 * c->n_layers)) * (2 << 20);
    if (backend != COMPUTE_REFERENCE) most += 32 << 20; /* kernels that a library generates */
    if (taken < planned || taken > most) fail_msg("planned %.0f bytes, taken %.0f", planned, taken);
    model_free(m);
    /* freed whole, but for what malloc and a library's cache of kernels keep */
    compute_free(compute);
    assert_true(mapped_bytes() - before < 0.1 * planned);
}

static void test_plan_is_what_is_taken(void **state)
{
    (void)state;
    struct model_config c[] = {small_config(), small_grok2(), small_dense()};
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i].d_model = 256; /* so that the arrays are large beside the rounding */
        c[i].ffn_hidden = 512;
        c[i].vocab_size = 20000;
        for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
            if (!backend_present(BACKENDS[k])) continue;
            check_plan(&c[i], BACKENDS[k], COMPUTE_F32, true);
            check_plan(&c[i], BACKENDS[k], COMPUTE_BF16, true);
            check_plan(&c[i], BACKENDS[k], COMPUTE_F32, false);
        }
    }
}

/* Known lines of the table, by hand. */
static void test_plan_lines(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    rig_open(&r, &c, 1, 4, PLAIN);
    struct model_options o = {.compute = r.compute, .B = 2, .T = 8, .training = true};
    struct model_memory rows[16], fewer[2];
    size_t n = model_plan_memory(&c, &o, rows, 16), seen = 0;
    for (size_t i = 0; i < n; i++)
        if (strstr(rows[i].what, "(fp32)")) {
            assert_int_equal(rows[i].bytes, model_params(r.model)->total * sizeof(float));
            seen++;
        }
    assert_int_equal(seen, 2);
    assert_int_equal(model_plan_memory(&c, &o, fewer, 2), 2); /* never beyond the array */
    o.training = false;
    assert_int_equal(model_plan_memory(&c, &o, rows, 16), n - 1); /* no gradients */
    rig_close(&r);
}

/* ------------------------------------------------------------------ refusals */

static void expect_refused(const struct model_config *c, struct model_options o, const char *word)
{
    struct error e = {0};
    struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
    model_t *m = NULL;
    if (compute_new(&co, &o.compute, &e) < 0) fail_with(&e);
    assert_true(model_new(c, &o, &m, &e) < 0);
    assert_null(m);
    if (!strstr(e.text, word)) fail_msg("'%s' lacks '%s'", e.text, word);
    compute_free(o.compute);
}

static void test_new_refuses(void **state)
{
    (void)state;
    struct model_config c = small_config();
    expect_refused(&c, (struct model_options){.B = 0, .T = 4}, "microbatch");
    expect_refused(&c, (struct model_options){.B = 1 << 20, .T = 1 << 20}, "microbatch");
    expect_refused(&c, (struct model_options){.B = 1, .T = 4, .shard = {0, 3, 0, 1}}, "n_heads");
    expect_refused(&c, (struct model_options){.B = 1, .T = 4, .shard = {2, 2, 0, 1}},
                   "tensor rank");
    expect_refused(&c, (struct model_options){.B = 1, .T = 4, .shard = {0, 1, 0, 2}}, "experts");
    c.n_layers = 0;
    expect_refused(&c, (struct model_options){.B = 1, .T = 4}, "n_layers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_then_load),       cmocka_unit_test(test_selection_biases),
        cmocka_unit_test(test_loading_is_strict),     cmocka_unit_test(test_loading_converts),
        cmocka_unit_test(test_plan_is_what_is_taken), cmocka_unit_test(test_plan_lines),
        cmocka_unit_test(test_new_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
