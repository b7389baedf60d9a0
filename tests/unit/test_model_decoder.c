/* test_model_decoder.c: batches of rows: 64 sequences give the same bits alone and together, in any
 * batch, order and cut, with prefixes that are shared or not, on every backend, in both formats and
 * under every limit of instructions that the libraries know.
 *
 * Limits are read when a library starts, so the program runs itself again under each. */
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_model_support.h"

enum { SEQUENCES = 64, LONGEST = 70, V = 61 };

/* ------------------------------------------------------------------ sequences */

struct texts {
    uint32_t tokens[SEQUENCES][LONGEST];
    int64_t length[SEQUENCES], shared[SEQUENCES]; /* shared: with sequence s / 4 * 4 */
    float *want, *have;                           /* [SEQUENCES, LONGEST, V] */
};

static float *logits_of(float *all, int s, int64_t at)
{
    return all + (s * LONGEST + at) * V;
}

static int64_t pick(uint64_t stream, uint64_t i, int64_t n)
{
    return (int64_t)(rng_u64(99, stream, i) % (uint64_t)n);
}

/* Each four sequences begin alike: with a whole page, some of one, more than one, or nothing. */
static void texts_init(struct texts *t)
{
    static const int64_t prefixes[] = {32, 13, 45, 0};
    for (int s = 0; s < SEQUENCES; s++) {
        int first = s / 4 * 4;
        t->shared[s] = s == first ? 0 : prefixes[s / 4 % 4];
        t->length[s] = s == first ? LONGEST : t->shared[s] + 1 + pick(1, (uint64_t)s, LONGEST - 46);
        random_tokens(t->tokens[s], LONGEST, V, 100 + (uint64_t)s);
        memcpy(t->tokens[s], t->tokens[first], (size_t)t->shared[s] * sizeof(uint32_t));
    }
    size_t n = (size_t)SEQUENCES * LONGEST * V;
    t->want = mem_calloc(2 * n, sizeof(float));
    t->have = t->want + n;
}

static void compare(const struct texts *t, bool forked)
{
    for (int s = 0; s < SEQUENCES; s++)
        for (int64_t i = forked ? t->shared[s] : 0; i < t->length[s]; i++)
            if (memcmp(logits_of(t->have, s, i), logits_of(t->want, s, i), V * sizeof(float)) != 0)
                fail_msg("sequence %d, position %d differs", s, (int)i);
}

/* ------------------------------------------------------------------ ways to run them */

static void step(model_decoder_t *d, const struct model_row *rows, int64_t n, float *logits)
{
    struct error e = {0};
    if (model_decode_rows(d, rows, n, logits, &e) < 0) fail_with(&e);
}

/* One after the other, each in a decoder that never saw another one; every third token by token. */
static void run_alone(model_t *m, struct texts *t)
{
    for (int s = 0; s < SEQUENCES; s++) {
        struct error e = {0};
        model_decoder_t *d;
        if (model_decoder_new(m, &d, &e) < 0) fail_with(&e);
        int32_t id = model_sequence_open(d);
        struct model_row rows[LONGEST];
        for (int64_t i = 0; i < t->length[s]; i++)
            rows[i] = (struct model_row){id, t->tokens[s][i], i, true};
        int64_t n = s % 3 == 0 ? 1 : t->length[s];
        for (int64_t i = 0; i < t->length[s]; i += n)
            step(d, rows + i, n, logits_of(t->want, s, i));
        model_decoder_free(d);
    }
}

/* Rounds of up to `batch` random sequences with up to `most` tokens each, laid one after the other
 * or, where `woven`, in turns; with `fork` the later three of each four go on from the first one. */
struct way {
    int batch, most;
    bool woven, fork;
    uint64_t seed;
};

struct round {
    struct model_row rows[1024];
    float *to[1024]; /* where the logits of each row belong */
    int64_t n;
};

/* Adds the next `count` tokens of sequence s. */
static void add_rows(struct round *r, struct texts *t, int s, int32_t id, int64_t at, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        r->to[r->n] = logits_of(t->have, s, at + i);
        r->rows[r->n++] = (struct model_row){id, t->tokens[s][at + i], at + i, true};
    }
}

/* Rows in turns: first those that are first of their sequence, then second, and so on. */
static void weave(struct round *r)
{
    struct round out = {.n = 0};
    bool taken[1024] = {false};
    while (out.n < r->n) {
        int32_t last = -1;
        for (int64_t i = 0; i < r->n; i++) {
            if (taken[i] || r->rows[i].sequence == last) continue;
            last = r->rows[i].sequence;
            taken[i] = true;
            out.to[out.n] = r->to[i];
            out.rows[out.n++] = r->rows[i];
        }
    }
    *r = out;
}

/* fed: tokens that the model has seen. */
static bool may_start(const struct way *w, const struct texts *t, const int64_t *fed, int s)
{
    return !w->fork || fed[s / 4 * 4] >= t->shared[s];
}

