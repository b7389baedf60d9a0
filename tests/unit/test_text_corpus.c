/* test_text_corpus.c: documents from files: formats, pieces, packing, folders, and what is wrong.
 *
 * Pieces are tested with small piece sizes against a splitter that holds everything in memory:
 * pieces put together are the documents, whatever the piece size. */
#include "text_data_fixture.h"
#include "text/corpus/text_corpus_internal.h"

#include <sys/stat.h>

/* Documents as read, joined: text, then '\x1e'. Pieces as one. */
struct reading {
    struct str text;
    size_t documents, pieces, largest;
};

static int read_all(struct corpus *c, struct reading *r, struct error *e)
{
    struct corpus_document doc;
    bool inside = false;
    int rc;

    *r = (struct reading){0};
    while ((rc = corpus_next(c, &doc, e)) > 0) {
        assert_int_equal(doc.first, !inside);
        inside = !doc.last;
        str_append(&r->text, doc.text, doc.size);
        r->documents += doc.last;
        r->pieces++;
        r->largest = MAX(r->largest, doc.size);
        if (doc.last) str_append_char(&r->text, '\x1e');
    }
    if (rc == 0) assert_false(inside);
    corpus_close(c);
    return rc;
}

/* Opens bytes as a file called `name` of the test's folder. Written without fixture_write, which
 * waits for the disk. */
