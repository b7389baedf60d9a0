/* test_train_checkpoint.c: what a checkpoint holds comes back exactly, and any damage to any of
 * its bytes is found before a value is used. Crashes and failing disks are in
 * test_train_checkpoint_crash.c. */
#include "test_train_checkpoint_util.h"

#define SEED 20240607u

/* ------------------------------------------------------------------ what is saved comes back */

static void test_round_trip(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    struct skips skips;
    state_init(&s);
    assert_int_equal(state_load(dir, &s, &skips, &e), -1); /* nothing there yet */
    state_save_all(dir, &s, (const int64_t[]){0, 10, 20}, 3);
    assert_string_equal(folder_names(dir), "step-00000000 step-00000010 step-00000020");
    assert_int_equal(state_load(dir, &s, &skips, &e), 20);
    assert_int_equal(skips.count, 0);
    for (int64_t step = 0; step <= 20; step += 10)
        assert_ok(ckpt_verify(step_path(dir, step, NULL), &e), &e);

    struct arena a = {0};
    int64_t *steps;
    size_t n;
    assert_ok(ckpt_list(dir, &a, &steps, &n, &e), &e);
    assert_int_equal(n, 3);
    assert_int_equal(steps[0], 20);
    assert_int_equal(steps[2], 0);
    char *text;
    size_t size;
    assert_ok(file_read(step_path(dir, 20, "config.json"), 1000, &text, &size, &e), &e);
    assert_string_equal(text, "{\"d_model\": 8}\n");
    mem_free(text);
    arena_fini(&a);
    state_fini(&s);
    test_dir_free(dir);
}

/* Tensors longer than one piece of the copy, copied by several threads. */
static void test_large_tensors_and_pool(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    struct pool *pool = pool_new(3);
    ckpt_writer_t *w;
    state_init_sized(&s, ((size_t)9 << 20) / sizeof(float) + 3);
    assert_true(ckpt_writer_bytes(&s.layout) >= (size_t)9 << 20);
    struct ckpt_writer_options o = {.run_dir = dir, .pool = pool};
    assert_ok(ckpt_writer_open(&o, &s.layout, &w, &e), &e);
    assert_ok(state_save(w, &s, 5, &e), &e);
    ckpt_writer_close(w);
    assert_int_equal(state_load(dir, &s, NULL, &e), 5);
    pool_free(pool);
    state_fini(&s);
    test_dir_free(dir);
}

/* A step waits for the copy only: what happens to the live arrays afterwards is not saved. */
static void test_saves_the_moment_of_submit(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 0, 0);
    for (int64_t step = 1; step <= 20; step++) {
        state_fill(&s, step);
        assert_ok(ckpt_writer_submit(w, step, state_json(step), &e), &e);
        state_fill(&s, step + 1000);
    }
    ckpt_writer_close(w); /* waits for the last */
    assert_int_equal(state_load(dir, &s, NULL, &e), 20);
    for (int64_t step = 1; step <= 20; step++)
        assert_ok(ckpt_verify(step_path(dir, step, NULL), &e), &e);
    state_fini(&s);
    test_dir_free(dir);
}

static void test_same_step_is_replaced(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10, 20}, 2);
    flip_bit(step_path(dir, 20, "weights.safetensors"), 500, 3);
    assert_int_equal(state_load(dir, &s, NULL, &e), 10);
    state_save_all(dir, &s, (const int64_t[]){20}, 1);
    assert_int_equal(state_load(dir, &s, NULL, &e), 20);
    assert_string_equal(folder_names(dir), "step-00000010 step-00000020");
    state_fini(&s);
    test_dir_free(dir);
}

/* ------------------------------------------------------------------ damage */

/* Expects that step 30 is refused, for a reason that names `named`, and 20 is loaded instead. */
static void expect_fallback(const char *dir, struct run_state *s, const char *named)
{
    struct error e = {0};
    struct skips skips;
    assert_true(ckpt_verify(step_path(dir, 30, NULL), &e) < 0);
    if (named && !strstr(e.text, named)) fail_msg("'%s' does not name '%s'", e.text, named);
    assert_int_equal(state_load(dir, s, &skips, &e), 20);
    assert_int_equal(skips.count, 1);
    assert_int_equal(skips.steps[0], 30);
}

