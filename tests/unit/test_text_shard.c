/* test_text_shard.c: datasets: what is written, that it is the same for any number of threads, what
 * is read back, and what happens when files are damaged, in the way or only half there.
 *
 * The tokenizer gives one id per byte, so every expected file can be worked out by hand. */
#include "text_data_fixture.h"
#include "text/dataset/text_dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { EOS = 0 };

/* Lines of a corpus with duplicates, empty and blank lines. */
static void make_corpus(struct str *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t r = rng_u64(seed, 0, i);
        if (r % 11 == 0)
            str_puts(out, r % 2 ? "\n" : " \t \n");
        else if (r % 7 == 0)
            str_printf(out, "common line %d\n", (int)(r % 5));
        else
            str_printf(out, "%.*s line %zu\n", (int)(r % 60),
                       "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh", i);
    }
}

/* The streams that the rules of text_shard_build.c give for lines. */
struct expected {
    struct token_array ids[2]; /* train, valid */
    uint64_t read, kept, duplicates, empty, bytes[2], documents[2];
};

static void expect_lines(const char *text, size_t size, double valid_fraction, bool dedup,
                         struct expected *x)
{
    struct shard_set seen = {0};
    const char *end = text + size;
    *x = (struct expected){0};
    for (const char *p = text; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)(nl - p);
        x->read++;
        uint64_t hash = hash_xxh3(p, n);
        if (strspn(p, " \t") >= n) {
            x->empty++;
        } else if (dedup && shard_set_add(&seen, hash, NULL) == 0) {
            x->duplicates++;
        } else {
            int s = (double)hash / 0x1p64 < valid_fraction;
            for (size_t i = 0; i < n; i++)
                token_array_push(&x->ids[s], (uint8_t)p[i] + 1u);
            token_array_push(&x->ids[s], EOS);
            x->kept++;
            x->bytes[s] += n;
            x->documents[s]++;
        }
        p = nl + 1;
    }
    shard_set_fini(&seen);
}

static void expected_fini(struct expected *x)
{
    token_array_fini(&x->ids[0]);
    token_array_fini(&x->ids[1]);
}

struct build_args {
    const char *corpus, *tokenizer, *out;
    enum corpus_format format;
    uint64_t shard_tokens;
    double valid_fraction;
    bool keep_duplicates, force;
    int threads;
};

static int build(const struct build_args *b, struct dataset_report *report, struct error *e)
{
    struct corpus_options corpus = {.paths = (const char *const *)&b->corpus,
                                    .n_paths = 1,
                                    .format = b->format ? b->format : CORPUS_LINES};
    struct dataset_options o = {.out_dir = b->out,
                                .shard_tokens = b->shard_tokens,
                                .valid_fraction = b->valid_fraction,
                                .drop_duplicates = !b->keep_duplicates,
                                .command = "test",
                                .tokenizer_path = b->tokenizer,
                                .force = b->force};
    struct dataset_report local;
    tokenizer_t *t;

    TRY(tokenizer_load(b->tokenizer, &t, e));
    o.pool = b->threads > 1 ? pool_new(b->threads) : NULL;
    int rc = dataset_build(&corpus, t, &o, report ? report : &local, e);
    pool_free(o.pool);
    tokenizer_free(t);
    return rc;
}

/* A small dataset at "data": the usual subject of the tests that damage something. */
static struct build_args small_dataset(struct fixture *f)
{
    struct str text = {0};
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .shard_tokens = 1000,
                           .valid_fraction = 0.2};
    make_corpus(&text, 200, 3);
    b.corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    b.out = fixture_path(f, "data");
    str_fini(&text);
    assert_ok(f, build(&b, NULL, &f->e));
    return b;
}