static int open_bytes(struct fixture *f, struct corpus_options o, const char *name,
                      const void *data, size_t n, struct corpus **c)
{
    const char *path = fixture_path(f, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    o.paths = &path;
    o.n_paths = 1;
    return corpus_open(&o, c, &f->e);
}

/* The same, read to the end: the joined documents. */
static int read_bytes(struct fixture *f, struct corpus_options o, const char *name,
                      const void *data, size_t n, struct reading *r)
{
    struct corpus *c;
    *r = (struct reading){0};
    int rc = open_bytes(f, o, name, data, n, &c);
    return rc < 0 ? rc : read_all(c, r, &f->e);
}

static void expect(struct fixture *f, enum corpus_format format, const char *text, const char *want)
{
    struct corpus_options o = {.format = format};
    struct reading r;
    assert_ok(f, read_bytes(f, o, "x", text, strlen(text), &r));
    assert_string_equal(r.text.data ? r.text.data : "", want);
    str_fini(&r.text);
}

static void test_formats(void **state)
{
    struct fixture *f = *state;
    expect(f, CORPUS_TEXT, "one\n\ntwo\r\n", "one\n\ntwo\r\n\x1e");
    expect(f, CORPUS_TEXT, "", "\x1e");
    expect(f, CORPUS_LINES, "one\n\ntwo\r\nthree", "one\x1e\x1etwo\x1ethree\x1e");
    expect(f, CORPUS_LINES, "", "");
    expect(f, CORPUS_LINES, "\r", "\r\x1e");
    expect(f, CORPUS_FORTUNE, "a\nb\n%\nc\n%\n",
           "a\nb\x1e"
           "c\x1e");
    expect(f, CORPUS_FORTUNE, "a\r\n%\r\nb\n%x\n %\n%%\n%",
           "a\x1e"
           "b\n%x\n %\n%%\x1e");
    expect(f, CORPUS_FORTUNE, "a\n\n%\n%\nno end", "a\n\x1e\x1eno end\x1e");
    expect(f, CORPUS_FORTUNE, "", "");
    expect(f, CORPUS_FORTUNE, "%\n", "\x1e");
    expect(f, CORPUS_JSONL, "{\"text\":\"a\"}\n\n  \n{\"id\":1,\"text\":\"b\\nc\"}\r\n",
           "a\x1e"
           "b\nc\x1e");
    expect(f, CORPUS_JSONL, "\xef\xbb\xbf{\"text\":\"\"}", "\x1e");
}

/* ------------------------------------------------------------------ JSONL */

static void check_json(const char *line, const char *field, enum corpus_json_verdict want,
                       const char *text)
{
    struct corpus_json_path path;
    struct corpus_json_result r;
    struct str scratch = {0};
    struct arena arena = {0};
    assert_int_equal(corpus_json_path_parse(field, &arena, &path, NULL), 0);
    enum corpus_json_verdict v = corpus_json_find(line, strlen(line), &path, &scratch, &r);
    if (v != want)
        fail_msg("%s: verdict %d, not %d (%s)", line, v, want, r.problem ? r.problem : "");
    if (v == CORPUS_JSON_FOUND) {
        assert_int_equal(r.size, strlen(text));
        assert_memory_equal(r.text, text, r.size);
    }
    if (v == CORPUS_JSON_INVALID && text) assert_string_equal(r.problem, text);
    str_fini(&scratch);
    arena_fini(&arena);
}

static void test_json_finds(void **state)
{
    (void)state;
    check_json("{\"text\":\"hello, a longer text than eight bytes\"}", "text", CORPUS_JSON_FOUND,
               "hello, a longer text than eight bytes");
    check_json(" { \"user\" : { \"name\" : \"x\", \"text\":1 }, \"text\":[] } ", "user.name",
               CORPUS_JSON_FOUND, "x");
    check_json("{\"a\":{\"text\":\"inner\"},\"text\":\"outer\"}", "text", CORPUS_JSON_FOUND,
               "outer");
    check_json("{\"te\\u0078t\":\"key with an escape\"}", "text", CORPUS_JSON_FOUND,
               "key with an escape");
    check_json("{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u00e9 \\u20ac \\ud83d\\ude00\"}", "text",
               CORPUS_JSON_FOUND, "\"\\/\b\f\n\r\t \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    check_json("{\"text\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}", "text", CORPUS_JSON_FOUND,
               "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    check_json("{\"a\":[1,-0,2.5e+3,true,false,null,{},[],\"\"],\"text\":\"t\"}", "text",
               CORPUS_JSON_FOUND, "t");
    check_json("{\"txt\":\"t\"}", "text", CORPUS_JSON_MISSING, NULL);
    check_json("{}", "text", CORPUS_JSON_MISSING, NULL);
    check_json("{\"text\":null}", "text", CORPUS_JSON_MISSING, NULL);
    check_json("{\"user\":\"text\"}", "user.name", CORPUS_JSON_MISSING, NULL);
    check_json("{\"user\":[{\"name\":\"x\"}]}", "user.name", CORPUS_JSON_MISSING, NULL);
    check_json("{\"text\":5}", "text", CORPUS_JSON_OTHER, NULL);
    check_json("{\"text\":{\"text\":\"x\"}}", "text", CORPUS_JSON_OTHER, NULL);
}

static void test_json_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "\"text\"",
        "{\"text\":\"a\"",
        "{\"text\":\"a\"}x",
        "{\"text\":\"a\"} {}",
        "{\"text\":\"a\",}",
        "{\"text\" \"a\"}",
        "{text:\"a\"}",
        "{\"text\":'a'}",
        "{\"text\":\"a}",
        "{\"text\":\"a\\\"}",
        "{\"text\":\"\\x\"}",
        "{\"text\":\"\\u12\"}",
        "{\"text\":\"\\u12g4\"}",
        "{\"text\":\"\\ud83d\"}",
        "{\"text\":\"\\ud83dx\"}",
        "{\"text\":\"\\ud83d\\u0041\"}",
        "{\"text\":\"\\ude00\"}",
        "{\"text\":\"tab\there\"}",
        "{\"text\":\"\xff\"}",
        "{\"text\":\"\xc0\x80\"}",
        "{\"text\":\"\xed\xa0\x80\"}",
        "{\"text\":\"\xf4\x90\x80\x80\"}",
        "{\"text\":\"\xe2\x82\"}",
        "{\"n\":01}",
        "{\"n\":1.}",
        "{\"n\":.5}",
        "{\"n\":-}",
        "{\"n\":1e}",
        "{\"n\":+1}",
        "{\"n\":tru}",
        "{\"n\":nulll}",
        "{\"n\":[1,]}",
        "{\"n\":[1 2]}",
        "{\"n\":[1}",
        "{\"n\":}",
        "{\"n\"}",
        "{,}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_json(bad[i], "text", CORPUS_JSON_INVALID, NULL);
    check_json("{\"text\":\"a\",\"text\":\"b\"}", "text", CORPUS_JSON_INVALID,
               "the field is there twice");

    struct str deep = {0};
    str_puts(&deep, "{\"a\":");
    for (int i = 0; i < 200000; i++)
        str_append_char(&deep, '[');
    check_json(deep.data, "text", CORPUS_JSON_INVALID, "nested deeper than 128");
    str_fini(&deep);
}

static void test_jsonl_messages(void **state)
{
    struct fixture *f = *state;
    struct corpus_options o = {.field = "text", .max_line_bytes = 64};
    static const char bad[] = "{\"text\":\"a\"}\n\n{\"text\":\"b\",}\n";
    static const char missing[] = "{\"text\":\"a\"}\n{\"txet\":\"b\"}\n";
    static const char other[] = "{\"text\":7}\n";
    static const char null[] = "{\"text\":null}\n{\"text\":\"x\"}\n{\"id\":3}\n";
    struct reading r;
    char line[100];

    assert_error(f, read_bytes(f, o, "x.jsonl", bad, sizeof(bad) - 1, &r),
                 "/x.jsonl:3:13:", "a key");
    str_fini(&r.text);
    assert_error(f, read_bytes(f, o, "x.jsonl", missing, sizeof(missing) - 1, &r),
                 "x.jsonl:2:", "'text'");
    assert_non_null(strstr(f->e.hint, "--field txet"));
    str_fini(&r.text);
    assert_error(f, read_bytes(f, o, "x.jsonl", other, sizeof(other) - 1, &r),
                 "x.jsonl:1:", "a number");
    assert_error(f, read_bytes(f, o, "x.jsonl", null, sizeof(null) - 1, &r), "x.jsonl:1:");
    memset(line, ' ', sizeof(line));
    memcpy(line, "{}\n", 3);
    o.skip_missing = true;
    assert_error(f, read_bytes(f, o, "x.jsonl", line, sizeof(line), &r),
                 "x.jsonl:2:", "longer than 64");

    struct corpus *c;
    struct corpus_document doc;
    assert_ok(f, open_bytes(f, o, "x.jsonl", null, sizeof(null) - 1, &c));
    assert_int_equal(corpus_next(c, &doc, &f->e), 1);
    assert_int_equal(doc.line, 2);
    assert_int_equal(corpus_next(c, &doc, &f->e), 0);
    assert_int_equal(corpus_skipped(c)[CORPUS_BAD_MISSING], 2);
    corpus_close(c);

    o.field = "a..b";
    assert_error(f, read_bytes(f, o, "x.jsonl", "", 0, &r), "a..b");
    assert_int_equal(f->e.code, ERROR_USAGE);
}

/* ------------------------------------------------------------------ pieces */

/* The definition of the formats, with everything in memory. */
static void split_reference(enum corpus_format format, const char *p, size_t n, struct str *out)
{
    const char *end = p + n, *doc = p;
    if (format == CORPUS_TEXT) {
        str_append(out, p, n);
        str_append_char(out, '\x1e');
        return;
    }
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
        const char *next = nl ? nl + 1 : end;
        size_t size = (size_t)(stop - p);
        if (nl && size > 0 && stop[-1] == '\r') size--;
        if (format == CORPUS_LINES) {
            str_append(out, p, size);
            str_append_char(out, '\x1e');
        } else if ((size == 1 && *p == '%') || (!nl && size == 2 && p[0] == '%' && p[1] == '\r')) {
            size_t have = (size_t)(p - doc);
            if (have > 0) have--;
            if (have > 0 && doc[have - 1] == '\r') have--;
            str_append(out, doc, have);
            str_append_char(out, '\x1e');
            doc = next;
        }
        p = next;
    }
    if (format == CORPUS_FORTUNE && doc < end) {
        size_t have = (size_t)(end - doc);
        if (end[-1] == '\n') {
            have--;
            if (have > 0 && doc[have - 1] == '\r') have--;
        }
        str_append(out, doc, have);
        str_append_char(out, '\x1e');
    }
}

/* Text of separators, line ends and characters of one to four bytes, in runs. */
static void random_text(uint64_t seed, struct str *out)
{
    static const char *const parts[] = {"\n",   "%",    "%\n",   "\n%\n",    "\r\n",
                                        "\r",   "a",    "word ", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                        "\x80", "\n\n", "%%"};
    uint64_t n = rng_u64(seed, 1, 0) % 400, bias = rng_u64(seed, 1, 1) % ARRAY_LEN(parts);
    str_clear(out);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t r = rng_u64(seed, 2, i);
        str_puts(out, parts[(r >> 8) % 3 ? bias : r % ARRAY_LEN(parts)]);
        if (r % 64 == 0) bias = (r >> 32) % ARRAY_LEN(parts);
    }
}