static void run_batched(model_t *m, struct texts *t, const struct way *w)
{
    static struct round r;
    static float logits[1024 * V];
    struct error e = {0};
    model_decoder_t *d;
    int64_t done[SEQUENCES] = {0}, left = SEQUENCES;
    int32_t id[SEQUENCES];
    memset(id, 0xff, sizeof(id));
    if (model_decoder_new(m, &d, &e) < 0) fail_with(&e);
    for (uint64_t turn = 0; left > 0; turn++) {
        bool in[SEQUENCES] = {false};
        int64_t fed[SEQUENCES];
        memcpy(fed, done, sizeof(fed));
        r.n = 0;
        for (int i = 0; i < w->batch; i++) {
            int s = (int)pick(w->seed, turn * 64 + (uint64_t)i, SEQUENCES);
            for (int k = 0; k < SEQUENCES && (in[s] || done[s] == t->length[s]); k++)
                s = (s + 1) % SEQUENCES;
            if (in[s] || done[s] == t->length[s] || !may_start(w, t, fed, s)) continue;
            int64_t n = 1 + pick(w->seed + 1, turn * 64 + (uint64_t)i, w->most);
            if (id[s] < 0 && w->fork && t->shared[s]) {
                id[s] = model_sequence_fork(d, id[s / 4 * 4], t->shared[s]);
                done[s] = t->shared[s];
            }
            if (id[s] < 0) id[s] = model_sequence_open(d);
            n = MIN(MIN(n, t->length[s] - done[s]), 1024 - r.n);
            add_rows(&r, t, s, id[s], done[s], n);
            in[s] = n > 0;
            done[s] += n;
            left -= done[s] == t->length[s];
        }
        if (w->woven) weave(&r);
        step(d, r.rows, r.n, logits);
        for (int64_t i = 0; i < r.n; i++)
            memcpy(r.to[i], logits + i * V, V * sizeof(float));
    }
    model_decoder_free(d);
}

/* ------------------------------------------------------------------ all of it */

static void check_model(const struct model_config *c, struct rig_options o)
{
    static const struct way ways[] = {
        {2, 1, false, false, 1},  {7, 40, false, false, 2}, {64, 3, true, false, 3},
        {64, 1, false, true, 4},  {16, 50, true, true, 5},  {5, 70, false, true, 6},
        {64, 70, true, false, 7},
    };
    struct rig r;
    static struct texts t;
    texts_init(&t);
    o.inference = true;
    rig_open(&r, c, 1, 1, o);
    random_weights(r.model, 5);
    run_alone(r.model, &t);
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        memset(t.have, 0xff, (size_t)SEQUENCES * LONGEST * V * sizeof(float));
        run_batched(r.model, &t, &ways[i]);
        compare(&t, ways[i].fork);
    }
    rig_close(&r);
    mem_free(t.want);
}

static void check_all(bool reference)
{
    for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++)
        for (int kind = 0; kind < 2; kind++)
            for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++) {
                struct model_config c = kind ? small_dense() : small_grok2();
                if (!backend_present(BACKENDS[k])) continue;
                if (BACKENDS[k] == COMPUTE_REFERENCE && (!reference || kind)) continue;
                if (kind) { /* wide enough for whole blocks of the fast kernels */
                    c.d_model = 160;
                    c.head_dim = 64;
                    c.ffn_hidden = 200;
                    c.attn_softcap = 0;
                }
                c.n_layers = 1 + kind;
                check_model(&c, (struct rig_options){(enum compute_dtype)dtype, BACKENDS[k],
                                                     reference && kind ? 2 : 1, true});
            }
}

static void test_rows_are_independent(void **state)
{
    (void)state;
    check_all(true);
}

extern char **environ;

/* This program again with one more setting. */
static void run_under(const char *name, const char *value)
{
    char path[] = "/proc/self/exe", child[] = "child";
    char *const arguments[] = {path, child, NULL};
    pid_t pid;
    int status = -1;
    setenv(name, value, 1);
    assert_int_equal(posix_spawn(&pid, path, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unsetenv(name);
    if (status != 0) fail_msg("rows are not independent under %s=%s", name, value);
}

static void test_limits(void **state)
{
    (void)state;
    run_under("ONEDNN_MAX_CPU_ISA", "AVX2");
    run_under("ONEDNN_MAX_CPU_ISA", "AVX512_CORE");
    run_under("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16");
    run_under("COLOSSUS_AMX", "0");
}

/* ------------------------------------------------------------------ pages */

/* A shared page is copied by whoever writes first, a truncated tail may be shared still, and numbers
 * of closed sequences are used again. */
static void test_pages(void **state)
{
    (void)state;
    struct rig r;
    struct error e = {0};
    struct model_config c = small_dense();
    uint32_t tokens[200];
    float want[V], have[V], sink[V];
    rig_open(&r, &c, 1, 1, (struct rig_options){COMPUTE_F32, COMPUTE_AUTO, 1, true});
    random_weights(r.model, 5);
    random_tokens(tokens, 200, V, 9);
    model_decoder_t *d;
    if (model_decoder_new(r.model, &d, &e) < 0) fail_with(&e);
    struct model_row rows[200];
    int32_t a = model_sequence_open(d);
    for (int i = 0; i < 200; i++)
        rows[i] = (struct model_row){a, tokens[i], i, i == 99};
    step(d, rows, 100, want);
    assert_int_equal(model_sequence_length(d, a), 100);
    assert_true(model_sequence_reserve(d, a, 200)); /* pages of its own behind the shared ones */
    int32_t b = model_sequence_fork(d, a, 99);
    model_sequence_truncate(d, a, 10);
    for (int i = 10; i < 150; i++) /* says something else where b's keys are */
        rows[i] = (struct model_row){a, (tokens[i] + 1) % V, i, i == 149};
    step(d, rows + 10, 140, sink);
    step(d, &(struct model_row){b, tokens[99], 99, true}, 1, have);
    assert_memory_equal(have, want, sizeof(want));
    model_sequence_close(d, a);
    assert_int_equal(model_sequence_open(d), a);
    assert_int_equal(model_sequence_length(d, a), 0);
    for (int i = 0; i < 100; i++)
        rows[i] = (struct model_row){a, tokens[i], i, i == 99};
    step(d, rows, 100, have);
    assert_memory_equal(have, want, sizeof(want));
    model_decoder_free(d);
    model_decoder_free(NULL);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) { /* run by run_under */
        check_all(false);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
