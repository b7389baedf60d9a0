/* test_cluster_hang.c: a network that is played slower takes as long and changes no bit; of a job
 * that hangs every rank reports what it was at; what a rank does is recorded while it is asked for. */
#include "test_cmocka.h"
#include "test_cluster_threads.h"

/* ------------------------------------------------------------------ a slower network */

enum { FLOATS = 100000 };

static float value(int rank, size_t i)
{
    return (float)rng_normal(3, (uint64_t)rank, i);
}

/* 400 kB over two ranks: each sends half of it, and then the other half. */
static void sum_slowly(cluster_t *c, void *ctx)
{
    double *seconds = ctx, start_s = time_now_s();
    float *x = mem_alloc(FLOATS * sizeof(*x));
    for (size_t i = 0; i < FLOATS; i++)
        x[i] = value(cluster_rank(c), i);
    CHECK(group_sum(group_world(c), x, FLOATS, GROUP_F32, NULL) == 0);
    seconds[cluster_rank(c)] = time_now_s() - start_s;
    for (size_t i = 0; i < FLOATS; i++)
        CHECK(x[i] == value(0, i) + value(1, i));
    mem_free(x);
}

static void test_a_slow_link_takes_its_time(void **state)
{
    (void)state;
    double seconds[2];
    struct office o = {.dead = -1, .link_bytes_per_s = 2e6, .link_latency_s = 0.01};
    run_ranks(&o, 2, 0, sum_slowly, seconds);
    /* 0.4 MB at 2 MB/s, and the latency of two messages that wait for each other. */
    assert_true(seconds[0] >= 0.2 + 0.02 - 1e-3);
    assert_true(seconds[1] >= 0.2 + 0.02 - 1e-3);
}

/* A message is on its way without its sender, and not there before it is due. */
static void test_a_message_needs_no_sender_to_arrive(void **state)
{
    (void)state;
    struct office o = {.dead = -1, .size = 2};
    struct desk d[2];
    struct cluster_transport *t[2];
    char sent[200] = "a message", got[200] = "";
    void *out, *in;
    size_t bytes = 0;
    int rc = 0;
    pthread_mutex_init(&o.lock, NULL);
    for (int i = 0; i < 2; i++) {
        desk_init(&d[i], &o, i);
        t[i] = cluster_link_over(&d[i].table, 2000, 0.05);
    }
    double begun_s = time_now_s(), end_s = begun_s + 20;
    assert_int_equal(t[0]->send(t[0], 1, 7, sent, sizeof(sent), &out), 0);
    assert_int_equal(t[1]->recv(t[1], 0, 7, got, sizeof(got), &in), 0);
    while (rc == 0 && time_now_s() < end_s)
        rc = t[1]->test(t[1], &in, &bytes);
    assert_int_equal(rc, 1);
    assert_null(in);
    assert_int_equal(bytes, sizeof(sent));
    assert_memory_equal(got, sent, sizeof(sent));
    assert_true(time_now_s() - begun_s >= 0.15);
    assert_int_equal(t[0]->test(t[0], &out, &bytes), 1);
    for (int i = 0; i < 2; i++)
        t[i]->close(t[i]);
    pthread_mutex_destroy(&o.lock);
}

static void test_the_environment_asks_for_a_link(void **state)
{
    (void)state;
    struct error e = {0};
    struct office o = {.dead = -1, .size = 2};
    struct desk d;
    desk_init(&d, &o, 0);
    struct cluster_transport *t = &d.table;
    static const char *const wrong[] = {"fast",         "1.25",          "0 GB/s",
                                        "1 GB/s, soon", "1 GB/s, -1 ms", ", 1 ms"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        setenv("COLOSSUS_LINK", wrong[i], 1);
        assert_true(cluster_link_from_environment(&t, &e) < 0);
        assert_non_null(strstr(e.text, wrong[i]));
        assert_int_equal(e.code, ERROR_CONFIG); /* starting the ranks again is no cure */
        assert_ptr_equal(t, &d.table);
    }
    d.table.rank = 1; /* what rank 0 has said */
    assert_int_equal(cluster_link_from_environment(&t, &e), ERROR_CONFIG);
    assert_string_equal(e.text, "");
    d.table.rank = 0;
    setenv("COLOSSUS_LINK", "1 GB/s", 1);
    d.table.local_size = 1;
    assert_int_equal(cluster_link_from_environment(&t, &e), ERROR_CONFIG);
    assert_non_null(strstr(e.text, "one machine"));
    d.table.local_size = 2;
    setenv("COLOSSUS_LINK", "", 1);
    assert_int_equal(cluster_link_from_environment(&t, &e), 0);
    assert_ptr_equal(t, &d.table);
    setenv("COLOSSUS_LINK", "10 Gb/s, 0.02 ms", 1);
    assert_int_equal(cluster_link_from_environment(&t, &e), 0);
    unsetenv("COLOSSUS_LINK");
    assert_ptr_not_equal(t, &d.table);
    assert_non_null(strstr(t->name, "COLOSSUS_LINK"));
    assert_int_equal(t->size, 2);
    t->close(t);
}