static void test_pieces(void **state)
{
    struct fixture *f = *state;
    static const enum corpus_format formats[] = {CORPUS_TEXT, CORPUS_LINES, CORPUS_FORTUNE};
    struct str text = {0}, want = {0};
    size_t several = 0;

    str_reserve(&text, 1);
    for (uint64_t seed = 0; seed < 6000; seed++) {
        size_t piece = 16 + rng_u64(seed, 3, 0) % 100;
        struct corpus_options o = {.format = formats[seed % 3], .piece_bytes = piece};
        struct reading r;
        random_text(seed, &text);
        str_clear(&want);
        split_reference(o.format, text.data, text.len, &want);
        assert_ok(f, read_bytes(f, o, "x", text.data, text.len, &r));
        if (r.text.len != want.len || (want.len && memcmp(r.text.data, want.data, want.len) != 0))
            fail_msg("seed %d: pieces of %zu do not make the documents", (int)seed, piece);
        assert_true(r.largest <= piece + 2);
        several += r.pieces > r.documents;
        str_fini(&r.text);
    }
    assert_true(several > 2000);
    str_fini(&text);
    str_fini(&want);
}

/* A piece ends behind a line end where there is one, else before a character. */
static void test_piece_cuts(void **state)
{
    struct fixture *f = *state;
    struct corpus_options o = {.format = CORPUS_TEXT};
    static const char text[] = "first line\nsecond\nthird\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                               "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\n";
    static const size_t want[] = {18, 20, 12};
    struct corpus_document doc;
    struct corpus *c;

    o.piece_bytes = 20;
    assert_ok(f, open_bytes(f, o, "x", text, sizeof(text) - 1, &c));
    for (size_t i = 0; i < ARRAY_LEN(want) - 1; i++) {
        assert_int_equal(corpus_next(c, &doc, &f->e), 1);
        assert_int_equal(doc.size, want[i]);
    }
    assert_int_equal(doc.line, 3);
    corpus_close(c);

    o.format = CORPUS_JSONL;
    static const char json[] = "{\"text\":\"first\\nline and more of it\\n\"}\n{\"text\":\"x\"}";
    static const struct {
        size_t size, line;
        bool first, last;
    } pieces[] = {
        {6, 1, true, false}, {16, 1, false, false}, {4, 1, false, true}, {1, 2, true, true}};
    o.piece_bytes = 16;
    assert_ok(f, open_bytes(f, o, "x", json, sizeof(json) - 1, &c));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        assert_int_equal(corpus_next(c, &doc, &f->e), 1);
        assert_int_equal(doc.size, pieces[i].size);
        assert_int_equal(doc.line, pieces[i].line);
        assert_int_equal(doc.first, pieces[i].first);
        assert_int_equal(doc.last, pieces[i].last);
    }
    assert_int_equal(corpus_next(c, &doc, &f->e), 0);
    corpus_close(c);
}

