/* test_model_safetensors.c: the file format: what is written reads back, what is wrong is refused
 * with a message that names file and tensor, conversions are exact. */
#include "test_model_support.h"

#include <unistd.h>

/* A file in memory: header text, then n bytes of data (0, 1, 2, ...). */
static size_t build(uint8_t *out, const char *header, size_t n)
{
    uint64_t length = strlen(header);
    memcpy(out, &length, sizeof(length));
    memcpy(out + sizeof(length), header, length);
    for (size_t i = 0; i < n; i++)
        out[sizeof(length) + length + i] = (uint8_t)i;
    return sizeof(length) + length + n;
}

static void expect_refused(const char *header, size_t n, const char *word)
{
    static uint8_t file[4096];
    struct safetensors st;
    struct error e = {0};
    size_t size = build(file, header, n);
    assert_true(safetensors_parse(file, size, "x.safetensors", &st, &e) < 0);
    if (!strstr(e.text, word) || !strstr(e.text, "x.safetensors"))
        fail_msg("'%s' lacks '%s'", e.text, word);
}

#define ENTRY(dtype, shape, from, to) \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_malformed_files(void **state)
{
    (void)state;
    expect_refused("", 0, "1:1");
    expect_refused("{", 0, "1:");
    expect_refused("[]", 0, "not a JSON object");
    expect_refused("{\"a\":1}", 0, "'a'");
    expect_refused("{\"a\":{}}", 0, "dtype");
    expect_refused("{\"a\":{\"dtype\":\"U8\"}}", 0, "shape");
    expect_refused("{\"a\":" ENTRY("F8", "[1]", "0", "1") "}", 1, "dtype 'F8'");
    expect_refused("{\"a\":" ENTRY("U8", "[-1]", "0", "1") "}", 1, "dimension");
    expect_refused("{\"a\":" ENTRY("U8", "[1.5]", "0", "1") "}", 1, "dimension");
    expect_refused("{\"a\":" ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1, "8 dimensions");
    expect_refused("{\"a\":" ENTRY("F64", "[4294967296,4294967296]", "0", "0") "}", 0, "too large");
    expect_refused("{\"a\":" ENTRY("U8", "[2]", "0", "1") "}", 1, "needs 2");
    expect_refused("{\"a\":" ENTRY("U8", "[9]", "0", "9") "}", 3, "outside");
    expect_refused("{\"a\":" ENTRY("U8", "[1]", "-1", "0") "}", 3, "outside");
    expect_refused("{\"a\":" ENTRY("U8", "[1]", "1", "0") "}", 3, "outside");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1,
                   "data_offsets");
    expect_refused("{\"a\":" ENTRY("U8", "[2]", "0", "2") "}", 3, "1 bytes behind");
    expect_refused(
        "{\"a\":" ENTRY("U8", "[1]", "0", "1") ",\"b\":" ENTRY("U8", "[1]", "2", "3") "}", 3,
        "'b'");
    expect_refused(
        "{\"a\":" ENTRY("U8", "[2]", "0", "2") ",\"b\":" ENTRY("U8", "[2]", "1", "3") "}", 3,
        "'b'");
    expect_refused(
        "{\"a\":" ENTRY("U8", "[1]", "0", "1") ",\"a\":" ENTRY("U8", "[1]", "0", "1") "}", 1,
        "duplicate");
    expect_refused("{\"__metadata__\":[]}", 0, "__metadata__");
    expect_refused("{\"0123456789012345678901234567890123456789012345678901234567890123456789"
                   "01234567890123456789012345\":" ENTRY("U8", "[1]", "0", "1") "}",
                   1, "95 bytes");
}

static void test_cut_files(void **state)
{
    (void)state;
    uint8_t file[256];
    size_t size = build(file, "{\"a\":" ENTRY("F32", "[2]", "0", "8") "}", 8);
    struct safetensors st;
    struct error e = {0};
    assert_int_equal(safetensors_parse(file, size, "x", &st, &e), 0);
    safetensors_close(&st);
    for (size_t n = 0; n < size; n++) {
        uint8_t *exact = mem_alloc(n); /* so that a sanitizer sees a read beyond */
        memcpy(exact, file, n);
        assert_true(safetensors_parse(exact, n, "x", &st, &e) < 0);
        mem_free(exact);
    }
    uint64_t long_header = (uint64_t)1 << 40;
    memcpy(file, &long_header, sizeof(long_header));
    assert_true(safetensors_parse(file, size, "x", &st, &e) < 0);
    assert_non_null(strstr(e.text, "beyond the end"));
}

