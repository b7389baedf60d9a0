/* text_data_fixture.h: temporary folders, files and packed data for the tests of corpora, shards
 * and the loader. */
#ifndef TEXT_DATA_FIXTURE_H
#define TEXT_DATA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "text/text.h"

struct fixture {
    struct arena arena;
    char *dir; /* empty at first, removed at the end */
    struct error e;
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    const char *base = getenv("TMPDIR");
    arena_init(&f->arena);
    f->dir = arena_printf(&f->arena, "%s/colossus-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->dir)) return -1;
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    int rc = file_remove_tree(f->dir, NULL);
    arena_fini(&f->arena);
    mem_free(f);
    return rc;
}

#define assert_ok(f, expr)                                                        \
    do {                                                                          \
        if ((expr) < 0) fail_msg("%s: %s (%s)", #expr, (f)->e.text, (f)->e.hint); \
    } while (0)
/* The call fails with a message that has these words in it, in this order. */
#define assert_error(f, expr, ...)                                                      \
    do {                                                                                \
        (f)->e = (struct error){0};                                                     \
        if ((expr) >= 0) fail_msg("%s: no error", #expr);                               \
        const char *words_[] = {__VA_ARGS__}, *at_ = (f)->e.text;                       \
        for (size_t w_ = 0; w_ < ARRAY_LEN(words_); w_++) {                             \
            const char *next_ = strstr(at_, words_[w_]);                                \
            if (!next_) fail_msg("%s: no '%s' in: %s", #expr, words_[w_], (f)->e.text); \
            at_ = next_;                                                                \
        }                                                                               \
    } while (0)

static inline char *fixture_path(struct fixture *f, const char *name)
{
    return file_join(&f->arena, f->dir, name);
}

/* Writes a file, with its folders; returns its path. */
static inline char *fixture_write(struct fixture *f, const char *name, const void *data, size_t n)
{
    char *path = fixture_path(f, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_ok(f, file_make_dirs(path, &f->e));
    *slash = '/';
    assert_ok(f, file_write(path, data, n, &f->e));
    return path;
}

static inline char *fixture_puts(struct fixture *f, const char *name, const char *text)
{
    return fixture_write(f, name, text, strlen(text));
}

/* A tokenizer.json with a token for every byte (id = byte + 1), <|eos|> = 0, and, where vocab_size
 * is above 257, one special token more at its end. Written as <name>; its path is returned. */
static inline char *fixture_tokenizer(struct fixture *f, const char *name, int vocab_size)
{
    json_t *vocab = json_object(), *added = json_array();
    for (int b = 0, n = 0; b < 256; b++) {
        /* GPT-2's spelling of bytes: printable ones stand for themselves */
        bool self = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        int c = self ? b : 256 + n++;
        char text[3] = {(char)c, 0, 0};
        if (c >= 128) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 63));
        }
        json_object_set_new(vocab, text, json_integer(b + 1));
    }
    json_object_set_new(vocab, "<|eos|>", json_integer(0));
    json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 0,
                                           "content", "<|eos|>", "single_word", 0, "lstrip", 0,
                                           "rstrip", 0, "normalized", 0, "special", 1));
    for (int id = 257; id < vocab_size; id++) { /* pieces that no text has */
        char text[16];
        snprintf(text, sizeof(text), "<%d>", id);
        json_object_set_new(vocab, text, json_integer(id));
    }
    json_t *root = json_pack(
        "{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s, s:b, s:b, s:b},"
        " s:{s:s, s:n, s:n, s:n, s:n, s:b, s:o, s:[]}}",
        "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer",
        "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
        1, "post_processor", "decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets",
        1, "use_regex", 1, "model", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "vocab", vocab, "merges");
    assert_non_null(root);
    char *path = fixture_path(f, name);
    assert_ok(f, json_save_path(root, path, &f->e));
    json_decref(root);
    return path;
}

/* One gzip member, appended. */
static inline void pack_gzip(const void *data, size_t n, struct str *out)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    str_reserve(out, out->len + deflateBound(&z, n) + 64);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (unsigned)n;
    z.next_out = (Bytef *)out->data + out->len;
    z.avail_out = (unsigned)(out->cap - out->len);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len = out->cap - z.avail_out;
    deflateEnd(&z);
}

static inline void pack_zstd(const void *data, size_t n, struct str *out)
{
    str_reserve(out, out->len + ZSTD_compressBound(n) + 1);
    size_t size = ZSTD_compress(out->data + out->len, out->cap - out->len, data, n, 3);
    assert_false(ZSTD_isError(size));
    out->len += size;
}

#endif