/* Forty megabytes through the real piece size, in bounded memory. */
static void test_large_document(void **state)
{
    struct fixture *f = *state;
    const size_t n = 40u << 20;
    struct corpus_options o = {.format = CORPUS_TEXT};
    struct reading r;
    char *text = mem_alloc(n);

    for (size_t i = 0; i < n; i++)
        text[i] = i % 71 == 70 ? '\n' : 'x';
    assert_ok(f, read_bytes(f, o, "x", text, n, &r));
    assert_int_equal(r.documents, 1);
    assert_int_equal(r.pieces, 3);
    assert_true(r.largest <= 16u << 20 && r.largest > (16u << 20) - 71);
    assert_int_equal(r.text.len, n + 1);
    assert_memory_equal(r.text.data, text, n);
    str_fini(&r.text);
    mem_free(text);
}

/* ------------------------------------------------------------------ packed files */

static void make_lines(struct str *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        str_printf(out, "line %zu %llx\n", i, (unsigned long long)rng_u64(1, 2, i));
}

static void test_packed(void **state)
{
    struct fixture *f = *state;
    struct corpus_options o = {.format = CORPUS_TEXT};
    struct str text = {0}, gz = {0}, zst = {0};
    struct reading r;

    make_lines(&text, 60000); /* more than every buffer */
    size_t half = text.len / 2;
    pack_gzip(text.data, half, &gz); /* two members, an empty one, padding */
    pack_gzip("", 0, &gz);
    pack_gzip(text.data + half, text.len - half, &gz);
    str_append(&gz, "\0\0\0\0\0\0\0", 7);
    pack_zstd(text.data, half, &zst);
    str_append(&zst, "\x50\x2a\x4d\x18\x04\0\0\0skip", 12); /* a skippable frame */
    pack_zstd("", 0, &zst);
    pack_zstd(text.data + half, text.len - half, &zst);
    for (int i = 0; i < 2; i++) {
        const struct str *packed = i ? &zst : &gz;
        const char *path =
            fixture_write(f, i ? "x.txt.zst" : "x.txt.gz", packed->data, packed->len);
        struct corpus *c;
        o.paths = &path;
        o.n_paths = 1;
        assert_ok(f, corpus_open(&o, &c, &f->e));
        assert_int_equal(corpus_bytes_total(c), packed->len);
        assert_ok(f, read_all(c, &r, &f->e));
        assert_int_equal(r.text.len, text.len + 1);
        assert_memory_equal(r.text.data, text.data, text.len);
        str_fini(&r.text);
    }
    str_fini(&text);
    str_fini(&gz);
    str_fini(&zst);
}