static void check_split(struct fixture *f, const char *dir, const char *split,
                        const struct token_array *want, uint64_t documents, uint64_t bytes,
                        uint64_t shard_tokens)
{
    dataset_t *d;
    assert_ok(f, dataset_open(dir, split, 0, true, &d, &f->e));
    assert_int_equal(dataset_info(d)->tokens, want->count);
    uint64_t counted = 0;
    for (size_t i = 0; i < dataset_info(d)->n_shards; i++)
        counted += dataset_shard_at(d, i).documents;
    assert_int_equal(counted, documents);
    assert_int_equal(dataset_info(d)->bytes, bytes);
    assert_int_equal(dataset_info(d)->n_shards, (want->count + shard_tokens - 1) / shard_tokens);
    uint32_t *ids = mem_alloc((want->count + 1) * sizeof(*ids));
    assert_ok(f, dataset_read(d, 0, want->count, ids, &f->e));
    assert_memory_equal(ids, want->ids, want->count * sizeof(*ids));
    for (uint64_t i = 0; i < 300; i++) { /* at random, across shards */
        uint64_t first = rng_u64(1, 1, i) % (want->count + 1);
        uint64_t n = rng_u64(1, 2, i) % (want->count - first + 1);
        assert_ok(f, dataset_read(d, first, n, ids, &f->e));
        dataset_prefetch(d, first, n);
        assert_memory_equal(ids, want->ids + first, n * sizeof(*ids));
    }
    uint64_t at = 0, seen = 0;
    for (uint64_t n; (n = (uint64_t)dataset_document_size(d, at, &f->e)) > 0; at += n, seen++) {
        assert_int_equal(want->ids[at + n - 1], EOS);
        for (uint64_t i = at; i < at + n - 1; i++)
            assert_int_not_equal(want->ids[i], EOS);
    }
    assert_int_equal(at, want->count);
    assert_int_equal(seen, documents);
    mem_free(ids);
    dataset_close(d);
}

static void test_build(void **state)
{
    struct fixture *f = *state;
    static const uint64_t shard_sizes[] = {1, 97, 1000, 100000};
    struct str text = {0};
    struct build_args b = {.valid_fraction = 0.1};

    make_corpus(&text, 300, 1);
    b.corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    for (size_t i = 0; i < 2 * ARRAY_LEN(shard_sizes); i++) {
        bool wide = i % 2;
        struct dataset_report r;
        struct expected x;
        b.tokenizer = fixture_tokenizer(f, "tok.json", wide ? 66000 : 257);
        b.out = fixture_path(f, arena_printf(&f->arena, "data%zu", i));
        b.shard_tokens = shard_sizes[i / 2];
        b.keep_duplicates = i == 5;
        if (b.shard_tokens == 1) b.corpus = fixture_puts(f, "tiny.txt", "ab\nc\nab\ndefg\nhi\n");
        if (b.shard_tokens == 1) b.valid_fraction = 0.5;
        char *data;
        size_t size;
        assert_ok(f, file_read(b.corpus, 1 << 20, &data, &size, &f->e));
        expect_lines(data, size, b.valid_fraction, !b.keep_duplicates, &x);
        mem_free(data);
        assert_ok(f, build(&b, &r, &f->e));
        assert_int_equal(r.documents_read, x.read);
        assert_int_equal(r.documents_kept, x.kept);
        assert_int_equal(r.duplicates_dropped, x.duplicates);
        assert_int_equal(r.empty_dropped, x.empty);
        assert_int_equal(r.bytes_kept, x.bytes[0] + x.bytes[1]);
        assert_int_equal(r.train.tokens, x.ids[0].count);
        assert_int_equal(r.valid.tokens, x.ids[1].count);
        assert_true(x.ids[1].count > 0 && x.duplicates + b.keep_duplicates > 0);
        for (int s = 0; s < 2; s++)
            check_split(f, b.out, shard_split_names[s], &x.ids[s], x.documents[s], x.bytes[s],
                        b.shard_tokens);
        dataset_t *d;
        assert_ok(f, dataset_open(b.out, "train", 0, false, &d, &f->e));
        assert_int_equal(dataset_info(d)->vocab_size, wide ? 66000 : 257);
        assert_int_equal(dataset_info(d)->eos, EOS);
        uint64_t hash;
        assert_ok(f, hash_file(dataset_info(d)->tokenizer_path, &hash, &f->e));
        assert_int_equal(hash, dataset_info(d)->tokenizer_hash);
        struct stat st;
        assert_int_equal(
            stat(fixture_path(f, arena_printf(&f->arena, "data%zu/train-00000.bin", i)), &st), 0);
        assert_int_equal(st.st_size, 64 + dataset_shard_at(d, 0).tokens * (wide ? 4 : 2));
        dataset_close(d);
        expected_fini(&x);
        b.corpus = fixture_path(f, "corpus.txt");
        b.valid_fraction = 0.1;
    }
    str_fini(&text);
}

