/* test_train_checkpoint_util.h: a small run state that can be saved, loaded and recognised, and
 * what the tests of checkpoints do to folders. Every value is a function of the step, so that any
 * mixture of two checkpoints shows. */
#ifndef TEST_TRAIN_CHECKPOINT_UTIL_H
#define TEST_TRAIN_CHECKPOINT_UTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/checkpoint/train_checkpoint_internal.h"
#include "train/checkpoint/train_checkpoint_manifest_internal.h"

/* Assertion with the text of an error where it fails. */
#define assert_ok(rc, e)                                               \
    do {                                                               \
        if ((rc) < 0) fail_msg("%s (hint: %s)", (e)->text, (e)->hint); \
    } while (0)

enum { STATE_BIG = 3000, STATE_SMALL = 7, STATE_COUNTS = 5, STATE_FILES = 4 };

/* Two sets and two small files, as a run has them; big can be longer than STATE_BIG. */
struct run_state {
    size_t n_big;
    float *big, small[STATE_SMALL];
    int64_t counts[STATE_COUNTS];
    struct safetensors_entry weights[2], moments[1];
    struct ckpt_set sets[2];
    struct ckpt_file files[2];
    struct ckpt_layout layout;
};

static const char *const state_file_names[STATE_FILES + 1] = {
    "weights.safetensors", "optim-m.safetensors", "config.json", "tokenizer.json", CKPT_MANIFEST};

static inline void state_init_sized(struct run_state *s, size_t n_big)
{
    static const char config[] = "{\"d_model\": 8}\n";
    static const char tokenizer[] = "{\"model\": {\"type\": \"BPE\"}}\n";
    *s = (struct run_state){.n_big = n_big};
    s->big = mem_calloc(n_big, sizeof(float));
    s->weights[0] = (struct safetensors_entry){"blk.0.big.weight",  ST_F32, 2,
                                               {(int64_t)n_big, 1}, s->big, 4 * n_big};
    s->weights[1] = (struct safetensors_entry){"blk.0.small.weight", ST_F32,   1,
                                               {STATE_SMALL},        s->small, sizeof(s->small)};
    s->moments[0] = (struct safetensors_entry){"counts",       ST_I64,    1,
                                               {STATE_COUNTS}, s->counts, sizeof(s->counts)};
    s->sets[0] = (struct ckpt_set){state_file_names[0], s->weights, 2};
    s->sets[1] = (struct ckpt_set){state_file_names[1], s->moments, 1};
    s->files[0] = (struct ckpt_file){state_file_names[2], config, sizeof(config) - 1};
    s->files[1] = (struct ckpt_file){state_file_names[3], tokenizer, sizeof(tokenizer) - 1};
    s->layout = (struct ckpt_layout){s->sets, 2, s->files, 2};
}

static inline void state_init(struct run_state *s)
{
    state_init_sized(s, STATE_BIG);
}

static inline void state_fini(struct run_state *s)
{
    mem_free(s->big);
}

static inline void state_fill(struct run_state *s, int64_t step)
{
    for (size_t i = 0; i < s->n_big; i++)
        s->big[i] = (float)rng_normal((uint64_t)step, 1, i);
    for (size_t i = 0; i < STATE_SMALL; i++)
        s->small[i] = (float)step + (float)i / 8;
    for (size_t i = 0; i < STATE_COUNTS; i++)
        s->counts[i] = step * 1000003 + (int64_t)i;
}

static inline bool state_is(const struct run_state *s, int64_t step)
{
    struct run_state want;
    state_init_sized(&want, s->n_big);
    state_fill(&want, step);
    bool same = memcmp(want.big, s->big, s->n_big * sizeof(float)) == 0 &&
                memcmp(want.small, s->small, sizeof(s->small)) == 0 &&
                memcmp(want.counts, s->counts, sizeof(s->counts)) == 0;
    state_fini(&want);
    return same;
}

