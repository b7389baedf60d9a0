/* test_feed_follow.c: how long is waited, as the services document it, and the queue that spills. */
#include "feed/follow/feed_follow_internal.h"
#include "test_cmocka.h"

#include <fcntl.h>

static void test_waits(void **state)
{
    (void)state;
    const struct feed_policy x = {0.25, 0.25, 16, 5, 320, 60, 900, 20, 50},
                             doubling = {1, 0, 60, 5, 320, 60, 900, 60, 0};
    static const struct {
        enum feed_end end;
        int n;
        double s;
    } cases[] = {{FEED_END_CLOSED, 1, 0},  {FEED_END_CLOSED, 2, 0.25}, {FEED_END_SILENT, 1, 0},
                 {FEED_END_TCP, 1, 0.25},  {FEED_END_TCP, 2, 0.5},     {FEED_END_TCP, 64, 16},
                 {FEED_END_TCP, 1000, 16}, {FEED_END_HTTP, 1, 5},      {FEED_END_HTTP, 2, 10},
                 {FEED_END_HTTP, 7, 320},  {FEED_END_HTTP, 50, 320},   {FEED_END_RATE, 1, 60},
                 {FEED_END_RATE, 2, 120},  {FEED_END_RATE, 99, 900}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(feed_policy_delay(&x, cases[i].end, cases[i].n) == cases[i].s);
    assert_true(feed_policy_delay(&doubling, FEED_END_TCP, 3) == 4);
    assert_true(feed_policy_delay(&doubling, FEED_END_TCP, 30) == 60);
}

static void test_peek(void **state)
{
    (void)state;
    static const char line[] = "{\"did\":\"x\",\"time_us\": 1783000000000001,\"id\":\"42\"}";
    assert_int_equal(feed_peek_number(line, sizeof(line) - 1, "time_us"), 1783000000000001LL);
    assert_int_equal(feed_peek_number(line, sizeof(line) - 1, "id"), 42);
    assert_int_equal(feed_peek_number(line, sizeof(line) - 1, "none"), 0);
    assert_int_equal(feed_peek_number(line, 20, "time_us"), 0); /* cut off before its digits */
}

static void put(feed_queue_t *q, int i)
{
    char text[64];
    struct error e = {0};
    int n = snprintf(text, sizeof(text), "line %d of the queue", i);
    assert_ok(feed_queue_put(q, text, (size_t)n, i, &e), e);
}

/* Lines [from, to) come in order, each with its moment. */
static void expect(feed_queue_t *q, int from, int to)
{
    struct str line = {0};
    for (int i = from; i < to; i++) {
        int64_t when;
        char text[64];
        struct error e = {0};
        int rc = feed_queue_get(q, &line, &when, 0, &e);
        if (rc == 2) { /* the file is used up; lines behind it go on */
            assert_ok(feed_queue_reset(q, &e), e);
            rc = feed_queue_get(q, &line, &when, 0, &e);
        }
        assert_int_equal(rc, 1);
        snprintf(text, sizeof(text), "line %d of the queue", i);
        assert_string_equal(line.data, text);
        assert_int_equal(when, i);
    }
    str_fini(&line);
}

static void test_queue(void **state)
{
    (void)state;
    struct arena a = {0};
    struct error e = {0};
    feed_queue_t *q;
    uint64_t spilled;
    int64_t when;
    struct str line = {0};
    char *dir = test_folder(&a), *path = file_join(&a, dir, "spill.log");
    assert_ok(feed_queue_open(dir, 1000, &q, &e), e);
    for (int i = 0; i < 200; i++)
        put(q, i);
    feed_queue_bytes(q, &spilled);
    assert_true(spilled > 0);
    expect(q, 0, 150);
    for (int i = 200; i < 210; i++) /* behind what waits on disk, though memory has room */
        put(q, i);
    expect(q, 150, 210);
    assert_int_equal(feed_queue_get(q, &line, &when, 0, &e), 2);
    assert_ok(feed_queue_reset(q, &e), e);
    assert_int_equal(feed_queue_get(q, &line, &when, 0, &e), 0);
    put(q, 300); /* in memory again */
    assert_int_equal(feed_queue_bytes(q, &spilled) > 0, 1);
    assert_int_equal(spilled, 0);
    expect(q, 300, 301);
    for (int i = 0; i < 100; i++)
        put(q, i);
    feed_queue_close(q); /* as if the process had died: what was on disk is there */
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "\x40\0\0\0half", 8) == 8); /* a record that was cut off */
    close(fd);
    assert_ok(feed_queue_open(dir, 1000, &q, &e), e);
    int first = -1, n = 0, rc;
    while ((rc = feed_queue_get(q, &line, &when, 0, &e)) == 1) {
        if (first < 0) first = (int)when;
        assert_int_equal(when, first + n);
        n++;
    }
    assert_int_equal(rc, 2);
    assert_int_equal(first + n, 100);
    assert_true(n > 50);
    assert_ok(feed_queue_reset(q, &e), e);
    feed_queue_close(q);
    assert_false(file_exists(path));
    str_fini(&line);
    assert_ok(file_remove_tree(dir, &e), e);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