/* Hash over the names and contents of a folder's files. */
static uint64_t folder_hash(struct fixture *f, const char *dir)
{
    char **names;
    size_t n;
    struct hash_stream *h = hash_stream_new();
    assert_ok(f, file_list_dir(dir, &f->arena, &names, &n, &f->e));
    for (size_t i = 0; i < n; i++) {
        uint64_t hash;
        assert_ok(f, hash_file(file_join(&f->arena, dir, names[i]), &hash, &f->e));
        hash_stream_add(h, names[i], strlen(names[i]));
        hash_stream_add(h, &hash, sizeof(hash));
    }
    uint64_t value = hash_stream_value(h);
    hash_stream_free(h);
    return value;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct str text = {0};
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .shard_tokens = 1000000,
                           .valid_fraction = 0.05};
    uint64_t first = 0;

    make_corpus(&text, 660000, 2); /* several batches */
    assert_true(text.len > 20u << 20);
    b.corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    for (int threads = 1; threads <= 5; threads += 2) {
        b.threads = threads;
        b.out = fixture_path(f, arena_printf(&f->arena, "data%d", threads));
        assert_ok(f, build(&b, NULL, &f->e));
        uint64_t hash = folder_hash(f, b.out);
        if (threads == 1) first = hash;
        assert_int_equal(hash, first);
    }
    str_fini(&text);
}

/* Documents of more than 16 MiB: judged by the whole text, even where they differ only at the end,
 * and the ids between the small ones in their place. */
static void test_large_documents(void **state)
{
    struct fixture *f = *state;
    const size_t n = 17u << 20;
    char *large = mem_alloc(n + 1);
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .format = CORPUS_TEXT,
                           .shard_tokens = 10000000,
                           .threads = 2};
    struct dataset_report r;
    dataset_t *d;

    memset(large, 'x', n);
    for (size_t i = 0; i < n; i += 97)
        large[i] = '\n';
    fixture_puts(f, "in/a", "small one");
    fixture_write(f, "in/b", large, n);
    fixture_puts(f, "in/c", "small two");
    fixture_write(f, "in/d", large, n); /* the same */
    large[n - 1] = 'y';
    fixture_write(f, "in/e", large, n); /* another */
    fixture_puts(f, "in/f", "small one");
    b.corpus = fixture_path(f, "in");
    b.out = fixture_path(f, "data");
    assert_ok(f, build(&b, &r, &f->e));
    assert_int_equal(r.documents_read, 6);
    assert_int_equal(r.duplicates_dropped, 2);
    assert_int_equal(r.documents_kept, 4);
    assert_int_equal(r.train.tokens, 18 + 2 * n + 4);

    assert_ok(f, dataset_open(b.out, "train", 0, true, &d, &f->e));
    const uint64_t want[] = {10, n + 1, 10, n + 1, 0};
    uint64_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(want); at += want[i++])
        assert_int_equal(dataset_document_size(d, at, &f->e), want[i]);
    uint32_t *ids = mem_alloc((n + 1) * sizeof(*ids));
    assert_ok(f, dataset_read(d, 20 + n + 1, n + 1, ids, &f->e));
    for (size_t i = 0; i < n; i++) {
        if (ids[i] != (uint8_t)large[i] + 1u) fail_msg("id %zu of the large document is wrong", i);
    }
    assert_int_equal(ids[n], EOS);
    mem_free(ids);
    dataset_close(d);
    assert_false(file_exists(fixture_path(f, "data/large-document.tmp")));
    mem_free(large);
}

