/* text_tokenizer_fixture.h: what the tests of tokenizers share: loading, encoding in one call, and
 * files of cases made by other programs (tests/data/tokenizer/make_fixtures.py). */
#ifndef TEXT_TOKENIZER_FIXTURE_H
#define TEXT_TOKENIZER_FIXTURE_H

#include "test_cmocka.h"

#include "text/tokenizer/text_tokenizer_internal.h"

#define TOKENIZER_DATA "tests/data/tokenizer"

static inline tokenizer_t *load_tokenizer(const char *path)
{
    struct error e = {0};
    tokenizer_t *t;
    if (tokenizer_load(path, &t, &e) < 0) fail_msg("%s (%s)", e.text, e.hint);
    return t;
}

static inline uint32_t find_special(const tokenizer_t *t, const char *name)
{
    return tokenizer_special_find(t, name, strlen(name), false);
}

/* The tokenizer must be refused with a message that holds the words. */
static inline void expect_refused_with(const void *data, size_t size,
                                       const struct tokenizer_options *o, const char *words)
{
    struct error e = {0};
    tokenizer_t *t;
    if (tokenizer_parse_with(data, size, "file", o, &t, &e) == 0)
        fail_msg("a file was taken that should be refused for '%s'", words);
    assert_null(t);
    assert_contains(e.text, words);
    assert_contains(e.text, "file");
}

static inline void expect_refused(const void *data, size_t size, const char *words)
{
    expect_refused_with(data, size, &(struct tokenizer_options){0}, words);
}

static inline struct token_array encode(const tokenizer_t *t, const char *text, size_t size,
                                        unsigned flags)
{
    struct token_array out = {0};
    tokenizer_scratch_t *s = tokenizer_scratch_new(t);
    tokenizer_encode(t, s, text, size, flags, &out);
    tokenizer_scratch_free(s);
    return out;
}

static inline char *ids_to_text(const struct token_array *a)
{
    static struct str text;
    str_clear(&text);
    str_reserve(&text, 16);
    for (size_t i = 0; i < a->count; i++)
        str_printf(&text, i ? " %u" : "%u", a->ids[i]);
    return text.data;
}

/* Encodes NUL-terminated text and compares with ids written out, "1 2 3". */
static inline void expect_ids(const tokenizer_t *t, const char *text, unsigned flags,
                              const char *ids)
{
    struct token_array got = encode(t, text, strlen(text), flags);
    if (strcmp(ids_to_text(&got), ids) != 0)
        fail_msg("'%s' became %s, want %s", text, ids_to_text(&got), ids);
    token_array_fini(&got);
}

static inline void expect_round_trip(const tokenizer_t *t, tokenizer_scratch_t *s, const char *text,
                                     size_t size)
{
    struct error e = {0};
    struct token_array ids = {0};
    struct str back = {0};
    tokenizer_encode(t, s, text, size, 0, &ids);
    assert_ok(tokenizer_decode(t, ids.ids, ids.count, 0, &back, &e), e);
    assert_int_equal(back.len, size);
    if (size) assert_memory_equal(back.data, text, size);
    token_array_fini(&ids);
    str_fini(&back);
}

/* ------------------------------------------------------------------ files of cases */

/* "bytes" in hex, or "text". */
static inline void case_text(const json_t *c, struct str *out)
{
    const json_t *text = json_object_get(c, "text");
    const char *hex = json_string_value(json_object_get(c, "bytes"));
    unsigned byte;
    str_clear(out);
    str_reserve(out, 1);
    if (text) str_append(out, json_string_value(text), json_string_length(text));
    for (; hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        str_append_char(out, (char)byte);
}

static inline void check_case(const tokenizer_t *t, tokenizer_scratch_t *s, const json_t *c,
                              unsigned flags, const char *where)
{
    struct error e = {0};
    struct str text = {0}, back = {0};
    struct token_array ids = {0}, want = {0};
    const json_t *list = json_object_get(c, "ids"), *decoded = json_object_get(c, "decoded");
    case_text(c, &text);
    for (size_t i = 0; i < json_array_size(list); i++)
        token_array_push(&want, (uint32_t)json_integer_value(json_array_get(list, i)));
    tokenizer_encode(t, s, text.data, text.len, flags, &ids);
    if (ids.count != want.count ||
        (ids.count && memcmp(ids.ids, want.ids, ids.count * sizeof(*ids.ids)) != 0))
        fail_msg("%s: '%s' became %s", where, text.data, ids_to_text(&ids));
    assert_ok(tokenizer_decode(t, want.ids, want.count, flags, &back, &e), e);
    size_t size = decoded ? json_string_length(decoded) : text.len;
    assert_int_equal(back.len, size);
    if (size)
        assert_memory_equal(back.data, decoded ? json_string_value(decoded) : text.data, size);
    str_fini(&text);
    str_fini(&back);
    token_array_fini(&ids);
    token_array_fini(&want);
}

/* Every line of a .jsonl of cases; returns their number. */
static inline size_t check_cases(const tokenizer_t *t, const char *path, unsigned flags)
{
    struct error e = {0};
    char *data, where[256];
    size_t size, n = 0;
    assert_ok(file_read(path, (size_t)64 << 20, &data, &size, &e), e);
    tokenizer_scratch_t *s = tokenizer_scratch_new(t);
    for (char *line = data, *end; line < data + size; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        json_t *c = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        assert_non_null(c);
        snprintf(where, sizeof(where), "%s:%zu", path, ++n);
        check_case(t, s, c, flags, where);
        json_decref(c);
    }
    tokenizer_scratch_free(s);
    mem_free(data);
    return n;
}

/* ------------------------------------------------------------------ random text */

/* Up to max_parts parts, each out of a list or, one in `noise`, up to four random bytes. */
static inline void random_text(struct str *out, uint64_t seed, uint64_t stream,
                               const char *const *parts, size_t n_parts, size_t max_parts,
                               unsigned noise)
{
    uint64_t at = 0, n = rng_u64(seed, stream, at++) % (max_parts + 1);
    str_clear(out);
    str_reserve(out, 1);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t r = rng_u64(seed, stream, at++);
        if (noise && r % noise == 0) {
            uint64_t bytes = rng_u64(seed, stream, at++);
            str_append(out, &bytes, 1 + (r >> 32) % 4);
        } else {
            const char *part = parts[(r >> 8) % n_parts];
            str_append(out, part, strlen(part));
        }
    }
}

#endif
