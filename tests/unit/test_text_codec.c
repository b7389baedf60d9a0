/* test_text_codec.c: text to ids and back as streams: the exact form of the output, blocks and
 * chunks of any size, and errors that name line and word. */
#include "text_data_fixture.h"

#include <sys/mman.h>

/* Runs a codec function over memory; *out is its output. */
typedef int codec_fn(const tokenizer_t *, const struct codec_options *, int, int, const char *,
                     struct error *);

static int run_codec(codec_fn *fn, const tokenizer_t *t, const struct codec_options *o,
                     const void *data, size_t size, struct str *out, struct error *e)
{
    int in_fd = memfd_create("in", 0), out_fd = memfd_create("out", 0);
    char buf[4096];
    ssize_t n;

    assert_true(in_fd >= 0 && out_fd >= 0);
    assert_int_equal(file_write_fd(in_fd, data, size, "in", e), 0);
    lseek(in_fd, 0, SEEK_SET);
    int rc = fn(t, o, in_fd, out_fd, "input", e);
    lseek(out_fd, 0, SEEK_SET);
    str_clear(out);
    while ((n = read(out_fd, buf, sizeof(buf))) > 0)
        str_append(out, buf, (size_t)n);
    close(in_fd);
    close(out_fd);
    return rc;
}

/* With a byte tokenizer the right output is known. */
static void print_reference(const char *text, size_t n, bool lines, struct str *out)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (lines && text[i] == '\n') {
            str_puts(out, "\n");
            first = true;
            continue;
        }
        str_printf(out, "%s%u", first ? "" : " ", (uint8_t)text[i] + 1u);
        first = false;
    }
    if (!lines || (n > 0 && text[n - 1] != '\n')) str_puts(out, "\n");
}

static void test_codec(void **state)
{
    struct fixture *f = *state;
    struct str text = {0}, want = {0}, ids = {0}, back = {0};
    tokenizer_t *t;

    assert_ok(f, tokenizer_load(fixture_tokenizer(f, "tok.json", 257), &t, &f->e));
    for (uint64_t i = 0; i < 24; i++) {
        struct codec_options o = {.lines = i % 2};
        size_t n = i < 4 ? i / 2 : rng_u64(1, 1, i) % (i < 22 ? 3000 : 6000000);
        o.pool = i % 3 == 0 ? pool_new(3) : NULL;
        str_clear(&text);
        str_clear(&want);
        for (size_t k = 0; k < n; k++) {
            uint64_t r = rng_u64(2, i, k);
            str_append_char(&text, r % (i < 8 ? 5 : 90) == 0 ? '\n' : (char)(r >> 20));
        }
        print_reference(text.data, text.len, o.lines, &want);
        assert_ok(f, run_codec(codec_encode_fd, t, &o, text.data, text.len, &ids, &f->e));
        assert_int_equal(ids.len, want.len);
        assert_true(want.len == 0 || memcmp(ids.data, want.data, want.len) == 0);
        assert_ok(f, run_codec(codec_decode_fd, t, &o, ids.data, ids.len, &back, &f->e));
        if (o.lines && text.len > 0 && text.data[text.len - 1] != '\n') str_puts(&text, "\n");
        assert_int_equal(back.len, text.len);
        assert_true(text.len == 0 || memcmp(back.data, text.data, text.len) == 0);
        pool_free(o.pool);
    }
    tokenizer_free(t);
    str_fini(&text);
    str_fini(&want);
    str_fini(&ids);
    str_fini(&back);
}

static void test_codec_special(void **state)
{
    struct fixture *f = *state;
    struct codec_options o = {.lines = true};
    struct str out = {0};
    tokenizer_t *t;

    assert_ok(f, tokenizer_load(fixture_tokenizer(f, "tok.json", 257), &t, &f->e));
    assert_ok(f, run_codec(codec_encode_fd, t, &o, "a<|eos|>\n", 9, &out, &f->e));
    assert_string_equal(out.data, "98 61 125 102 112 116 125 63\n");
    o.flags = TOKENIZER_PARSE_SPECIAL;
    assert_ok(f, run_codec(codec_encode_fd, t, &o, "a<|eos|>\n", 9, &out, &f->e));
    assert_string_equal(out.data, "98 0\n");
    assert_ok(f, run_codec(codec_decode_fd, t, &o, "98 0", 4, &out, &f->e));
    assert_string_equal(out.data, "a<|eos|>\n");
    o.flags = 0;
    o.lines = false;
    assert_ok(f, run_codec(codec_decode_fd, t, &o, " 98\t0\n\n99\r\n", 11, &out, &f->e));
    assert_string_equal(out.data, "ab");
    str_fini(&out);
    tokenizer_free(t);
}

static void test_codec_errors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *line, *word;
    } cases[] = {
        {"1 2\n3 x 4\n", "line 2, word 2", "'x' is not a token id"},
        {"1 2\n\n  -1\n", "line 3, word 1", "'-1' is not a token id"},
        {"257", "line 1, word 1", "'257' is beyond the vocabulary"},
        {"5 99999999999999999999999999", "line 1, word 2", "beyond the vocabulary"},
        {"5 4294967297", "line 1, word 2", "beyond the vocabulary"},
        {"1\n1 2 3,4\n", "line 2, word 3", "'3,4' is not a token id"},
    };
    struct str out = {0};
    tokenizer_t *t;

    assert_ok(f, tokenizer_load(fixture_tokenizer(f, "tok.json", 257), &t, &f->e));
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct codec_options o = {.lines = i % 2};
        const char *text = cases[i / 2].text;
        assert_error(f, run_codec(codec_decode_fd, t, &o, text, strlen(text), &out, &f->e),
                     "input: ", cases[i / 2].line, cases[i / 2].word);
    }
    /* the number of a line far into the input */
    struct str many = {0};
    for (int i = 0; i < 900000; i++)
        str_puts(&many, "1 23 45\n");
    str_puts(&many, "1 23 45x\n");
    struct codec_options o = {.lines = true};
    assert_error(f, run_codec(codec_decode_fd, t, &o, many.data, many.len, &out, &f->e),
                 "line 900001, word 3");
    str_fini(&many);
    str_fini(&out);
    tokenizer_free(t);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(test_codec), TEST(test_codec_special),
                                       TEST(test_codec_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
