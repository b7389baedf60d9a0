/* Tests of GGUF files: every format against numbers of the Python package `gguf` 0.17, and files that
 * are cut off, damaged or ask for what is not done. */
#include "model/model.h"
#include "test_cmocka.h"

/* The same numbers taken apart: scale * (code - zero) + least gives the same bits. */
static void expect_codes(const struct gguf_format *f, const uint8_t *data, const float *want)
{
    static uint8_t codes[1024], scale_steps[64], least_steps[64];
    static uint16_t scales[64], leasts[64];
    struct compute_codes form = {0};
    const struct gguf_codes to = {codes, scales, leasts, scale_steps, least_steps};
    if (!gguf_codes_of(f, &form)) {
        assert_int_equal(f->block, 1);
        return;
    }
    assert_true(gguf_to_codes(f, data, 1024, &to));
    for (size_t i = 0; i < 1024; i++) {
        size_t b = i / (size_t)compute_codes_block(&form), h = form.shared ? i / 256 : b;
        float scale = 0, least = 0;
        gguf_to_f32(gguf_format_of(1), (const uint8_t *)&scales[h], 1, &scale);
        if (form.least) gguf_to_f32(gguf_format_of(1), (const uint8_t *)&leasts[h], 1, &least);
        if (form.shared) scale *= (float)(int8_t)scale_steps[b];
        if (form.shared) least *= -(float)least_steps[b];
        float got = scale * (float)(codes[i] - form.zero);
        if (form.least) got += least;
        if (got != want[i])
            fail_msg("%s: number %zu is %g, want %g", f->name, i, (double)got, (double)want[i]);
    }
    uint8_t infinite[256];
    memcpy(infinite, data, f->bytes);
    size_t at = form.bits == 6 ? 208 : 0;
    infinite[at] = 0;
    infinite[at + 1] = 0x7c;
    assert_false(gguf_to_codes(f, infinite, f->block, &to));
}

/* Blocks of 1,024 numbers are made of this row of bytes; bits that would make a number of them
 * infinite or none are cleared, in each block alike. The sums are FNV-1a of the floats' bytes that
 * gguf.quants.dequantize gives. */
static void formats(void **unused)
{
    static const struct {
        uint32_t type;
        const char *name;
        uint64_t sum;
        int half[2]; /* where a scale lies; -1 */
        int last;    /* byte of a plain number to be kept finite; -1 */
    } cases[] = {{0, "F32", 0x8dc3445467c6717e, {-1, -1}, 3},
                 {1, "F16", 0x33ae373ff57f3f89, {0, -1}, -1},
                 {30, "BF16", 0x89b8b15125a764f9, {-1, -1}, 1},
                 {2, "Q4_0", 0x187a4504fd62df09, {0, -1}, -1},
                 {3, "Q4_1", 0x13ffe7c5818b34a5, {0, 2}, -1},
                 {6, "Q5_0", 0xc5ab55112225b1f6, {0, -1}, -1},
                 {7, "Q5_1", 0x95ed3a75b047d54d, {0, 2}, -1},
                 {8, "Q8_0", 0xebc571d05db7fd0d, {0, -1}, -1},
                 {12, "Q4_K", 0x12530019ebe31b19, {0, 2}, -1},
                 {13, "Q5_K", 0x90c0375f29215880, {0, 2}, -1},
                 {14, "Q6_K", 0x7e23e93cc0ed0e9c, {208, -1}, -1}};
    static uint8_t data[4096];
    static float out[1024];
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct gguf_format *f = gguf_format_of(cases[i].type);
        uint32_t x = 7;
        uint64_t sum = 0xcbf29ce484222325u;
        assert_non_null(f);
        assert_string_equal(f->name, cases[i].name);
        size_t blocks = 1024 / f->block;
        for (size_t k = 0; k < blocks * f->bytes; k++) {
            x = x * 1103515245u + 12345;
            data[k] = (uint8_t)(x >> 16);
        }
        for (size_t b = 0; b < blocks; b++) {
            for (int h = 0; h < 2; h++)
                if (cases[i].half[h] >= 0)
                    data[b * f->bytes + (size_t)cases[i].half[h] + 1] &= 0xbb;
            if (cases[i].last >= 0) data[b * f->bytes + (size_t)cases[i].last] &= 0xbf;
        }
        gguf_to_f32(f, data, 1024, out);
        for (size_t k = 0; k < sizeof(out); k++)
            sum = (sum ^ ((const uint8_t *)out)[k]) * 0x100000001b3u;
        if (sum != cases[i].sum) fail_msg("%s: %g %g", f->name, (double)out[0], (double)out[1]);
        expect_codes(f, data, out);
    }
    assert_null(gguf_format_of(4));
}

struct file {
    struct str bytes;
};

static void put(struct file *f, uint64_t value, size_t n)
{
    str_append(&f->bytes, &value, n);
}

static void put_text(struct file *f, const char *text)
{
    put(f, strlen(text), 8);
    str_append(&f->bytes, text, strlen(text));
}