/* Cut off anywhere: an error naming file and byte, never a shorter text. */
static void test_truncated(void **state)
{
    struct fixture *f = *state;
    struct corpus_options o = {.format = CORPUS_LINES};
    struct str text = {0}, gz = {0}, zst = {0};
    struct reading r;

    make_lines(&text, 40);
    pack_gzip(text.data, text.len, &gz);
    pack_zstd(text.data, text.len, &zst);
    for (size_t n = 0; n < gz.len; n++) {
        char offset[32];
        snprintf(offset, sizeof(offset), "byte %zu,", n);
        assert_error(f, read_bytes(f, o, "x.gz", gz.data, n, &r), "truncated gzip", "x.gz", offset);
        str_fini(&r.text);
    }
    for (size_t n = 0; n < zst.len; n++) {
        char offset[32];
        snprintf(offset, sizeof(offset), "byte %zu,", n);
        assert_error(f, read_bytes(f, o, "x.zst", zst.data, n, &r), "truncated zstd", "x.zst",
                     offset);
        str_fini(&r.text);
    }
    str_fini(&text);
    str_fini(&gz);
    str_fini(&zst);
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    struct corpus_options o = {.format = CORPUS_LINES};
    struct str text = {0}, gz = {0};
    struct reading r;

    make_lines(&text, 40);
    assert_error(f, read_bytes(f, o, "x.gz", text.data, text.len, &r), "bad gzip", "x.gz", "byte ");
    assert_error(f, read_bytes(f, o, "x.zst", text.data, text.len, &r), "bad zstd", "x.zst",
                 "byte 0");
    pack_gzip(text.data, text.len, &gz);
    str_puts(&gz, "tail");
    assert_error(f, read_bytes(f, o, "x.gz", gz.data, gz.len, &r), "bad gzip");
    str_fini(&r.text);
    gz.len -= 4;
    gz.data[gz.len - 6] ^= 1; /* the checksum */
    assert_error(f, read_bytes(f, o, "x.gz", gz.data, gz.len, &r), "bad gzip", "check");
    str_fini(&r.text);
    str_fini(&text);
    str_fini(&gz);
}