static void test_flipped_bit_anywhere(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10, 20, 30}, 3);
    setenv("COLOSSUS_LOG", "error", 1); /* hundreds of expected warnings */
    for (uint64_t f = 0; f < ARRAY_LEN(state_file_names); f++) {
        char path[512];
        snprintf(path, sizeof(path), "%s", step_path(dir, 30, state_file_names[f]));
        int64_t size = file_size(path, &e);
        assert_true(size > 0);
        for (uint64_t i = 0; i < 60; i++) {
            int64_t at = (int64_t)(rng_uniform(SEED, f, i) * (double)size);
            if (i == 0) at = 0;
            if (i == 1) at = size - 1;
            int bit = (int)(rng_u64(SEED, 100 + f, i) % 8);
            flip_bit(path, at, bit);
            expect_fallback(dir, &s, state_file_names[f]);
            flip_bit(path, at, bit);
        }
    }
    unsetenv("COLOSSUS_LOG");
    assert_int_equal(state_load(dir, &s, NULL, &e), 30);
    state_fini(&s);
    test_dir_free(dir);
}

/* The manifest guards all others, so every bit of it is tried. */
static void test_flipped_bit_everywhere_in_manifest(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){30}, 1);
    char *text;
    size_t size;
    assert_ok(file_read(step_path(dir, 30, CKPT_MANIFEST), 1 << 20, &text, &size, &e), &e);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++) {
            char path[512];
            snprintf(path, sizeof(path), "%s", step_path(dir, 30, CKPT_MANIFEST));
            flip_bit(path, (int64_t)at, bit);
            if (ckpt_verify(step_path(dir, 30, NULL), &e) == 0)
                fail_msg("bit %d of byte %zu of the manifest is not guarded", bit, at);
            flip_bit(path, (int64_t)at, bit);
        }
    assert_ok(ckpt_verify(step_path(dir, 30, NULL), &e), &e);
    mem_free(text);
    state_fini(&s);
    test_dir_free(dir);
}

static void test_wrong_length(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    setenv("COLOSSUS_LOG", "error", 1);
    for (size_t f = 0; f < ARRAY_LEN(state_file_names); f++) {
        state_save_all(dir, &s, (const int64_t[]){20, 30}, 2);
        char path[512];
        snprintf(path, sizeof(path), "%s", step_path(dir, 30, state_file_names[f]));
        int64_t size = file_size(path, &e);
        const int64_t lengths[] = {size + 1, size - 1, size / 2, 1, 0};
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
            assert_int_equal(truncate(path, lengths[i]), 0);
            expect_fallback(dir, &s, state_file_names[f]);
        }
        assert_int_equal(unlink(path), 0);
        expect_fallback(dir, &s, state_file_names[f]);
        assert_int_equal(mkdir(path, 0777), 0); /* a folder in a file's place */
        expect_fallback(dir, &s, NULL);
        assert_int_equal(rmdir(path), 0);
    }
    unsetenv("COLOSSUS_LOG");
    state_fini(&s);
    test_dir_free(dir);
}

/* A folder without a manifest does not count as a checkpoint, but its loss is reported. */
static void test_missing_manifest(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    struct arena a = {0};
    int64_t *steps;
    size_t n;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){20, 30}, 2);
    assert_int_equal(unlink(step_path(dir, 30, CKPT_MANIFEST)), 0);
    assert_ok(ckpt_list(dir, &a, &steps, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_int_equal(steps[0], 20);
    expect_fallback(dir, &s, CKPT_MANIFEST);
    assert_int_equal(unlink(step_path(dir, 20, CKPT_MANIFEST)), 0);
    assert_int_equal(state_load(dir, &s, NULL, &e), -2);
    arena_fini(&a);
    state_fini(&s);
    test_dir_free(dir);
}

static void test_none_is_good(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    struct skips skips;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10, 20}, 2);
    flip_bit(step_path(dir, 10, "weights.safetensors"), 9999, 0);
    flip_bit(step_path(dir, 20, "optim-m.safetensors"), 100, 7);
    assert_int_equal(state_load(dir, &s, &skips, &e), -2);
    assert_int_equal(skips.count, 2);
    assert_non_null(strstr(e.text, "none of the 2 checkpoints"));
    assert_non_null(strstr(e.text, "optim-m.safetensors"));
    assert_true(e.hint[0]);
    state_fini(&s);
    test_dir_free(dir);
}