/* ------------------------------------------------------------------ damage */

static void flip(struct fixture *f, const char *path, uint64_t at)
{
    char *data;
    size_t size;
    assert_ok(f, file_read(path, 1 << 26, &data, &size, &f->e));
    data[at % size] ^= (char)(1 << at % 7);
    assert_ok(f, file_write(path, data, size, &f->e));
    mem_free(data);
}

static int try_open(const char *dir, bool verify, struct error *e)
{
    dataset_t *d;
    TRY(dataset_open(dir, "train", 0, verify, &d, e));
    dataset_close(d);
    return 0;
}

static void test_flipped_bytes(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    static const char *const files[] = {"train-00000.bin", "train-00001.bin", "index.json",
                                        "tokenizer.json"};
    size_t unnoticed = 0;

    assert_ok(f, try_open(b.out, true, &f->e));
    for (uint64_t i = 0; i < 120; i++) {
        char *path = file_join(&f->arena, b.out, files[i % ARRAY_LEN(files)]);
        uint64_t at = rng_u64(5, 5, i) % (i % 8 < 2 ? 64 : 100000); /* the header often */
        char *before;
        size_t size;
        assert_ok(f, file_read(path, 1 << 26, &before, &size, &f->e));
        flip(f, path, at);
        f->e = (struct error){0};
        if (try_open(b.out, true, &f->e) >= 0) {
            /* only what the index says for people may differ, and white space */
            assert_int_equal(i % ARRAY_LEN(files), 2);
            unnoticed++;
        } else {
            assert_true(f->e.text[0] != '\0' && strstr(f->e.text, b.out) != NULL);
        }
        assert_ok(f, file_write(path, before, size, &f->e));
        mem_free(before);
    }
    assert_true(unnoticed < 15);
    assert_ok(f, try_open(b.out, true, &f->e));
}

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    char *path = fixture_path(f, "data/train-00001.bin"), *data;
    size_t size;

    assert_ok(f, file_read(path, 1 << 20, &data, &size, &f->e));
    static const int cuts[] = {0, 1, 63, 64, 65, -1};
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) { /* noticed without verify */
        assert_ok(f, file_write(path, data, cuts[i] < 0 ? size - 1 : (size_t)cuts[i], &f->e));
        assert_error(f, try_open(b.out, false, &f->e), "train-00001.bin", "bytes instead of");
    }
    data = mem_realloc(data, size + 1);
    data[size] = 0;
    assert_ok(f, file_write(path, data, size + 1, &f->e));
    assert_error(f, try_open(b.out, false, &f->e), "train-00001.bin", "bytes instead of");
    assert_int_equal(unlink(path), 0);
    assert_error(f, try_open(b.out, false, &f->e), "train-00001.bin", "no such file");
    /* another shard in its place: same size, other header */
    struct str copy = {0};
    char *other;
    size_t other_size;
    assert_ok(
        f, file_read(fixture_path(f, "data/train-00000.bin"), 1 << 20, &other, &other_size, &f->e));
    assert_int_equal(size, other_size);
    assert_ok(f, file_write(path, other, other_size, &f->e));
    assert_error(f, try_open(b.out, false, &f->e), "header", "train-00001.bin", "index");
    str_fini(&copy);
    mem_free(other);
    mem_free(data);
}

static void test_wrong_tokenizer(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    dataset_t *d;

    assert_ok(f, dataset_open(b.out, "train", 0, false, &d, &f->e));
    uint64_t right = dataset_info(d)->tokenizer_hash;
    dataset_close(d);
    assert_ok(f, dataset_open(b.out, "valid", right, false, &d, &f->e));
    dataset_close(d);
    assert_error(f, dataset_open(b.out, "train", right + 1, false, &d, &f->e), "another tokenizer");
    assert_non_null(strstr(f->e.hint, "tokenizer.json"));
}

