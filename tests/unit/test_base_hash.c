/* test_base_hash.c: XXH3-64 against its published values, in pieces, and as text. */
#include "test_cmocka.h"

/* XXH3_64bits of the empty input with seed 0, from xxHash's own test suite. */
#define XXH3_OF_NOTHING 0x2D06800538D394C2u

static void test_known_values(void **state)
{
    (void)state;
    assert_true(hash_xxh3("", 0) == XXH3_OF_NOTHING);
    /* xxhsum -H3 of "hello" */
    assert_true(hash_xxh3("hello", 5) == 0x9555e8555c62dcfdu);
}

/* Pieces of any size give the hash of the whole. */
static void test_stream(void **state)
{
    (void)state;
    unsigned char data[5000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)rng_u64(1, 2, i);
    for (size_t piece = 1; piece < 600; piece += 37) {
        struct hash_stream *h = hash_stream_new();
        for (size_t at = 0; at < sizeof(data); at += piece) {
            assert_true(hash_stream_value(h) == hash_xxh3(data, at));
            hash_stream_add(h, data + at, MIN(piece, sizeof(data) - at));
        }
        assert_true(hash_stream_value(h) == hash_xxh3(data, sizeof(data)));
        hash_stream_free(h);
    }
    hash_stream_free(NULL);
    struct hash_stream *h = hash_stream_new();
    hash_stream_add(h, NULL, 0);
    assert_true(hash_stream_value(h) == XXH3_OF_NOTHING);
    hash_stream_free(h);
}

static void test_hex(void **state)
{
    (void)state;
    char hex[17];
    uint64_t value = 1;
    hash_to_hex(0x2Du, hex);
    assert_string_equal(hex, "000000000000002d");
    assert_int_equal(hash_from_hex(hex, &value), 0);
    assert_true(value == 0x2D);
    hash_to_hex(UINT64_MAX, hex);
    assert_string_equal(hex, "ffffffffffffffff");
    assert_int_equal(hash_from_hex("FFFFFFFFFFFFFFFF", &value), 0);
    assert_true(value == UINT64_MAX);
    static const char *const wrong[] = {"",
                                        "2d",
                                        "00000000000000002",
                                        "000000000000002g",
                                        "0x00000000000000",
                                        " 00000000000000f",
                                        "00000000000000-1"};
    value = 77;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_true(hash_from_hex(wrong[i], &value) < 0);
    assert_true(value == 77);
}

static void test_file(void **state)
{
    (void)state;
    struct arena a;
    struct error e;
    uint64_t hash;
    arena_init(&a);
    char *dir = test_folder(&a), *path = file_join(&a, dir, "x");
    size_t size = 3000001; /* more than one buffer, not a multiple of it */
    char *data = arena_alloc(&a, size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 7 + i / 1000);
    assert_ok(file_write(path, data, size, &e), e);
    assert_ok(hash_file(path, &hash, &e), e);
    assert_true(hash == hash_xxh3(data, size));
    data[size / 2] ^= 1;
    assert_true(hash != hash_xxh3(data, size));
    assert_true(hash_file(file_join(&a, dir, "y"), &hash, &e) < 0);
    assert_contains(e.text, "cannot open");
    assert_true(hash_file(dir, &hash, &e) < 0);
    assert_contains(e.text, "cannot read");
    file_remove_tree(dir, NULL);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests_name("base_hash", tests, NULL, NULL);
}