/* Whole files in the wrong place: from another step, or a folder under another step's name. */
static void test_mixed_up_folders(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10, 20, 30}, 3);
    assert_int_equal(rename(step_path(dir, 10, "weights.safetensors"),
                            step_path(dir, 30, "weights.safetensors")),
                     0);
    expect_fallback(dir, &s, "weights.safetensors");
    assert_ok(file_remove_tree(step_path(dir, 30, NULL), &e), &e);
    assert_int_equal(rename(step_path(dir, 20, NULL), step_path(dir, 40, NULL)), 0);
    assert_int_equal(ckpt_verify(step_path(dir, 40, NULL), &e), ERROR_FAILED);
    assert_non_null(strstr(e.text, "step 20"));
    assert_int_equal(rename(step_path(dir, 40, NULL), step_path(dir, 20, NULL)), 0);
    assert_ok(ckpt_verify(step_path(dir, 20, NULL), &e), &e);
    state_fini(&s);
    test_dir_free(dir);
}

/* A good checkpoint of another model is an error at once; nothing older is tried. */
static void test_other_model(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s, other;
    struct skips skips;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10}, 1);
    state_init_sized(&other, STATE_BIG + 1);
    state_save_all(dir, &other, (const int64_t[]){20}, 1);
    assert_int_equal(state_load(dir, &s, &skips, &e), -2);
    assert_int_equal(skips.count, 0);
    assert_non_null(strstr(e.text, "blk.0.big.weight"));
    assert_non_null(strstr(e.text, "[3001, 1]"));
    assert_int_equal(state_load(dir, &other, &skips, &e), 20);

    snprintf(other.weights[1].name, sizeof(other.weights[1].name), "blk.0.renamed.weight");
    assert_int_equal(state_load(dir, &other, NULL, &e), -2);
    assert_non_null(strstr(e.text, "blk.0.renamed.weight"));
    other.sets[0].n_entries = 1;
    assert_int_equal(state_load(dir, &other, NULL, &e), -2);
    other.sets[0].file = "somewhere-else.safetensors";
    assert_int_equal(state_load(dir, &other, NULL, &e), -2);
    assert_non_null(strstr(e.text, "somewhere-else.safetensors"));
    state_fini(&other);
    state_fini(&s);
    test_dir_free(dir);
}

/* ------------------------------------------------------------------ manifests by a bad program */

/* Puts a manifest with a correct hash of its own into step 30. */
static void put_manifest(const char *dir, int64_t step, const char *name, uint64_t size,
                         const char *state)
{
    struct error e = {0};
    struct str text = {0};
    struct ckpt_manifest_file f = {name, size, 0};
    ckpt_manifest_print(
        &(struct ckpt_manifest){.step = step, .ranks = 1, .files = &f, .n_files = 1}, state, &text);
    assert_ok(file_write(step_path(dir, 30, CKPT_MANIFEST), text.data, text.len, &e), &e);
    str_fini(&text);
}

static void test_hostile_manifests(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){20, 30}, 2);
    static const struct {
        const char *name, *state, *message;
        int64_t step;
    } cases[] = {
        {"../step-00000020/config.json", "{}", "cannot be one", 30},
        {"/etc/passwd", "{}", "cannot be one", 30},
        {".hidden", "{}", "cannot be one", 30},
        {"manifest.json", "{}", "cannot be one", 30},
        {"config.json", "[]", "'state'", 30},
        {"config.json", "{}, \"step\": 7", "manifest.json", 30},
        {"config.json", "{]", "manifest.json", 30},
        {"config.json", "{}", "step 31", 31},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put_manifest(dir, cases[i].step, cases[i].name, 15, cases[i].state);
        expect_fallback(dir, &s, cases[i].message);
    }
    struct str text = {0};
    struct ckpt_manifest_file twice[2] = {{"config.json", 15, 0}, {"config.json", 15, 0}};
    ckpt_manifest_print(
        &(struct ckpt_manifest){.step = 30, .ranks = 1, .files = twice, .n_files = 2}, "{}", &text);
    assert_ok(file_write(step_path(dir, 30, CKPT_MANIFEST), text.data, text.len, &e), &e);
    expect_fallback(dir, &s, "twice");
    str_fini(&text);
    state_fini(&s);
    test_dir_free(dir);
}