static void test_splits(void **state)
{
    struct fixture *f = *state;
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .corpus = fixture_puts(f, "c", "one\ntwo\n"),
                           .out = fixture_path(f, "data")};
    dataset_t *d;
    bool has = true;

    assert_ok(f, build(&b, NULL, &f->e));
    assert_error(f, dataset_open(b.out, "valid", 0, false, &d, &f->e), "no split 'valid'");
    assert_non_null(strstr(f->e.hint, "--valid-fraction"));
    assert_error(f, dataset_open(b.out, "test", 0, false, &d, &f->e), "no split 'test'");
    assert_ok(f, dataset_has_split(b.out, "valid", &has, &f->e));
    assert_false(has);
    assert_true(dataset_exists(b.out));
    assert_int_equal(dataset_peek_vocab_size(b.out), 257);
    assert_false(dataset_exists(f->dir));
    assert_int_equal(dataset_peek_vocab_size(f->dir), 0);
    fixture_puts(f, "foreign/index.json", "{\"format\": \"another\", \"vocab_size\": 5}");
    assert_true(dataset_exists(fixture_path(f, "foreign")));
    assert_int_equal(dataset_peek_vocab_size(fixture_path(f, "foreign")), 0);
    assert_error(f, dataset_open(fixture_path(f, "none"), "train", 0, false, &d, &f->e),
                 "no dataset folder");
    assert_error(f, dataset_open(f->dir, "train", 0, false, &d, &f->e), "holds no dataset");
}

/* index.json with one value replaced: an error naming file and key, never a crash. */
static void test_index_values(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    static const struct {
        const char *key, *value, *word;
    } cases[] = {
        {"format", "\"gguf\"", "format"},
        {"format", "7", "format"},
        {"version", "2", "version 2"},
        {"version", "\"1\"", "version"},
        {"version", "1.0", "version"},
        {"dtype", "\"float\"", "dtype"},
        {"dtype", "null", "dtype"},
        {"vocab_size", "-1", "vocab_size"},
        {"vocab_size", "99999999999", "vocab_size"},
        {"vocab_size", "66000", "uint16"},
        {"vocab_size", "100000000000000000000000", "index.json"},
        {"eos", "257", "eos"},
        {"eos", "1e400", "index.json"},
        {"fingerprint", "\"0000000000000000\"", "fingerprint"},
        {"fingerprint", "\"xyz\"", "fingerprint"},
        {"tokenizer", "[]", "tokenizer"},
        {"tokenizer", "{}", "kind"},
        {"tokenizer",
         "{\"kind\":\"x\",\"xxh3\":\"0000000000000000\",\"file\":\"../../etc/passwd\"}", "file"},
        {"splits", "7", "splits"},
        {"splits", "{\"train\":{}}", "train"},
        {"splits", "{\"train\":[7]}", "train"},
        {"splits", "{\"train\":[{\"file\":\"a/b\"}]}", "file"},
        {"splits", "{\"train\":[{\"file\":\".x\"}]}", "file"},
        {"splits",
         "{\"train\":[{\"file\":\"x\",\"tokens\":9223372036854775807,\"documents\":1,\"bytes\":1,"
         "\"xxh3\":\"0000000000000000\"}]}",
         "tokens"},
        {"splits",
         "{\"train\":[{\"file\":\"x\",\"tokens\":5,\"documents\":6,\"bytes\":1,"
         "\"xxh3\":\"0000000000000000\"}]}",
         "documents"},
        {"splits", "{}", "fingerprint"},
    };
    char *path = fixture_path(f, "data/index.json");
    json_t *right;

    assert_ok(f, json_load_path(path, 1 << 20, &right, &f->e));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        /* Replaced as text, since jansson would not write what it does not read. */
        struct str text = {0};
        const char *key;
        json_t *value;
        str_puts(&text, "{");
        json_object_foreach(right, key, value)
        {
            char *old = json_dumps(value, JSON_ENCODE_ANY);
            str_printf(&text, "%s\"%s\":%s", text.len > 1 ? "," : "", key,
                       strcmp(key, cases[i].key) == 0 ? cases[i].value : old);
            free(old);
        }
        str_puts(&text, "}");
        assert_ok(f, file_write(path, text.data, text.len, &f->e));
        assert_error(f, try_open(b.out, false, &f->e), "index.json");
        if (!strstr(f->e.text, cases[i].word))
            fail_msg("%s = %s: %s", cases[i].key, cases[i].value, f->e.text);
        str_fini(&text);
    }
    json_decref(right);
}

