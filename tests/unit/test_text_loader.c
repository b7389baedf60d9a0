/* test_text_loader.c: the loader: every window of an epoch once, dealt the
 * same for any batch size and number of ranks, and resumed exactly. */
#include "text_data_fixture.h"
#include "text/dataset/text_dataset_internal.h"

enum { EOS = 0 };

/* A dataset of `tokens` ids in shards of shard_tokens; id i is known without it. */
static uint32_t stream_id(uint64_t i, uint64_t tokens)
{
    return i == tokens - 1 || rng_u64(9, 1, i) % 13 == 0 ? EOS : 1 + (uint32_t)(i * 7 % 60000);
}

static dataset_t *make_dataset(struct fixture *f, const char *name, uint64_t tokens,
                               uint64_t shard_tokens)
{
    const struct shard_header template = {.token_bytes = 2, .vocab_size = 60001, .eos = EOS};
    struct shard_index index = {
        .token_bytes = 2, .vocab_size = 60001, .eos = EOS, .tokenizer_kind = "none"};
    char *dir = fixture_path(f, name);
    struct shard_writer w;
    dataset_t *d;

    assert_ok(f, file_make_dirs(dir, &f->e));
    shard_writer_init(&w, dir, "train", &template, shard_tokens, &f->arena);
    for (uint64_t i = 0; i < tokens; i++) {
        uint32_t id = stream_id(i, tokens);
        assert_ok(f, shard_writer_add(&w, &id, 1, &f->e));
        if (id == EOS) shard_writer_end_document(&w, 1);
    }
    assert_ok(f, shard_writer_finish(&w, &f->e));
    index.shards[0] = w.done;
    index.n_shards[0] = w.n_done;
    index.fingerprint = shard_index_fingerprint(&index);
    assert_ok(f, shard_index_save(&index, dir, &f->e));
    assert_ok(f, dataset_open(dir, "train", 0, true, &d, &f->e));
    assert_null(dataset_info(d)->tokenizer_path);
    shard_writer_fini(&w);
    return d;
}

/* The definition: place p of the endless sequence is row p of the batches one behind the other. */
static uint64_t place_start(uint64_t seed, bool shuffle, uint64_t windows, uint64_t place,
                            uint64_t T)
{
    uint64_t i = place % windows;
    return (shuffle ? rng_permute(seed, place / windows, windows, i) : i) * T;
}

/* Steps of every rank against the definition; each rank starts at `place`. */
static void check_steps(struct fixture *f, const dataset_t *d, struct loader_options o,
                        uint64_t place, int steps)
{
    const uint64_t tokens = dataset_info(d)->tokens, W = (tokens - 1) / o.T, T = o.T;
    uint32_t *in = mem_alloc(o.B * T * sizeof(*in)), *target = mem_alloc(o.B * T * sizeof(*in));
    int32_t *doc = mem_alloc(o.B * T * sizeof(*doc));

    for (o.rank = 0; o.rank < o.n_ranks; o.rank++) {
        struct loader_cursor c = {place / W, place % W};
        loader_t *l;
        assert_ok(f, loader_open(d, &o, &l, &f->e));
        assert_ok(f, loader_set_cursor(l, c, &f->e));
        for (int step = 0; step < steps; step++) {
            uint64_t first = place + (uint64_t)step * o.B * o.n_ranks + (uint64_t)o.rank * o.B;
            assert_ok(f, loader_next(l, in, target, step % 2 ? NULL : doc, &f->e));
            for (uint64_t b = 0; b < o.B; b++) {
                uint64_t start = place_start(o.seed, o.shuffle, W, first + b, T), begun = 0;
                for (uint64_t t = 0; t < T; t++) {
                    if (in[b * T + t] != stream_id(start + t, tokens) ||
                        target[b * T + t] != stream_id(start + t + 1, tokens))
                        fail_msg("rank %u, step %d, row %d: wrong window", o.rank, step, (int)b);
                    if (in[b * T + t] == EOS) begun = t;
                    if (step % 2 == 0) assert_int_equal(doc[b * T + t], begun);
                }
            }
        }
        c = loader_get_cursor(l);
        uint64_t after = place + (uint64_t)steps * o.B * o.n_ranks;
        assert_int_equal(c.epoch, after / W);
        assert_int_equal(c.window, after % W);
        loader_close(l);
    }
    mem_free(in);
    mem_free(target);
    mem_free(doc);
}

static void test_order(void **state)
{
    struct fixture *f = *state;
    dataset_t *d = make_dataset(f, "data", 5000, 700);
    static const struct {
        uint32_t B, T, ranks;
    } shapes[] = {{1, 16, 1}, {4, 16, 1},   {3, 7, 4}, {2, 100, 3},
                  {8, 64, 8}, {1, 4999, 1}, {2, 1, 2}, {5, 700, 3}};

    for (size_t i = 0; i < 2 * ARRAY_LEN(shapes); i++) {
        struct loader_options o = {.B = shapes[i / 2].B,
                                   .T = shapes[i / 2].T,
                                   .n_ranks = shapes[i / 2].ranks,
                                   .seed = i,
                                   .shuffle = i % 2};
        check_steps(f, d, o, 0, 12);
        check_steps(f, d, o, 4321 + i, 3); /* from anywhere */
    }
    dataset_close(d);
}

