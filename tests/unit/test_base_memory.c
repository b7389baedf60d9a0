/* test_base_memory.c: the counter, the mapped memory, arenas and growing strings. */
#include "test_cmocka.h"

#include <signal.h>
#include <sys/wait.h>

static void test_counter_counts_every_kind(void **state)
{
    (void)state;
    uint64_t n = mem_alloc_count();
    void *p = mem_alloc(0);
    assert_int_equal(mem_alloc_count(), n + 1);
    p = mem_realloc(p, 100);
    assert_int_equal(mem_alloc_count(), n + 2);
    mem_free(p);
    mem_free(NULL);
    mem_free(mem_calloc(3, 5));
    mem_free(mem_strdup("x"));
    mem_free(mem_strdup("xyz"));
    mem_free(mem_try_alloc(1));
    mem_free(mem_try_realloc(NULL, 1));
    mem_free(mem_alloc_aligned(10, 64));
    mem_unmap(mem_map(10), 10);
    assert_int_equal(mem_alloc_count(), n + 9);
    json_t *o = json_object(); /* jansson allocates through us */
    assert_true(mem_alloc_count() > n + 9);
    json_decref(o);
}

static void test_contents(void **state)
{
    (void)state;
    unsigned char *zero = mem_calloc(7, 3);
    for (int i = 0; i < 21; i++)
        assert_int_equal(zero[i], 0);
    mem_free(zero);
    char *s = mem_strdup("ab");
    assert_string_equal(s, "ab");
    s = mem_realloc(s, 1000);
    assert_string_equal(s, "ab");
    mem_free(s);
    for (size_t alignment = 8; alignment <= 4096; alignment *= 2) {
        void *p = mem_alloc_aligned(3, alignment);
        assert_int_equal((uintptr_t)p % alignment, 0);
        mem_free(p);
    }
}

/* Memory whose size comes from input may be refused, without a count and without an abort. */
static void test_too_much(void **state)
{
    (void)state;
    uint64_t n = mem_alloc_count();
    assert_null(mem_try_alloc(SIZE_MAX / 2));
    assert_null(mem_map(SIZE_MAX));
    assert_null(mem_map((size_t)1 << 60));
    char *p = mem_try_alloc(4);
    p[0] = 'q';
    assert_null(mem_try_realloc(p, SIZE_MAX / 2));
    assert_int_equal(p[0], 'q'); /* still ours */
    mem_free(p);
    assert_int_equal(mem_alloc_count(), n + 1);
}

static void test_out_of_memory_ends_the_program(void **state)
{
    (void)state;
    char text[1024] = {0};
    size_t n = 0;
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(ends[1], 2) < 0) _exit(2);
        mem_alloc((size_t)1 << 62);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0;)
        n += (size_t)got; /* a sanitizer may have a word of its own first */
    close(ends[0]);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(
        strstr(text, "colossus: not enough memory: 4.00 EiB more are not to be had\nhint: "));
}

static void test_map(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned char *p = mem_map(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (2 << 20), 0);
        for (size_t k = 0; k < sizes[i]; k += 1000)
            assert_int_equal(p[k], 0);
        if (sizes[i]) {
            p[0] = 1;
            p[sizes[i] - 1] = 1;
        }
        mem_unmap(p, sizes[i]);
    }
    mem_unmap(NULL, 10);
}

/* What is given back reads as zeros, page by page, and can be used again; what stands beside it on
 * the first and the last page stays. */