/* An id that cannot be, under a hash nobody checked. */
static void test_bad_id(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    char *path = fixture_path(f, "data/train-00000.bin"), *data;
    uint32_t ids[20];
    size_t size;
    dataset_t *d;

    assert_ok(f, file_read(path, 1 << 20, &data, &size, &f->e));
    data[64 + 2 * 10 + 1] = 0x7f;
    assert_ok(f, file_write(path, data, size, &f->e));
    mem_free(data);
    assert_ok(f, dataset_open(b.out, "train", 0, false, &d, &f->e));
    assert_ok(f, dataset_read(d, 0, 10, ids, &f->e));
    assert_error(f, dataset_read(d, 0, 20, ids, &f->e), "train-00000.bin' is damaged: id 32");
    dataset_close(d);
}

/* What happens to a shard while it is open. */
static void test_shard_changed_while_open(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    char *path = fixture_path(f, "data/train-00000.bin"), *data;
    uint32_t ids[20], again[20];
    size_t size;
    dataset_t *d;

    assert_ok(f, dataset_open(b.out, "train", 0, true, &d, &f->e));
    assert_ok(f, dataset_read(d, 0, 20, ids, &f->e));
    assert_ok(f, file_read(path, 1 << 20, &data, &size, &f->e));
    assert_ok(f, file_write(path, data, size, &f->e)); /* another file of the same bytes */
    assert_ok(f, dataset_read(d, 0, 20, again, &f->e));
    assert_memory_equal(ids, again, sizeof(ids));

    char other = data[64 + 2 * 3]; /* an id that may be, where another was */
    data[64 + 2 * 3] = data[64 + 2 * 2];
    assert_int_not_equal(other, data[64 + 2 * 3]);
    assert_ok(f, file_write(path, data, size, &f->e));
    assert_error(f, dataset_read(d, 0, 2, again, &f->e), "train-00000.bin' was changed");
    data[64 + 2 * 3] = other;
    assert_ok(f, file_write(path, data, size, &f->e)); /* put right */
    assert_ok(f, dataset_read(d, 0, 20, again, &f->e));
    assert_memory_equal(ids, again, sizeof(ids));

    assert_int_equal(truncate(path, 70), 0);
    assert_error(f, dataset_read(d, 0, 20, again, &f->e), "train-00000.bin' ends before byte 70");
    assert_error(f, dataset_document_size(d, 0, &f->e), "train-00000.bin");
    struct dataset_stats stats;
    assert_error(f, dataset_count(d, 3, &f->arena, &stats, &f->e), "train-00000.bin");
    assert_int_equal(unlink(path), 0);
    assert_error(f, dataset_read(d, 0, 20, again, &f->e), "train-00000.bin': no such file");
    mem_free(data);
    dataset_close(d);
}

/* ------------------------------------------------------------------ places */

