/* test_train_util.h: a small dataset, a small run file, and runs of it, for the tests of training. */
#ifndef TEST_TRAIN_UTIL_H
#define TEST_TRAIN_UTIL_H

#include "text_data_fixture.h"

#include "train/train_internal.h"

#include <math.h>

/* 600 short documents with some order in them: enough for batches that differ. Tokenized by bytes;
 * one in ten goes to the validation split. Returns the dataset's folder. */
static inline const char *train_util_dataset(struct fixture *f, const char *name, uint64_t seed)
{
    static const char *const words[] = {"grok", "the", "cat", "moves", "a", "large", "box", "and"};
    struct str text = {0};
    for (uint64_t i = 0; i < 600; i++) {
        for (uint64_t j = 0; j < 4 + rng_u64(seed, 1, i) % 5; j++)
            str_printf(&text, "%s ", words[rng_u64(seed, 2, 8 * i + j) % ARRAY_LEN(words)]);
        str_printf(&text, "%llu\n%%\n", (unsigned long long)i);
    }
    char *corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    str_fini(&text);
    char *tokenizer_path = fixture_tokenizer(f, "tokenizer.json", 257);
    tokenizer_t *t;
    assert_ok(f, tokenizer_load(tokenizer_path, &t, &f->e));
    const char *paths[] = {corpus};
    struct corpus_options c = {.paths = paths, .n_paths = 1, .format = CORPUS_FORTUNE};
    struct dataset_options o = {.out_dir = fixture_path(f, name),
                                .valid_fraction = 0.1,
                                .command = "test",
                                .tokenizer_path = tokenizer_path};
    struct dataset_report report;
    assert_ok(f, dataset_build(&c, t, &o, &report, &f->e));
    tokenizer_free(t);
    return o.out_dir;
}

/* A run of 12 steps of 4 x 24 tokens on a model of two layers with four experts. */
static inline const char *train_util_yaml(struct fixture *f, const char *data)
{
    return arena_printf(&f->arena,
                        "name: small\n"
                        "dir: %s/runs\n"
                        "data:\n  path: %s\n"
                        "model:\n  n_layers: 2\n  d_model: 32\n  n_heads: 2\n  n_kv_heads: 1\n"
                        "  ffn_hidden: 24\n  n_experts: 4\n"
                        "batch:\n  seq_len: 24\n  micro_batch: 2\n  global_batch: 4\n"
                        "train:\n  tokens: 1152\n  precision: fp32\n  threads: 1\n"
                        "  skip_window: 8\n"
                        "schedule:\n  warmup_tokens: 200\n"
                        "log:\n  every: 1000\n  valid_every: 5\n  peak_seconds: 0\n"
                        "  timeline_every: 0\n"
                        "checkpoint:\n  every: 4\n",
                        f->dir, data);
}

struct train_util_run {
    const char *yaml;
    const char *set[12]; /* overrides, up to the first NULL */
    struct train_options options;
};

static inline int train_util_try(struct fixture *f, const struct train_util_run *r)
{
    struct train_run_file file;
    size_t n = 0;
    while (n < ARRAY_LEN(r->set) && r->set[n])
        n++;
    f->e = (struct error){0};
    const struct train_run_text from = {"run.yaml", r->yaml, strlen(r->yaml), r->set, n};
    TRY(train_config_load(&from, &file, &f->e));
    struct train_options o = r->options;
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    if (!o.out) o.out = nowhere;
    int rc = train_run(&file, &o, &f->e);
    fclose(nowhere);
    train_config_free(&file);
    return rc;
}

/* A file of a run's newest checkpoint. */
static inline void train_util_read_newest(struct fixture *f, const char *run, const char *file,
                                          char **data, size_t *size)
{
    int64_t *steps;
    size_t n;
    assert_ok(f, ckpt_list(run, &f->arena, &steps, &n, &f->e));
    assert_true(n > 0);
    char *path =
        arena_printf(&f->arena, "%s/checkpoints/step-%08lld/%s", run, (long long)steps[0], file);
    assert_ok(f, file_read(path, (size_t)1 << 30, data, size, &f->e));
}

/* The newest checkpoints of two runs hold the same weights and moments, bit for bit. */
static inline void train_util_assert_same(struct fixture *f, const char *run_a, const char *run_b)
{
    static const char *const files[] = {"weights.safetensors", "optim-m.safetensors",
                                        "optim-v.safetensors", "state.safetensors"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *a, *b;
        size_t n_a, n_b;
        train_util_read_newest(f, run_a, files[i], &a, &n_a);
        train_util_read_newest(f, run_b, files[i], &b, &n_b);
        assert_int_equal(n_a, n_b);
        if (memcmp(a, b, n_a) != 0) fail_msg("%s of '%s' and '%s' differ", files[i], run_a, run_b);
        mem_free(a);
        mem_free(b);
    }
}

/* Lines of a .jsonl file, parsed; caller json_decrefs. */
static inline json_t *train_util_lines(struct fixture *f, const char *run, const char *name)
{
    char *data;
    size_t size;
    json_t *list = json_array();
    assert_ok(f, file_read(file_join(&f->arena, run, name), (size_t)64 << 20, &data, &size, &f->e));
    for (char *at = data; *at;) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        json_t *o;
        assert_ok(f, json_parse(at, (size_t)(end - at), name, &o, &f->e));
        json_array_append_new(list, o);
        at = end + 1;
    }
    mem_free(data);
    return list;
}

static inline size_t train_util_count_events(const json_t *events, const char *name)
{
    size_t i, n = 0;
    const json_t *o;
    json_array_foreach(events, i, o)
    {
        n += strcmp(json_string_value(json_object_get(o, "event")), name) == 0;
    }
    return n;
}

#endif
