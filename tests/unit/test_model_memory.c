/* test_model_memory.c: what a process takes to decode is what the memory table says. A process of its
 * own makes a model for inference, decodes a full pass of rows and reads its anonymous memory; beyond
 * that of one with a tiny model it must agree with the tables' difference within 3 %. The classes of
 * weights are at most 2.1 bytes a parameter in bfloat16, 4.1 in fp32. */
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_model_support.h"

enum { ROWS = 256 };

/* A sanitizer keeps memory of its own beside every byte of the program's. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define IS_SANITIZED true
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define IS_SANITIZED true
#    endif
#endif
#ifndef IS_SANITIZED
#    define IS_SANITIZED false
#endif

static struct model_config config_of(bool large)
{
    struct model_config c = small_dense();
    c.vocab_size = large ? 16000 : 61;
    c.n_layers = large ? 8 : 2;
    c.d_model = large ? 512 : 24;
    c.n_heads = large ? 8 : 4;
    c.n_kv_heads = large ? 4 : 2;
    c.head_dim = large ? 64 : 8;
    c.ffn_hidden = large ? 1536 : 20;
    c.context_length = ROWS;
    return c;
}

/* ------------------------------------------------------------------ the process */

/* In bytes; 0 where the system does not say. */
static size_t anonymous_bytes(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "RssAnon: %lu kB", &kib) == 1) break;
    if (f) fclose(f);
    return (size_t)kib * 1024;
}

/* What it took, and what the table says, to standard output. */
static void child(bool large, enum compute_dtype dtype)
{
    static struct model_row rows[ROWS];
    struct model_config c = config_of(large);
    struct rig r;
    struct error e = {0};
    struct model_memory table[16];
    model_decoder_t *d;
    float logits[16000];
    rig_open(&r, &c, 1, 1, (struct rig_options){dtype, COMPUTE_AUTO, 1, true});
    model_init_weights(r.model, 5);
    if (model_decoder_new(r.model, &d, &e) < 0) fail_with(&e);
    int32_t id = model_sequence_open(d);
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct model_row){id, (uint32_t)i % 61, i, i + 1 == ROWS};
    if (model_decode_rows(d, rows, ROWS, logits, &e) < 0) fail_with(&e);
    size_t have = anonymous_bytes();
    struct model_options o = {.compute = r.compute, .B = 1, .T = 1};
    size_t n = model_plan_memory(&c, &o, table, ARRAY_LEN(table)), want = 0, weights = 0;
    for (size_t i = 0; i < n; i++) {
        bool holds = strstr(table[i].what, "weights") || strstr(table[i].what, "norms");
        want += table[i].bytes;
        weights += holds ? table[i].bytes : 0;
    }
    want += model_decoder_bytes(r.model, ROWS) + compute_scratch_bytes(r.compute);
    printf("%zu %zu %.4f\n", have, want, (double)weights / (double)model_config_total_params(&c));
    model_decoder_free(d);
    rig_close(&r);
}

/* ------------------------------------------------------------------ comparison */

extern char **environ;

struct taken {
    size_t have, want;
    double per_param;
};

static struct taken run(bool large, enum compute_dtype dtype)
{
    char path[] = "/proc/self/exe", size[] = "large", format[] = "bf16";
    if (!large) memcpy(size, "small", sizeof(size));
    if (dtype == COMPUTE_F32) memcpy(format, "fp32", sizeof(format));
    char *const arguments[] = {path, size, format, NULL};
    struct taken t = {0};
    int ends[2], status = -1;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    assert_int_equal(posix_spawn(&pid, path, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    assert_non_null(f);
    int n = fscanf(f, "%zu %zu %lf", &t.have, &t.want, &t.per_param);
    fclose(f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(n, 3);
    return t;
}

static void test_memory_is_the_tables(void **state)
{
    (void)state;
    if (anonymous_bytes() == 0) {
        print_message("this system does not say how much memory is anonymous\n");
        skip();
    }
    for (int dtype = COMPUTE_F32; dtype <= COMPUTE_BF16; dtype++) {
        struct taken small = run(false, (enum compute_dtype)dtype);
        struct taken large = run(true, (enum compute_dtype)dtype);
        double have = (double)large.have - (double)small.have;
        double want = (double)large.want - (double)small.want;
        print_message("%s: %.2f MB beside %.2f of the table, %+.2f %%; %.3f bytes a parameter\n",
                      dtype == COMPUTE_F32 ? "fp32" : "bf16", have / 1e6, want / 1e6,
                      100 * (have / want - 1), large.per_param);
        assert_true(IS_SANITIZED || fabs(have / want - 1) <= 0.03);
        assert_true(large.per_param <= (dtype == COMPUTE_F32 ? 4.1 : 2.1));
    }
}

int main(int argc, char **argv)
{
    if (argc > 2) { /* run by run() */
        child(strcmp(argv[1], "large") == 0,
              strcmp(argv[2], "fp32") == 0 ? COMPUTE_F32 : COMPUTE_BF16);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_is_the_tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