static void test_places(void **state)
{
    struct fixture *f = *state;
    struct build_args b = small_dataset(f);
    struct error e;

    assert_error(f, build(&b, NULL, &f->e), "already holds a dataset");
    assert_non_null(strstr(f->e.hint, "--force"));
    uint64_t before = folder_hash(f, b.out);
    b.force = true;
    b.corpus = fixture_puts(f, "other.txt", "quite\nother\ntext\n");
    b.valid_fraction = 0;
    assert_ok(f, build(&b, NULL, &f->e));
    assert_int_not_equal(folder_hash(f, b.out), before);
    assert_ok(f, try_open(b.out, true, &f->e));
    assert_false(file_exists(fixture_path(f, "data/valid-00000.bin")));
    assert_false(file_exists(fixture_path(f, "data/lock")));
    assert_false(file_exists(fixture_path(f, "data.partial")));

    fixture_puts(f, "mine/notes.txt", "x");
    b.out = fixture_path(f, "mine");
    assert_error(f, build(&b, NULL, &f->e), "something else than a dataset");
    b.out = fixture_path(f, "other.txt");
    assert_error(f, build(&b, NULL, &f->e), "not a folder");
    assert_ok(f, file_make_dirs(fixture_path(f, "empty"), &f->e));
    b.out = arena_printf(&f->arena, "%s/empty///", f->dir);
    b.force = false;
    assert_ok(f, build(&b, NULL, &f->e));

    /* What a killed run left behind is taken over; what is not ours is not. */
    fixture_puts(f, "new.partial/lock", "");
    fixture_puts(f, "new.partial/train-00000.bin", "half");
    b.out = fixture_path(f, "new");
    assert_ok(f, build(&b, NULL, &f->e));
    fixture_puts(f, "next.partial/precious", "");
    b.out = fixture_path(f, "next");
    assert_error(f, build(&b, NULL, &f->e), "next.partial", "not made by this program");
    assert_true(file_exists(fixture_path(f, "next.partial/precious")));

    /* A run that is still writing keeps its folder. */
    char *lock = fixture_puts(f, "busy.partial/lock", "");
    int fd = open(lock, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    b.out = fixture_path(f, "busy");
    assert_error(f, build(&b, NULL, &f->e), "another run is writing");
    assert_true(file_exists(lock));
    close(fd);

    struct dataset_options o = {.out_dir = b.out, .valid_fraction = 1};
    assert_int_equal(dataset_check_output(&o, &e), ERROR_USAGE);
}

/* A run that fails leaves neither a dataset nor its work folder. */
static void test_failures(void **state)
{
    struct fixture *f = *state;
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .out = fixture_path(f, "data")};
    static const struct {
        const char *name, *text, *word;
        double valid;
    } cases[] = {
        {"bad.jsonl", "{\"text\":\"x\"}\n{", "bad.jsonl:2:", 0},
        {"empty.txt", "\n \n", "no document is left", 0},
        {"x.gz", "not gzip", "bad gzip", 0},
        {"one.txt", "all of it is held out\n", "training split", 0.99},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        b.corpus = fixture_puts(f, cases[i].name, cases[i].text);
        b.format = i == 0 ? CORPUS_JSONL : CORPUS_LINES;
        b.valid_fraction = cases[i].valid;
        assert_error(f, build(&b, NULL, &f->e), cases[i].word);
        assert_false(file_exists(b.out));
        assert_false(file_exists(fixture_path(f, "data.partial")));
    }
}

/* A full disk, played by a limit on the size of files. */
static void test_disk_full(void **state)
{
    struct fixture *f = *state;
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .out = fixture_path(f, "data")};
    struct str text = {0};
    struct rlimit old, small;

    make_corpus(&text, 60000, 4);
    b.corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    str_fini(&text);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    f->e = (struct error){0};
    int rc = build(&b, NULL, &f->e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(rc < 0);
    assert_non_null(strstr(f->e.text, "train-00000.bin"));
    assert_false(file_exists(b.out));
    assert_false(file_exists(fixture_path(f, "data.partial")));
    assert_ok(f, build(&b, NULL, &f->e)); /* and with room it works */
}