static void begin(struct file *f, uint64_t tensors, uint64_t values)
{
    str_clear(&f->bytes);
    str_puts(&f->bytes, "GGUF");
    put(f, 3, 4);
    put(f, tensors, 8);
    put(f, values, 8);
}

static void expect_refused(struct file *f, const char *words)
{
    struct gguf g;
    struct error e = {0};
    uint8_t *copy = mem_alloc(f->bytes.len + 1); /* so that a read behind it is found */
    memcpy(copy, f->bytes.data, f->bytes.len);
    assert_true(gguf_parse(copy, f->bytes.len, "f", &g, &e) < 0);
    mem_free(copy);
    if (!strstr(e.text, words)) fail_msg("'%s' lacks '%s'", e.text, words);
}

static void put_tensor(struct file *f, const char *name, uint64_t rows, uint64_t type, uint64_t at)
{
    put_text(f, name);
    put(f, 2, 4);
    put(f, 32, 8);
    put(f, rows, 8);
    put(f, type, 4);
    put(f, at, 8);
}

static void good_and_cut_off(void **unused)
{
    struct file f = {{0}};
    struct gguf g;
    struct error e = {0};
    struct gguf_text t;
    double x;
    size_t at = 0;
    (void)unused;
    begin(&f, 1, 3);
    put_text(&f, "a.text");
    put(&f, 8, 4);
    put_text(&f, "hello");
    put_text(&f, "a.number");
    put(&f, 5, 4); /* i32 */
    put(&f, (uint64_t)-3, 4);
    put_text(&f, "a.list");
    put(&f, 9, 4);
    put(&f, 8, 4);
    put(&f, 2, 8);
    put_text(&f, "x");
    put_text(&f, "yz");
    put_tensor(&f, "w", 1, 0, 0);
    size_t head = f.bytes.len;
    while (f.bytes.len % 32)
        put(&f, 0, 1);
    for (int i = 0; i < 128; i++)
        put(&f, 0, 1);
    assert_ok(gguf_parse(f.bytes.data, f.bytes.len, "f", &g, &e), e);
    assert_true(gguf_text(gguf_find(&g, "a.text"), &t) && t.size == 5);
    assert_true(gguf_number(gguf_find(&g, "a.number"), &x) && x == -3);
    assert_false(gguf_number(gguf_find(&g, "a.text"), &x));
    assert_null(gguf_find(&g, "a"));
    const struct gguf_value *list = gguf_find(&g, "a.list");
    assert_true(gguf_is_texts(list) && list->count == 2);
    assert_int_equal(gguf_next_text(list, &at).size, 1);
    assert_int_equal(gguf_next_text(list, &at).size, 2);
    assert_int_equal(gguf_tensor(&g, "w")->rows, 1);
    gguf_close(&g);
    for (size_t n = 0; n < f.bytes.len; n++) { /* every shorter file is an error */
        struct file cut = {{0}};
        str_append(&cut.bytes, f.bytes.data, n);
        str_reserve(&cut.bytes, 1);
        expect_refused(&cut, n < 4 ? "no GGUF" : n < head ? "ends" : "beyond the end");
        str_fini(&cut.bytes);
    }
    str_fini(&f.bytes);
}

static void hostile(void **unused)
{
    struct file f = {{0}};
    (void)unused;
    begin(&f, UINT64_MAX, 0);
    expect_refused(&f, "more than are read");
    begin(&f, 0, UINT64_MAX);
    expect_refused(&f, "more than are read");
    begin(&f, 0, 1);
    put(&f, UINT64_MAX, 8);
    expect_refused(&f, "ends");
    begin(&f, 0, 1);
    put_text(&f, "k");
    put(&f, 99, 4);
    expect_refused(&f, "'k' has type 99");
    begin(&f, 0, 1);
    put_text(&f, "k");
    put(&f, 9, 4);
    put(&f, 10, 4);
    put(&f, UINT64_MAX / 8 + 1, 8);
    expect_refused(&f, "ends");
    begin(&f, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&f, "k");
        put(&f, 4, 4);
        put(&f, 1, 4);
    }
    expect_refused(&f, "'k' is there twice");
    begin(&f, 1, 0);
    put_tensor(&f, "w", 1, 77, 0);
    expect_refused(&f, "format 77");
    begin(&f, 1, 0);
    put_tensor(&f, "w", 1, 12, 0);
    expect_refused(&f, "blocks of 256");
    begin(&f, 1, 0);
    put_tensor(&f, "w", UINT64_MAX, 0, 0);
    expect_refused(&f, "a size that no tensor has");
    begin(&f, 1, 0);
    put_tensor(&f, "w", (uint64_t)1 << 40, 0, 0);
    expect_refused(&f, "beyond the end");
    begin(&f, 1, 0);
    put_tensor(&f, "w", 1, 0, 16);
    expect_refused(&f, "multiple of 32");
    begin(&f, 1, 0);
    put_tensor(&f, "w", 1, 0, UINT64_MAX - 31);
    expect_refused(&f, "beyond the end");
    str_fini(&f.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats), cmocka_unit_test(good_and_cut_off), cmocka_unit_test(hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