/* ------------------------------------------------------------------ a rank that hangs */

static void nap(void)
{
    struct timespec t = {.tv_sec = 1, .tv_nsec = 200000000};
    while (nanosleep(&t, &t) != 0) {
    }
}

static void hang(cluster_t *c, void *ctx)
{
    struct error e = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s/stacks/rank-%d.txt", (const char *)ctx, cluster_rank(c));
    CHECK(cluster_limit_waits(c, 1.0, path, &e) == 0);
    float x = 1;
    if (cluster_rank(c) == 1) {
        nap();
        return;
    }
    CHECK(group_sum(group_world(c), &x, 1, GROUP_F32, &e) < 0);
    CHECK(strstr(e.text, "waited 1 s for rank 1"));
    CHECK(strstr(e.hint, "stacks/rank-0.txt"));
}

static char *read_text(const char *folder, const char *name)
{
    struct error e = {0};
    struct arena a = {0};
    struct file_map m;
    const char *path = file_join(&a, folder, name);
    if (file_map_open(&m, path, &e) < 0) fail_msg("%s", e.text);
    char *text = mem_calloc(1, m.size + 1);
    memcpy(text, m.data, m.size);
    file_map_close(&m);
    arena_fini(&a);
    return text;
}

static void test_every_rank_tells_what_it_was_at(void **state)
{
    struct arena a = {0};
    struct office o = {.dead = -1};
    char *folder = test_folder(&a);
    (void)state;
    run_ranks(&o, 2, 0, hang, folder);
    char *waits = read_text(folder, "stacks/rank-0.txt");
    assert_non_null(strstr(waits, "rank 0 of 2"));
    assert_non_null(strstr(waits, "waits for rank 1, in a sum of group all"));
    char *hangs = read_text(folder, "stacks/rank-1.txt");
    assert_non_null(strstr(hangs, "rank 1 of 2"));
    assert_non_null(strstr(hangs, "waits for no other rank"));
    assert_non_null(strstr(hangs, "nanosleep"));
    const char *thread = strstr(hangs, "  thread ");
    assert_non_null(thread);
    assert_non_null(strstr(thread, "\n    "));
    mem_free(waits);
    mem_free(hangs);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ what is done when */

static void work(cluster_t *c, void *ctx)
{
    (void)ctx;
    struct cluster_span spans[3];
    size_t lost;
    float x = 1, y[2] = {0};
    CHECK(cluster_span_begin(c) <= 0);
    CHECK(group_sum(group_world(c), &x, 1, GROUP_F32, NULL) == 0); /* not recorded */
    cluster_record(c, spans, ARRAY_LEN(spans));
    double begin_s = cluster_span_begin(c);
    CHECK(group_sum(group_world(c), &x, 1, GROUP_F32, NULL) == 0);
    cluster_span_end(c, begin_s, "work");
    struct group_ticket t = {
        .group = group_world(c), .work = GROUP_WORK_SUM, .x = y, .n = 2, .dtype = GROUP_F32};
    group_start(&t);
    CHECK(group_wait(&t, NULL) == 0);
    CHECK(cluster_recorded(c, &lost) == 3);
    CHECK(lost == 0);
    CHECK(group_barrier(group_world(c), NULL) == 0); /* finds no place */
    CHECK(cluster_recorded(c, &lost) == 3);
    CHECK(lost == 1);
    cluster_record(c, NULL, 0);
    CHECK(strcmp(spans[0].name, "sum") == 0);
    CHECK(strcmp(spans[0].group, "all") == 0);
    CHECK(spans[0].kind == CLUSTER_SPAN_CALL);
    CHECK(strcmp(spans[1].name, "work") == 0);
    CHECK(!spans[1].group);
    CHECK(spans[2].kind == CLUSTER_SPAN_BACKGROUND);
    CHECK(spans[1].begin_s >= 0 && spans[1].begin_s <= spans[0].begin_s);
    CHECK(spans[0].end_s <= spans[1].end_s && spans[1].end_s <= spans[2].end_s);
}

static void test_spans_are_kept_while_asked_for(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 2, 0, work, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_link_takes_its_time),
        cmocka_unit_test(test_a_message_needs_no_sender_to_arrive),
        cmocka_unit_test(test_the_environment_asks_for_a_link),
        cmocka_unit_test(test_every_rank_tells_what_it_was_at),
        cmocka_unit_test(test_spans_are_kept_while_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