static void test_release(void **state)
{
    (void)state;
    enum { PAGE = 4096, SIZE = 3 << 20 };
    assert_int_equal(mem_map_bytes(SIZE), 4 << 20);
    for (int sparse = 0; sparse < 2; sparse++) {
        unsigned char *p = sparse ? mem_map_sparse(SIZE) : mem_map(SIZE);
        assert_non_null(p);
        for (size_t i = 0; i < SIZE; i++)
            assert_int_equal(p[i], 0);
        memset(p, 7, SIZE);
        mem_release(p + 100, SIZE - 2 * 100);
        for (size_t i = 0; i < SIZE; i++)
            if (p[i] != (i < PAGE || i >= SIZE - PAGE ? 7 : 0)) fail_msg("byte %zu: %d", i, p[i]);
        mem_release(p + 1, PAGE - 1); /* no whole page */
        assert_int_equal(p[1], 7);
        memset(p, 9, SIZE);
        assert_int_equal(p[SIZE / 2], 9);
        mem_unmap(p, SIZE);
    }
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *kept[3000];
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        unsigned char *p = arena_alloc(&a, i % 97);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < i % 97; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xAA, i % 97);
        kept[i] = arena_printf(&a, "item %zu", i);
    }
    char *large = arena_alloc(&a, 5 << 20);
    large[(5 << 20) - 1] = 'z';
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        char text[32];
        snprintf(text, sizeof(text), "item %zu", i);
        assert_string_equal(kept[i], text);
    }
    assert_true(a.used >= 5u << 20);
    assert_string_equal(arena_strndup(&a, "abc", 2), "ab");
    assert_string_equal(arena_strdup(&a, ""), "");
    arena_fini(&a);
    assert_null(a.head);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_fini(&a);
    arena_fini(&a);
}

/* A unit of work that repeats settles into one block and then allocates nothing. */
static void test_arena_reset(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    arena_reset(&a);
    uint64_t count = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++)
            memset(arena_alloc(&a, 100), 0xFF, 100);
        for (int i = 0; i < 100; i++)
            assert_int_equal(((unsigned char *)arena_alloc(&a, 100))[50], 0);
        arena_reset(&a);
        assert_int_equal(a.used, 0);
        if (round == 9) count = mem_alloc_count();
    }
    assert_int_equal(mem_alloc_count(), count);
    arena_fini(&a);
}

static void test_str(void **state)
{
    (void)state;
    struct str s = {0};
    str_clear(&s);
    str_append(&s, NULL, 0);
    assert_string_equal(s.data, "");
    str_puts(&s, "abc");
    str_append_char(&s, 'd');
    str_append(&s, "e\0f", 3);
    assert_int_equal(s.len, 7);
    assert_memory_equal(s.data, "abcde\0f", 8);
    str_clear(&s);
    assert_string_equal(s.data, "");
    for (int i = 0; i < 1000; i++)
        str_printf(&s, "%d,", i);
    assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_contains(s.data, ",998,999,");
    size_t cap = s.cap;
    str_clear(&s);
    assert_int_equal(s.cap, cap);
    uint64_t n = mem_alloc_count();
    for (int i = 0; i < 1000; i++)
        str_printf(&s, "%d,", i);
    assert_int_equal(mem_alloc_count(), n); /* keeps its memory */
    str_fini(&s);
    assert_null(s.data);
    str_printf(&s, "%s", "");
    assert_string_equal(s.data, "");
    str_fini(&s);
    str_reserve(&s, 10);
    assert_string_equal(s.data, "");
    assert_true(s.cap > 10);
    str_fini(&s);
}

/* str_printf at every length around the end of the memory it has. */
static void test_str_printf_at_the_edge(void **state)
{
    (void)state;
    char digits[200];
    memset(digits, '7', sizeof(digits));
    for (int n = 0; n < 150; n++) {
        struct str s = {0};
        str_puts(&s, "x");
        str_printf(&s, "%.*s", n, digits);
        assert_int_equal(s.len, 1 + n);
        assert_int_equal(strlen(s.data), 1 + n);
        str_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_counts_every_kind),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_out_of_memory_ends_the_program),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_reset),
        cmocka_unit_test(test_str),
        cmocka_unit_test(test_str_printf_at_the_edge),
    };
    return cmocka_run_group_tests_name("base_memory", tests, NULL, NULL);
}