static void test_entries_in_any_order(void **state)
{
    (void)state;
    uint8_t file[512];
    size_t size = build(file,
                        "{\"b\":" ENTRY("U8", "[2]", "3", "5") ",\"none\":" ENTRY(
                            "F32", "[0,7]", "3", "3") ",\"a\":" ENTRY("U8", "[3]", "0", "3") "}  ",
                        5);
    struct safetensors st;
    struct error e = {0};
    if (safetensors_parse(file, size, "x", &st, &e) < 0) fail_with(&e);
    assert_int_equal(st.n_entries, 3);
    assert_int_equal(*(const uint8_t *)safetensors_find(&st, "b")->data, 3);
    assert_int_equal(safetensors_find(&st, "none")->bytes, 0);
    assert_null(safetensors_find(&st, "c"));
    assert_int_equal(safetensors_read_f32(safetensors_find(&st, "none"), NULL, 0, &e), 0);
    safetensors_close(&st);
}

/* ------------------------------------------------------------------ conversions */

static float convert(enum safetensors_dtype dtype, const void *bits, size_t size)
{
    uint8_t unaligned[9];
    struct error e = {0};
    memcpy(unaligned + 1, bits, size);
    struct safetensors_entry t = {.dtype = dtype, .data = unaligned + 1, .bytes = size};
    float x;
    if (safetensors_read_f32(&t, &x, 1, &e) < 0) fail_with(&e);
    return x;
}

/* Every half there is, against the definition; a few of the others. */
static void test_conversions(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t bits = (uint16_t)i;
        int exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        double want = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
        float have = convert(ST_F16, &bits, 2);
        if (i & 0x8000) want = -want;
        if (exponent < 31)
            assert_true((double)have == want && !!signbit(have) == !!(i & 0x8000));
        else
            assert_true(fraction ? isnan(have) : isinf(have) && !!signbit(have) == !!(i & 0x8000));
    }
    const double pi = 3.14159265358979;
    const float e = 2.718281828f;
    const uint16_t bf16 = 0xc049; /* -3.140625 */
    assert_true(convert(ST_F64, &pi, 8) == (float)pi);
    assert_true(convert(ST_F32, &e, 4) == e);
    assert_true(convert(ST_BF16, &bf16, 2) == -3.140625f);
}

static void test_reading_the_wrong_thing(void **state)
{
    (void)state;
    int32_t numbers[2] = {1, 2};
    float out[2];
    struct error e = {0};
    struct safetensors_entry t = {.name = "ids", .dtype = ST_I32, .data = numbers, .bytes = 8};
    assert_true(safetensors_read_f32(&t, out, 2, &e) < 0);
    assert_non_null(strstr(e.text, "'ids' holds I32"));
    t.dtype = ST_F32;
    assert_true(safetensors_read_f32(&t, out, 3, &e) < 0);
    assert_non_null(strstr(e.text, "has 2 values, 3 are needed"));
}

/* ------------------------------------------------------------------ writing */