static void test_names(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        int64_t step;
    } cases[] = {
        {"step-00000000", 0},       {"step-00000123", 123}, {"step-123456789012", 123456789012},
        {"step-123", -1},           {"step-000000123", -1}, {"step-00000123.tmp", -1},
        {"step-0000012x", -1},      {"Step-00000123", -1},  {"step-", -1},
        {"step-1234567890123", -1}, {"xstep-00000123", -1}, {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(ckpt_step_from_name(cases[i].name), cases[i].step);
    assert_true(ckpt_is_staging_name("step-00000123.tmp"));
    assert_true(ckpt_is_staging_name("step-00000123.2.tmp"));
    assert_false(ckpt_is_staging_name("step-00000123.x.tmp"));
    assert_false(ckpt_is_staging_name("step-00000123..tmp"));
    assert_false(ckpt_is_staging_name("step-00000123"));
    assert_false(ckpt_is_staging_name("step-123.tmp"));
    assert_false(ckpt_is_staging_name("notes.tmp"));
    assert_false(ckpt_is_staging_name(".tmp"));
}

/* ------------------------------------------------------------------ retention */

static void test_retention(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 2, 20);
    for (int64_t step = 5; step <= 55; step += 5)
        assert_ok(state_save(w, &s, step, &e), &e);
    ckpt_writer_close(w);
    assert_string_equal(folder_names(dir),
                        "step-00000020 step-00000040 step-00000050 step-00000055");
    state_fini(&s);
    test_dir_free(dir);
}

/* After a fall-back the damaged newer folder must not push the good ones out. */
static void test_retention_after_fallback(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10, 20, 40, 50}, 4);
    flip_bit(step_path(dir, 40, "config.json"), 3, 1);
    flip_bit(step_path(dir, 50, "weights.safetensors"), 3, 1);
    assert_int_equal(state_load(dir, &s, NULL, &e), 20);
    ckpt_writer_t *w = writer_open(dir, &s, 1, 0);
    assert_ok(state_save(w, &s, 30, &e), &e);
    assert_string_equal(folder_names(dir), "step-00000030 step-00000040 step-00000050");
    assert_int_equal(state_load(dir, &s, NULL, &e), 30);
    assert_ok(state_save(w, &s, 40, &e), &e); /* replaces the damaged one */
    assert_int_equal(state_load(dir, &s, NULL, &e), 40);
    assert_ok(state_save(w, &s, 50, &e), &e);
    assert_ok(state_save(w, &s, 60, &e), &e);
    assert_string_equal(folder_names(dir), "step-00000060");
    ckpt_writer_close(w);
    state_fini(&s);
    test_dir_free(dir);
}

/* Of two processes on one run folder the second is refused, and harms nothing. */
static void test_second_writer_is_refused(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    ckpt_writer_t *w, *second = NULL;
    state_init(&s);
    w = writer_open(dir, &s, 0, 0);
    struct ckpt_writer_options o = {.run_dir = dir};
    assert_int_equal(ckpt_writer_open(&o, &s.layout, &second, &e), ERROR_FAILED);
    assert_non_null(strstr(e.text, "another process"));
    ckpt_writer_close(w);
    assert_ok(ckpt_writer_open(&o, &s.layout, &second, &e), &e);
    ckpt_writer_close(second);
    state_fini(&s);
    test_dir_free(dir);
}

/* ------------------------------------------------------------------ parts of ranks */

enum { RANKS = 3 };

/* What each rank has of big, small and counts: all of each tensor, in parts of any size. */
static const struct ckpt_range ranges[RANKS][3] = {
    {{0, 1000}, {0, 0}, {2, 3}},
    {{1000, 0}, {0, STATE_SMALL}, {0, 0}},
    {{1000, STATE_BIG - 1000}, {0, 0}, {0, 2}},
};

/* The state of one rank: its own copy of everything, of which only its part counts. */
struct rank_state {
    struct run_state s;
    ckpt_writer_t *w;
};

static void rank_open(struct rank_state *r, const char *dir, int rank)
{
    struct error e = {0};
    struct ckpt_writer_options o = {.run_dir = dir};
    state_init(&r->s);
    r->s.sets[0].ranges = ranges[rank];
    r->s.sets[1].ranges = ranges[rank] + 2;
    r->s.weights[0].data = r->s.big + ranges[rank][0].first;
    r->s.moments[0].data = r->s.counts + ranges[rank][2].first;
    r->s.layout.rank = rank;
    r->s.layout.n_ranks = RANKS;
    if (rank > 0) r->s.layout.n_files = 0;
    assert_ok(ckpt_writer_open(&o, &r->s.layout, &r->w, &e), &e);
}