/* ------------------------------------------------------------------ files and folders */

static void test_folder(void **state)
{
    struct fixture *f = *state;
    static const char *const want[][2] = {
        {"b/deep/y.ndjson.gz", "jsonl"},
        {"b/z.md", "text"},
        {"c.jsonl", "jsonl"},
        {"fortunes/art", "fortune"},
        {"fortunes/art2", "fortune"},
        {"listed", "fortune"},
        {"x.txt", "text"},
    };
    static const char *const left[][2] = {
        {".git", "hidden"},
        {".hidden", "hidden"},
        {"b/loop", "a link to a folder"},
        {"fortunes/off", "offend"},
    };
    struct corpus *c;

    fixture_puts(f, "x.txt", "x");
    fixture_puts(f, "b/z.md", "x");
    struct str gz = {0};
    pack_gzip("x", 1, &gz);
    fixture_write(f, "b/deep/y.ndjson.gz", gz.data, gz.len);
    fixture_puts(f, "c.jsonl", "x");
    fixture_puts(f, ".hidden", "x");
    fixture_puts(f, ".git/config", "x");
    fixture_puts(f, "fortunes/art", "x");
    fixture_puts(f, "fortunes/art.dat", "x");
    fixture_puts(f, "fortunes/art2", "x");
    fixture_puts(f, "fortunes/off/art", "x");
    fixture_puts(f, "listed", "x");
    fixture_puts(f, "listed.dat", "x");
    assert_int_equal(symlink("art", fixture_path(f, "fortunes/art.u8")), 0);
    assert_int_equal(symlink("..", fixture_path(f, "b/loop")), 0);

    const char *path = f->dir;
    struct corpus_options o = {.paths = &path, .n_paths = 1};
    assert_ok(f, corpus_open(&o, &c, &f->e));
    assert_int_equal(corpus_file_count(c), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct corpus_file *file = corpus_file_at(c, i);
        assert_string_equal(file->path, fixture_path(f, want[i][0]));
        assert_string_equal(corpus_format_names[file->format], want[i][1]);
        assert_int_equal(file->stored_bytes, i == 0 ? gz.len : 1);
    }
    assert_int_equal(corpus_bytes_total(c), ARRAY_LEN(want) - 1 + gz.len);
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        assert_string_equal(corpus_left_at(c, i)->path, fixture_path(f, left[i][0]));
        assert_non_null(strstr(corpus_left_at(c, i)->why, left[i][1]));
    }
    assert_int_equal(corpus_left_count(c), ARRAY_LEN(left));
    corpus_close(c);
    str_fini(&gz);

    path = fixture_path(f, "fortunes/off"); /* named: read */
    assert_ok(f, corpus_open(&o, &c, &f->e));
    assert_int_equal(corpus_file_count(c), 1);
    corpus_close(c);
}