/* Killed at any moment: no dataset or a whole one, and the next run works. */
static void test_killed(void **state)
{
    struct fixture *f = *state;
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .out = fixture_path(f, "data"),
                           .shard_tokens = 50000,
                           .force = true};
    struct str text = {0};
    int whole = 0, none = 0;

    make_corpus(&text, 8000, 4);
    b.corpus = fixture_write(f, "corpus.txt", text.data, text.len);
    str_fini(&text);
    double start_s = time_now_s();
    assert_ok(f, build(&b, NULL, &f->e));
    double once_s = time_now_s() - start_s;
    uint64_t want = folder_hash(f, b.out);
    for (uint64_t i = 0; i < 30; i++) {
        bool replacing = i % 2; /* an older dataset is there */
        if (!replacing) assert_ok(f, file_remove_tree(b.out, &f->e));
        pid_t child = fork();
        if (child == 0) _exit(build(&b, NULL, NULL) < 0);
        usleep((useconds_t)(rng_uniform(1, 1, i) * 2e6 * once_s));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        if (file_exists(b.out)) {
            assert_ok(f, try_open(b.out, true, &f->e));
            unlink(fixture_path(f, "data/lock"));
            assert_int_equal(folder_hash(f, b.out), want);
            whole += !replacing;
        } else {
            assert_false(replacing);
            none++;
            assert_ok(f, build(&b, NULL, &f->e));
        }
    }
    print_message("killed 30 times: %d no dataset, %d a whole new one\n", none, whole);
    assert_true(none > 0);
}

/* ------------------------------------------------------------------ parts */

static int compare_u64(const void *pa, const void *pb)
{
    uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return a < b ? -1 : a > b;
}

static void test_set(void **state)
{
    enum { N = 100000 };
    struct shard_set s = {0};
    uint64_t *hashes = mem_alloc(N * sizeof(*hashes));
    size_t added = 0, distinct = 0;
    (void)state;

    for (size_t i = 0; i < N; i++) { /* half of them repeated; low bits alike; zero too */
        hashes[i] = rng_u64(1, 1, rng_u64(2, 2, i) % (N / 2)) & ~(i % 100 ? 0 : UINT64_C(0xffff));
        if (i % 1000 == 0) hashes[i] = 0;
        int rc = shard_set_add(&s, hashes[i], NULL);
        assert_true(rc == 0 || rc == 1);
        added += (size_t)rc;
        assert_int_equal(shard_set_add(&s, hashes[i], NULL), 0);
    }
    qsort(hashes, N, sizeof(*hashes), compare_u64);
    for (size_t i = 0; i < N; i++)
        distinct += i == 0 || hashes[i] != hashes[i - 1];
    assert_int_equal(added, distinct);
    shard_set_fini(&s);
    mem_free(hashes);
}

static void test_count(void **state)
{
    struct fixture *f = *state;
    struct build_args b = {.tokenizer = fixture_tokenizer(f, "tok.json", 257),
                           .corpus = fixture_puts(f, "c", "aaab\nab\nc\naaaaaaaaaaaaaaa\n"),
                           .out = fixture_path(f, "data"),
                           .shard_tokens = 3};
    struct dataset_stats s;
    dataset_t *d;

    assert_ok(f, build(&b, NULL, &f->e));
    assert_ok(f, dataset_open(b.out, "train", 0, false, &d, &f->e));
    assert_ok(f, dataset_count(d, 3, &f->arena, &s, &f->e));
    assert_int_equal(s.tokens, 26);
    assert_int_equal(s.documents, 4);
    assert_int_equal(s.bytes, 22);
    assert_int_equal(s.distinct_ids, 4);
    assert_int_equal(s.min_document, 1);
    assert_int_equal(s.median_document, 2);
    assert_int_equal(s.max_document, 15);
    assert_int_equal(s.n_top, 3);
    static const struct dataset_token_count want[] = {{'a' + 1, 19}, {EOS, 4}, {'b' + 1, 2}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(s.top[i].id, want[i].id);
        assert_int_equal(s.top[i].count, want[i].count);
    }
    dataset_close(d);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_build),
        TEST(test_threads),
        TEST(test_large_documents),
        TEST(test_flipped_bytes),
        TEST(test_sizes),
        TEST(test_wrong_tokenizer),
        TEST(test_splits),
        TEST(test_index_values),
        TEST(test_bad_id),
        TEST(test_shard_changed_while_open),
        TEST(test_places),
        TEST(test_failures),
        TEST(test_disk_full),
        TEST(test_killed),
        TEST(test_set),
        TEST(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