static void rank_close(struct rank_state *r)
{
    ckpt_writer_close(r->w);
    state_fini(&r->s);
}

/* The first `n` ranks write their parts. */
static void save_parts(struct rank_state *ranks, int n, int64_t step)
{
    struct error e = {0};
    assert_ok(ckpt_writer_prepare(ranks[0].w, step, &e), &e);
    for (int r = 0; r < n; r++) {
        state_fill(&ranks[r].s, step);
        assert_ok(ckpt_writer_submit(ranks[r].w, step, state_json(step), &e), &e);
    }
    for (int r = 0; r < n; r++)
        assert_ok(ckpt_writer_wait(ranks[r].w, &e), &e);
}

static void commit_parts(struct rank_state *ranks)
{
    struct error e = {0};
    struct ckpt_part parts[RANKS * 4];
    size_t n = 0;
    for (int r = 0; r < RANKS; r++)
        n += ckpt_writer_parts(ranks[r].w, parts + n, ARRAY_LEN(parts) - n);
    ckpt_writer_commit(ranks[0].w, parts, n);
    assert_ok(ckpt_writer_wait(ranks[0].w, &e), &e);
}

/* Written by three ranks, read by one process and by a rank of another layout: the same bits. Parts
 * that were not committed, because a rank died, are no checkpoint. */
static void test_parts_of_ranks(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct rank_state ranks[RANKS];
    struct run_state whole;
    state_init(&whole);
    for (int r = 0; r < RANKS; r++)
        rank_open(&ranks[r], dir, r);
    save_parts(ranks, RANKS, 10);
    assert_int_equal(state_load(dir, &whole, NULL, &e), -1); /* not yet */
    commit_parts(ranks);
    assert_int_equal(state_load(dir, &whole, NULL, &e), 10);
    save_parts(ranks, RANKS - 1, 20); /* the third dies */
    for (int r = 0; r < RANKS; r++)
        rank_close(&ranks[r]);
    assert_string_equal(folder_names(dir), "step-00000010 step-00000020.tmp");
    assert_int_equal(state_load(dir, &whole, NULL, &e), 10);

    /* Numbers [700, 2400) of the large tensor, which lie in two parts. */
    struct ckpt_range some[2] = {{700, 1700}, {3, 2}};
    struct ckpt_loaded loaded;
    state_fill(&whole, 999999);
    struct run_state want;
    state_init(&want);
    state_fill(&want, 10);
    whole.sets[0].ranges = some;
    whole.weights[0].data = whole.big + 700;
    whole.weights[1].data = whole.small + 3;
    assert_ok(ckpt_load_step(dir, 10, &whole.layout, &loaded, &e), &e);
    json_decref(loaded.state);
    assert_memory_equal(whole.big + 700, want.big + 700, 1700 * sizeof(float));
    assert_memory_equal(whole.small + 3, want.small + 3, 2 * sizeof(float));
    assert_true(whole.big[699] != want.big[699] && whole.big[2400] != want.big[2400]);
    state_fini(&want);

    ckpt_writer_close(writer_open(dir, &whole, 0, 0)); /* by the next run */
    assert_string_equal(folder_names(dir), "step-00000010");
    assert_true(remove(step_path(dir, 10, "weights-00002-of-00003.safetensors")) == 0);
    assert_true(ckpt_load_step(dir, 10, &whole.layout, &loaded, &e) < 0);
    assert_non_null(strstr(e.text, "weights-00002-of-00003.safetensors"));
    state_fini(&whole);
    test_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_large_tensors_and_pool),
        cmocka_unit_test(test_saves_the_moment_of_submit),
        cmocka_unit_test(test_same_step_is_replaced),
        cmocka_unit_test(test_flipped_bit_anywhere),
        cmocka_unit_test(test_flipped_bit_everywhere_in_manifest),
        cmocka_unit_test(test_wrong_length),
        cmocka_unit_test(test_missing_manifest),
        cmocka_unit_test(test_none_is_good),
        cmocka_unit_test(test_mixed_up_folders),
        cmocka_unit_test(test_other_model),
        cmocka_unit_test(test_hostile_manifests),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_retention_after_fallback),
        cmocka_unit_test(test_second_writer_is_refused),
        cmocka_unit_test(test_parts_of_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