static inline json_t *state_json(int64_t step)
{
    return json_pack("{s:I, s:f, s:{s:[i, i, i], s:s}}", "window", (json_int_t)(step * 17), "loss",
                     1.0 / (double)(step + 3), "nested", "list", 1, 2, 3, "text",
                     "a \"b\"\n\xc3\xa9");
}

static inline ckpt_writer_t *writer_open(const char *dir, const struct run_state *s,
                                         int64_t keep_last, int64_t keep_every)
{
    struct error e = {0};
    ckpt_writer_t *w = NULL;
    struct ckpt_writer_options o = {
        .run_dir = dir, .keep_last = keep_last, .keep_every = keep_every};
    assert_ok(ckpt_writer_open(&o, &s->layout, &w, &e), &e);
    return w;
}

/* Saves the state of a step and waits until it is on disk. */
static inline int state_save(ckpt_writer_t *w, struct run_state *s, int64_t step, struct error *e)
{
    state_fill(s, step);
    TRY(ckpt_writer_submit(w, step, state_json(step), e));
    return ckpt_writer_wait(w, e);
}

static inline void state_save_all(const char *dir, struct run_state *s, const int64_t *steps,
                                  size_t n)
{
    struct error e = {0};
    ckpt_writer_t *w = writer_open(dir, s, 0, 0);
    for (size_t i = 0; i < n; i++)
        assert_ok(state_save(w, s, steps[i], &e), &e);
    ckpt_writer_close(w);
}

/* What ckpt_load_newest skipped on its way. */
struct skips {
    int count;
    int64_t steps[16];
    char why[768]; /* of the last */
};

static inline void skips_add(void *ctx, int64_t step, const char *why)
{
    struct skips *s = ctx;
    assert_true(s->count < (int)ARRAY_LEN(s->steps));
    s->steps[s->count++] = step;
    snprintf(s->why, sizeof(s->why), "%s", why);
}

/* Loads into *s after wiping it; checks that values and "state" are those of the step it says.
 * Returns the step, -1 where there is none, -2 on an error (and then nothing was changed). */
static inline int64_t state_load(const char *dir, struct run_state *s, struct skips *skips,
                                 struct error *e)
{
    struct ckpt_loaded loaded = {-77, NULL};
    struct skips unused;
    if (!skips) skips = &unused;
    *skips = (struct skips){0};
    state_fill(s, 999999);
    int rc = ckpt_load_newest(dir, &s->layout, &loaded, skips_add, skips, e);
    if (rc <= 0) {
        assert_true(state_is(s, 999999));
        assert_null(loaded.state);
        return rc == 0 ? -1 : -2;
    }
    assert_true(state_is(s, loaded.step));
    json_t *want = state_json(loaded.step);
    assert_true(json_equal(loaded.state, want));
    json_decref(want);
    json_decref(loaded.state);
    return loaded.step;
}

/* ------------------------------------------------------------------ folders */

static inline char *test_dir_new(void)
{
    char *dir = mem_strdup("/tmp/colossus-ckpt-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void test_dir_free(char *dir)
{
    struct error e = {0};
    assert_ok(file_remove_tree(dir, &e), &e);
    mem_free(dir);
}

/* "DIR/checkpoints/step-N[/NAME]" in one of a few buffers that are used in turn. */
static inline const char *step_path(const char *dir, int64_t step, const char *name)
{
    static char buffers[4][512];
    static int next;
    char *path = buffers[next++ % 4];
    snprintf(path, sizeof(buffers[0]), "%s/checkpoints/step-%08" PRId64 "%s%s", dir, step,
             name ? "/" : "", name ? name : "");
    return path;
}

static inline void flip_bit(const char *path, int64_t offset, int bit)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= (uint8_t)(1 << bit);
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* Names in DIR/checkpoints joined by spaces: "step-00000010 step-00000020". */
static inline const char *folder_names(const char *dir)
{
    static char text[1024];
    struct arena a = {0};
    struct error e = {0};
    char **names;
    size_t n;
    text[0] = '\0';
    assert_ok(file_list_dir(ckpt_root_path(&a, dir), &a, &names, &n, &e), &e);
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "", names[i]);
    }
    arena_fini(&a);
    return text;
}

#endif
