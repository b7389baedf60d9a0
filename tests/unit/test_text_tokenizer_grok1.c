/* test_text_tokenizer_grok1.c: Grok-1's own tokenizer, 131,072 pieces of SentencePiece BPE.
 *
 * The ids of 90 golden texts, and of whole corpora line by line beside Debian's spm_encode. The
 * vocabulary and the corpora lie beside the checkout, not in it. */
#include "text_tokenizer_fixture.h"

static char *shared_path(struct arena *a, const char *name)
{
    const char *shared = getenv("COLOSSUS_SHARED");
    return file_join(a, shared ? shared : "../shared", name);
}

/* The path, or skips the test and says what is missing. */
static char *need(struct arena *a, const char *name)
{
    char *path = shared_path(a, name);
    if (!file_exists(path)) {
        print_message("skip: no '%s' (set COLOSSUS_SHARED)\n", path);
        arena_fini(a);
        skip();
    }
    return path;
}

static void test_golden(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *model = need(&a, "data/tokenizer/grok-1.model");
    char *golden = need(&a, "data/tokenizer/grok-1.golden.jsonl");
    tokenizer_t *t = load_tokenizer(model);
    assert_int_equal(tokenizer_vocab_size(t), 131072);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_int_equal(find_special(t, "<|separator|>"), 47);
    assert_true(t->cut_at_spaces);
    assert_int_equal(check_cases(t, golden, 0), 90);
    expect_ids(t, "\n", 0, "130089 4");
    expect_ids(t, "Human: hi<|separator|>\n\nAssistant:", 0, "5866 130123 16462 47 5 78964 130123");
    expect_ids(t, "The answer to life the universe and everything is of course", 0,
               "422 3033 356 1180 333 9072 360 2175 391 359 1805");
    tokenizer_free(t);
    arena_fini(&a);
}

static bool has_spm_encode(void)
{
    FILE *p = popen("spm_encode --version >/dev/null 2>&1", "r");
    return p && pclose(p) == 0;
}

/* The file's lines, through us and through spm_encode; returns their number. */
static size_t compare_lines(struct arena *a, const tokenizer_t *t, const char *model,
                            const char *path)
{
    struct error e = {0};
    char *data, *theirs = NULL;
    size_t size, cap = 0, n = 0;
    assert_ok(file_read(path, (size_t)64 << 20, &data, &size, &e), e);
    FILE *p =
        popen(arena_printf(a, "spm_encode --model=%s --output_format=id <%s", model, path), "r");
    assert_non_null(p);
    tokenizer_scratch_t *s = tokenizer_scratch_new(t);
    struct token_array ids = {0};
    for (size_t at = 0; at < size; n++) {
        char *newline = memchr(data + at, '\n', size - at);
        size_t end = newline ? (size_t)(newline - data) : size;
        ids.count = 0;
        tokenizer_encode(t, s, data + at, end - at, 0, &ids);
        assert_true(getline(&theirs, &cap, p) > 0);
        theirs[strcspn(theirs, "\n")] = '\0';
        if (strcmp(theirs, ids_to_text(&ids)) != 0)
            fail_msg("%s:%zu: %s, spm_encode says %s", path, n + 1, ids_to_text(&ids), theirs);
        at = end + 1;
    }
    assert_int_equal(getline(&theirs, &cap, p), -1);
    assert_int_equal(pclose(p), 0);
    tokenizer_scratch_free(s);
    token_array_fini(&ids);
    free(theirs);
    mem_free(data);
    return n;
}

static void test_corpora(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *model = need(&a, "data/tokenizer/grok-1.model");
    char *texts[] = {need(&a, "data/text/tinyshakespeare.txt"),
                     need(&a, "data/text/wikitext2-valid.txt")};
    if (!has_spm_encode()) {
        print_message("skip: no spm_encode (Debian package sentencepiece)\n");
        skip();
    }
    tokenizer_t *t = load_tokenizer(model);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        print_message("%s: %zu lines: the same ids\n", file_base_name(texts[i]),
                      compare_lines(&a, t, model, texts[i]));
    tokenizer_free(t);
    arena_fini(&a);
}

/* Posts one to a line, with spaces for their line ends, as spm_encode reads lines. */
static void write_posts(const char *posts, size_t n, const char *path)
{
    struct error e = {0};
    struct corpus *c;
    struct corpus_document doc;
    struct str text = {0};
    struct corpus_options o = {
        .paths = (const char *const[]){posts}, .n_paths = 1, .field = "text"};
    assert_ok(corpus_open(&o, &c, &e), e);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(corpus_next(c, &doc, &e), 1);
        for (size_t k = 0; k < doc.size; k++)
            str_append_char(&text, doc.text[k] == '\n' ? ' ' : doc.text[k]);
        str_append_char(&text, '\n');
    }
    corpus_close(c);
    assert_ok(file_write(path, text.data, text.len, &e), e);
    str_fini(&text);
}

static void test_posts(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *model = need(&a, "data/tokenizer/grok-1.model");
    char *posts = need(&a, "data/posts/stock-tweets-v1.1.jsonl.zst");
    if (!has_spm_encode()) {
        print_message("skip: no spm_encode (Debian package sentencepiece)\n");
        skip();
    }
    char *folder = test_folder(&a), *path = file_join(&a, folder, "posts.txt");
    write_posts(posts, 10000, path);
    tokenizer_t *t = load_tokenizer(model);
    assert_int_equal(compare_lines(&a, t, model, path), 10000);
    tokenizer_free(t);
    file_remove_tree(folder, NULL);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_corpora),
        cmocka_unit_test(test_posts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