/* Over an epoch every window once, for all ranks together; the next epoch in another order. */
static void test_epochs(void **state)
{
    struct fixture *f = *state;
    dataset_t *d = make_dataset(f, "data", 1200, 100);
    struct loader_options o = {.B = 3, .T = 11, .n_ranks = 4, .seed = 5, .shuffle = true};
    const uint64_t W = 1199 / 11, epochs = 24; /* 12 rows a step: 24 epochs are whole steps */
    uint32_t in[3 * 11], target[3 * 11];
    uint8_t *seen = mem_calloc(W * epochs, 1);
    uint64_t *firsts = mem_calloc(epochs, sizeof(*firsts));

    for (o.rank = 0; o.rank < o.n_ranks; o.rank++) {
        loader_t *l;
        assert_ok(f, loader_open(d, &o, &l, &f->e));
        for (uint64_t step = 0; step < W * epochs / 12; step++) {
            assert_ok(f, loader_next(l, in, target, NULL, &f->e));
            for (uint64_t b = 0; b < 3; b++) {
                uint64_t place = step * 12 + o.rank * 3 + b, w;
                for (w = 0; w < W; w++) { /* which window is it */
                    uint64_t t = 0;
                    while (t < 11 && in[b * 11 + t] == stream_id(w * 11 + t, 1200))
                        t++;
                    if (t == 11) break;
                }
                assert_true(w < W);
                assert_int_equal(seen[place / W * W + w], 0);
                seen[place / W * W + w] = 1;
                if (place % W == 0) firsts[place / W] = w;
            }
        }
        loader_close(l);
    }
    size_t same = 0;
    for (uint64_t i = 0; i < W * epochs; i++)
        assert_int_equal(seen[i], 1);
    for (uint64_t i = 1; i < epochs; i++)
        same += firsts[i] == firsts[i - 1];
    assert_true(same < 4);
    mem_free(seen);
    mem_free(firsts);
    dataset_close(d);
}

/* Stopped after any number of steps and resumed in a new loader: the same stream. */
static void test_resume(void **state)
{
    struct fixture *f = *state;
    dataset_t *d = make_dataset(f, "data", 3000, 1000);

    for (uint64_t i = 0; i < 60; i++) {
        struct loader_options o = {.B = 1 + rng_u64(3, 1, i) % 5,
                                   .T = 1 + rng_u64(3, 2, i) % 200,
                                   .n_ranks = 1 + rng_u64(3, 3, i) % 4,
                                   .seed = i,
                                   .shuffle = i % 4 != 0};
        o.rank = (uint32_t)(rng_u64(3, 4, i) % o.n_ranks);
        uint64_t steps = rng_u64(3, 5, i) % 400, size = (uint64_t)o.B * o.T;
        uint32_t *a = mem_alloc(size * 4), *b = mem_alloc(size * 4), *t = mem_alloc(size * 4);
        loader_t *whole, *resumed;
        assert_ok(f, loader_open(d, &o, &whole, &f->e));
        for (uint64_t s = 0; s < steps; s++)
            assert_ok(f, loader_next(whole, a, t, NULL, &f->e));
        assert_ok(f, loader_open(d, &o, &resumed, &f->e));
        assert_ok(f, loader_set_cursor(resumed, loader_get_cursor(whole), &f->e));
        for (int s = 0; s < 30; s++) {
            assert_ok(f, loader_next(whole, a, t, NULL, &f->e));
            assert_ok(f, loader_next(resumed, b, t, NULL, &f->e));
            assert_memory_equal(a, b, size * 4);
        }
        loader_close(whole);
        loader_close(resumed);
        mem_free(a);
        mem_free(b);
        mem_free(t);
    }
    dataset_close(d);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    dataset_t *d = make_dataset(f, "data", 100, 30);
    struct loader_options o = {.B = 2, .T = 100, .n_ranks = 1};
    uint32_t in[198], target[198];
    int32_t doc[198];
    loader_t *l;

    assert_error(f, loader_open(d, &o, &l, &f->e), "100 tokens", "window of 100");
    o.T = 99;
    assert_ok(f, loader_open(d, &o, &l, &f->e));
    assert_error(f, loader_set_cursor(l, (struct loader_cursor){3, 1}, &f->e), "window 1 ",
                 "epoch of 1");
    assert_ok(f, loader_set_cursor(l, (struct loader_cursor){UINT64_MAX >> 1, 0}, &f->e));
    uint64_t before = mem_alloc_count();
    for (int i = 0; i < 10; i++)
        assert_ok(f, loader_next(l, in, target, doc, &f->e));
    assert_int_equal(mem_alloc_count(), before);
    loader_close(l);
    dataset_close(d);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(test_order), TEST(test_epochs), TEST(test_resume),
                                       TEST(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