static void test_missing_files(void **state)
{
    struct fixture *f = *state;
    const char *paths[2] = {fixture_path(f, "none.txt"), "-"};
    struct corpus_options o = {.paths = paths, .n_paths = 1};
    struct corpus *c;

    assert_error(f, corpus_open(&o, &c, &f->e), "none.txt", "no such file");
    assert_ok(f, file_make_dirs(fixture_path(f, "empty"), &f->e));
    paths[0] = fixture_path(f, "empty");
    assert_error(f, corpus_open(&o, &c, &f->e), "no files", "empty");
    o.n_paths = 0;
    assert_error(f, corpus_open(&o, &c, &f->e), "no input");
    o.n_paths = 2;
    paths[0] = "-";
    assert_error(f, corpus_open(&o, &c, &f->e), "'-'", "once");
}

/* Standard input: packing by its first bytes, total unknown. */
static void test_stdin(void **state)
{
    struct fixture *f = *state;
    struct str packed[3] = {{0}};
    int saved = dup(STDIN_FILENO);

    str_puts(&packed[0], "a\nb");
    pack_gzip("a\nb", 3, &packed[1]);
    pack_zstd("a\nb", 3, &packed[2]);
    for (int i = 0; i < 3; i++) {
        const char *path = "-";
        struct corpus_options o = {.paths = &path, .n_paths = 1, .format = CORPUS_LINES};
        struct corpus *c;
        struct reading r;
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_ok(f, file_write_fd(ends[1], packed[i].data, packed[i].len, "pipe", &f->e));
        close(ends[1]);
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        assert_ok(f, corpus_open(&o, &c, &f->e));
        assert_int_equal(corpus_bytes_total(c), 0);
        assert_ok(f, read_all(c, &r, &f->e));
        assert_string_equal(r.text.data, "a\x1e"
                                         "b\x1e");
        str_fini(&r.text);
        str_fini(&packed[i]);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
}

static void test_fortunes(void **state)
{
    struct fixture *f = *state;
    const char *path = "/usr/share/games/fortunes";
    struct corpus_options o = {.paths = &path, .n_paths = 1};
    struct corpus *c;
    struct reading r;

    if (!file_exists("/usr/share/games/fortunes/art.dat")) {
        print_message("skip: %s (package fortunes)\n", path);
        skip();
    }
    assert_ok(f, corpus_open(&o, &c, &f->e));
    size_t files = corpus_file_count(c);
    assert_ok(f, read_all(c, &r, &f->e));
    /* strfile's index says how many strings a file has (big-endian, second word). */
    char **names;
    size_t n, strings = 0, indexes = 0;
    assert_ok(f, file_list_dir(path, &f->arena, &names, &n, &f->e));
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]), size;
        if (length < 4 || strcmp(names[i] + length - 4, ".dat") != 0) continue;
        char *data;
        assert_ok(f, file_read(file_join(&f->arena, path, names[i]), 1 << 20, &data, &size, &f->e));
        strings += (uint8_t)data[6] << 8 | (uint8_t)data[7];
        mem_free(data);
        indexes++;
    }
    assert_int_equal(files, indexes);
    /* strfile does not count empty strings; ours are counted and dropped later. */
    size_t empty = 0;
    for (size_t i = 0; i < r.text.len; i++)
        empty += r.text.data[i] == '\x1e' && (i == 0 || r.text.data[i - 1] == '\x1e');
    assert_int_equal(r.documents - empty, strings);
    str_fini(&r.text);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_formats),        TEST(test_json_finds), TEST(test_json_refuses),
        TEST(test_jsonl_messages), TEST(test_pieces),     TEST(test_piece_cuts),
        TEST(test_large_document), TEST(test_packed),     TEST(test_truncated),
        TEST(test_damaged),        TEST(test_folder),     TEST(test_missing_files),
        TEST(test_stdin),          TEST(test_fortunes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