static char *temporary_dir(void)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/colossus-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void test_write_then_read(void **state)
{
    (void)state;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    const char *dir = temporary_dir(), *path = file_join(&a, dir, "t.safetensors");
    const size_t n = 3000001; /* several pieces */
    float *big = mem_alloc(n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        big[i] = (float)i * 0.5f;
    const double one = 1.5;
    struct safetensors_entry entries[] = {
        {.name = "big", .dtype = ST_F32, .n_dims = 1, .shape = {(int64_t)n}, .data = big},
        {.name = "with \"quotes\"", .dtype = ST_F64, .n_dims = 0, .data = &one, .bytes = 8},
        {.name = "none", .dtype = ST_I32, .n_dims = 2, .shape = {3, 0}, .data = NULL},
    };
    entries[0].bytes = n * sizeof(float);
    struct safetensors_written written;
    uint64_t want = 0;
    if (safetensors_write(path, entries, 3, &written, &e) < 0) fail_with(&e);
    assert_int_equal(file_size(path, &e), written.size);
    assert_int_equal(hash_file(path, &want, &e), 0);
    assert_true(written.xxh3 == want);

    struct safetensors st;
    if (safetensors_open(path, &st, &e) < 0) fail_with(&e);
    assert_int_equal(st.n_entries, 3);
    const struct safetensors_entry *t = safetensors_find(&st, "big");
    assert_int_equal(t->bytes, entries[0].bytes);
    assert_memory_equal(t->data, big, t->bytes);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    t = safetensors_find(&st, "none");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->shape[0], 3);
    safetensors_close(&st);

    assert_true(safetensors_write("/nonexistent/x", entries, 3, NULL, &e) < 0);
    assert_non_null(strstr(e.text, "/nonexistent/x"));
    assert_true(safetensors_open("/nonexistent/x", &st, &e) < 0);
    mem_free(big);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ parts */

/* Writes one file of a part of tensor "x", int64 `says` beside it. */
static void write_part(const char *path, int rank, const int64_t *says, int64_t n, int64_t count)
{
    static const float values[64];
    struct arena a = {0};
    struct error e = {0};
    struct safetensors_entry entries[2] = {
        {.name = "x", .dtype = ST_F32, .n_dims = 1, .shape = {count}, .data = values},
        {.name = "part.x", .dtype = ST_I64, .n_dims = 1, .shape = {n}, .data = says}};
    entries[0].bytes = (size_t)count * 4;
    entries[1].bytes = (size_t)n * 8;
    const char *file = safetensors_part_name(&a, path, rank, 2);
    if (safetensors_write(file, entries, 2, NULL, &e) < 0) fail_with(&e);
    arena_fini(&a);
}

static void test_parts_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        int64_t first[4], second[4]; /* offset and shape of each part */
        int64_t n, counts[2];
        const char *message;
    } cases[] = {
        {{0, 4, 5}, {12, 4, 5}, 3, {12, 8}, NULL},
        {{12, 4, 5}, {0, 4, 5}, 3, {8, 12}, NULL}, /* in any order */
        {{0, 4, 5}, {13, 4, 5}, 3, {12, 7}, "leave a gap"},
        {{0, 4, 5}, {11, 4, 5}, 3, {12, 9}, "leave a gap"}, /* or overlap */
        {{0, 4, 5}, {12, 4, 5}, 3, {12, 7}, "the last part is missing"},
        {{0, 4, 5}, {12, 5, 4}, 3, {12, 8}, "different tensors"},
        {{0}, {12}, 1, {12, 8}, "not an offset and a shape"},
        {{0, -4, 5}, {12, -4, 5}, 3, {12, 8}, "no shape"},
        {{0, (int64_t)1 << 62, 8}, {12, (int64_t)1 << 62, 8}, 3, {12, 8}, "no shape"},
    };
    struct arena a = {0};
    const char *dir = temporary_dir(), *path = file_join(&a, dir, "t.safetensors");
    assert_false(safetensors_set_exists(path));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error e = {0};
        struct safetensors_set set;
        write_part(path, 0, cases[i].first, cases[i].n, cases[i].counts[0]);
        write_part(path, 1, cases[i].second, cases[i].n, cases[i].counts[1]);
        assert_true(safetensors_set_exists(path));
        int rc = safetensors_set_open(path, &set, &e);
        if (!cases[i].message) {
            if (rc < 0) fail_with(&e);
            assert_int_equal(safetensors_set_find(&set, "x")->whole.shape[1], 5);
            assert_null(safetensors_set_find(&set, "y"));
            safetensors_set_close(&set);
        } else if (rc >= 0 || !strstr(e.text, cases[i].message)) {
            fail_msg("case %zu: '%s' instead of '%s'", i, e.text, cases[i].message);
        }
    }
    struct error e = {0};
    assert_int_equal(file_remove_tree(dir, &e), 0);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_files),         cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_entries_in_any_order),    cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_reading_the_wrong_thing), cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_parts_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
