/* test_text_tokenizer_train.c: learning a vocabulary: against the plainest way to do it, for any
 * number of threads, and against Hugging Face's library where python3 has it. */
#include "text_tokenizer_fixture.h"

#include "text/learn/text_learn_internal.h"

struct folder {
    struct arena arena;
    char *path;
};

static int setup(void **state)
{
    struct folder *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->arena);
    f->path = test_folder(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct folder *f = *state;
    int rc = file_remove_tree(f->path, NULL);
    arena_fini(&f->arena);
    mem_free(f);
    return rc;
}

static const char *const corpus_paths[] = {TOKENIZER_DATA "/text.txt", "docs/STYLE.md",
                                           "docs/ARCHITECTURE.md"};
static const struct corpus_options corpus = {
    .paths = corpus_paths, .n_paths = ARRAY_LEN(corpus_paths), .format = CORPUS_TEXT};

static char *train(struct folder *f, const char *name, const struct tokenizer_train_options *o)
{
    struct error e = {0};
    char *path = file_join(&f->arena, f->path, name);
    if (tokenizer_train(&corpus, o, path, &e) < 0) fail_msg("%s (%s)", e.text, e.hint);
    return path;
}

/* ------------------------------------------------------------------ the plainest learning */

struct counted {
    const struct bpe_words *words;
    uint32_t *tokens; /* [bytes of all words] */
    size_t *sizes;
};

/* The most frequent pair, the smallest of equals; its count, 0 where there is none. */
static uint64_t best_pair(const struct counted *c, uint32_t n_tokens, uint64_t *counts,
                          uint32_t pair[2])
{
    uint64_t best = 0;
    memset(counts, 0, (size_t)n_tokens * n_tokens * sizeof(*counts));
    for (size_t w = 0; w < c->words->count; w++)
        for (size_t i = 0; i + 1 < c->sizes[w]; i++) {
            const uint32_t *t = c->tokens + c->words->items[w].offset + i;
            counts[(size_t)t[0] * n_tokens + t[1]] += c->words->items[w].n;
        }
    for (size_t i = 0; i < (size_t)n_tokens * n_tokens; i++)
        if (counts[i] > best) {
            best = counts[i];
            pair[0] = (uint32_t)(i / n_tokens);
            pair[1] = (uint32_t)(i % n_tokens);
        }
    return best;
}

static void replace_pair(struct counted *c, const uint32_t pair[2], uint32_t joined)
{
    for (size_t w = 0; w < c->words->count; w++) {
        uint32_t *t = c->tokens + c->words->items[w].offset;
        size_t n = 0;
        for (size_t i = 0; i < c->sizes[w]; i++) {
            bool here = i + 1 < c->sizes[w] && t[i] == pair[0] && t[i + 1] == pair[1];
            t[n++] = here ? joined : t[i];
            i += here;
        }
        c->sizes[w] = n;
    }
}

/* All 256 bytes as tokens 0 to 255, then up to `merges` merges, compared one by one. */
static void check_learning(const struct bpe_words *words, uint32_t merges)
{
    uint32_t n_tokens = 256 + merges, pair[2];
    struct bpe_learned l = {0};
    struct counted c = {words, mem_alloc(words->bytes.len * sizeof(uint32_t)),
                        mem_alloc(words->count * sizeof(size_t))};
    uint64_t *counts = mem_alloc((size_t)n_tokens * n_tokens * sizeof(*counts));
    for (int b = 0; b < 256; b++)
        bpe_learned_add(&l, &(char){(char)b}, 1);
    bpe_learn(&l, words, n_tokens, false);
    for (size_t i = 0; i < words->bytes.len; i++)
        c.tokens[i] = (uint8_t)words->bytes.data[i];
    for (size_t w = 0; w < words->count; w++)
        c.sizes[w] = words->items[w].size;
    for (uint32_t i = 0; i < merges; i++) {
        uint64_t count = best_pair(&c, n_tokens, counts, pair);
        if (count < 2) {
            assert_int_equal(l.n_merges, i);
            break;
        }
        assert_true(i < l.n_merges);
        assert_int_equal(l.merges[i][0], pair[0]);
        assert_int_equal(l.merges[i][1], pair[1]);
        /* These words give no token twice, so the merge's number is the new id. */
        assert_int_equal(l.n_tokens - l.n_merges, 256);
        replace_pair(&c, pair, 256 + i);
    }
    bpe_learned_fini(&l);
    mem_free(c.tokens);
    mem_free(c.sizes);
    mem_free(counts);
}

static void test_learning(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c"};
    struct str word = {0};
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct bpe_words words = {0};
        for (uint64_t k = 0; k < 60; k++) {
            random_text(&word, seed, k, letters, seed % 3 + 1, 9, seed % 4 == 3 ? 5 : 0);
            bpe_words_add(&words, word.data, word.len, 1 + rng_u64(seed, 9, k) % 5);
        }
        check_learning(&words, 20);
        bpe_words_fini(&words);
    }
    str_fini(&word);
}

/* ------------------------------------------------------------------ words */

static void test_words(void **state)
{
    (void)state;
    struct bpe_words w = {0};
    char *large = mem_calloc(1, 10000);
    memset(large, 'x', 10000);
    bpe_words_add(&w, "b", 1, 1);
    bpe_words_add(&w, "a", 1, 2);
    bpe_words_add(&w, "b", 1, 3);
    bpe_words_add(&w, "", 0, 3);
    bpe_words_add(&w, large, 10000, 1); /* cut: two of 4096 bytes, one of 1808 */
    assert_int_equal(w.count, 4);
    assert_int_equal(w.items[0].n, 4);
    assert_int_equal(w.items[1].n, 2);
    assert_int_equal(w.items[2].n, 2);
    assert_int_equal(w.items[3].size, 10000 - 2 * 4096);
    bpe_words_clear(&w);
    bpe_words_add(&w, "b", 1, 1);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.items[0].n, 1);
    bpe_words_fini(&w);
    mem_free(large);
}

/* With room for few words the frequent ones stay. */
static void test_words_are_bounded(void **state)
{
    (void)state;
    struct error e = {0};
    struct bpe_words all = {0}, few = {0};
    struct pretoken p = {0};
    struct tokenizer_train_options o = {0};
    assert_ok(pretoken_add(&p, PRETOKEN_PATTERN_GROK2, strlen(PRETOKEN_PATTERN_GROK2), &e), e);
    assert_ok(bpe_count_words(&corpus, &p, &o, 0, &all, &e), e);
    assert_ok(bpe_count_words(&corpus, &p, &o, 100, &few, &e), e);
    assert_true(all.count > 1000);
    assert_true(few.count <= 50 && few.count > 5);
    uint64_t rarest = UINT64_MAX;
    for (size_t i = 0; i < few.count; i++)
        rarest = MIN(rarest, few.items[i].n);
    size_t frequent = 0;
    for (size_t i = 0; i < all.count; i++)
        frequent += all.items[i].n >= rarest;
    assert_int_equal(frequent, few.count);
    bpe_words_fini(&all);
    bpe_words_fini(&few);
    pretoken_fini(&p);
}

/* ------------------------------------------------------------------ the whole */

static void test_same_for_any_threads(void **state)
{
    struct folder *f = *state;
    struct error e = {0};
    uint64_t first = 0, hash;
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *pool = pool_new(threads);
        struct tokenizer_train_options o = {.vocab_size = 900, .pool = pool};
        assert_ok(hash_file(train(f, "t.json", &o), &hash, &e), e);
        if (threads == 1) first = hash;
        assert_int_equal(hash, first);
        pool_free(pool);
    }
}

static void test_trained(void **state)
{
    struct folder *f = *state;
    static const char *const specials[] = {"<end>", "\xc3\xbcml"};
    struct tokenizer_train_options o = {.vocab_size = 700,
                                        .special_tokens = specials,
                                        .n_special_tokens = 2,
                                        .pattern = " ?\\p{L}+|."};
    tokenizer_t *t = load_tokenizer(train(f, "t.json", &o));
    assert_int_equal(tokenizer_vocab_size(t), 700);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_int_equal(find_special(t, "\xc3\xbcml"), 1);
    expect_ids(t, "!\"<end>", TOKENIZER_PARSE_SPECIAL, "2 3 0");
    struct token_array ids = encode(t, " the", 4, 0);
    assert_int_equal(ids.count, 1);
    token_array_fini(&ids);
    tokenizer_free(t);

    t = load_tokenizer(train(f, "d.json", &(struct tokenizer_train_options){.vocab_size = 259}));
    assert_int_equal(tokenizer_vocab_size(t), 259);
    assert_int_equal(find_special(t, "<|eos|>"), 0);
    assert_int_equal(find_special(t, "<|pad|>"), 1);
    assert_int_equal(find_special(t, "<|separator|>"), 2);
    tokenizer_free(t);
}

/* Text that spells a special token again and again must not teach it to ordinary text. */
static void test_special_is_never_learned(void **state)
{
    struct folder *f = *state;
    static const char *const specials[] = {"the"};
    struct tokenizer_train_options o = {
        .vocab_size = 900, .special_tokens = specials, .n_special_tokens = 1, .pattern = "\\p{L}+"};
    tokenizer_t *t = load_tokenizer(train(f, "t.json", &o));
    struct token_array ids = encode(t, "the", 3, 0);
    assert_true(ids.count > 1);
    token_array_fini(&ids);
    tokenizer_free(t);
}

static void expect_train_error(struct folder *f, const struct tokenizer_train_options *o,
                               const char *words)
{
    struct error e = {0};
    char *path = file_join(&f->arena, f->path, "none.json");
    assert_true(tokenizer_train(&corpus, o, path, &e) < 0);
    assert_contains(e.text, words);
    assert_false(file_exists(path));
}

static void test_wrong_options(void **state)
{
    struct folder *f = *state;
    struct tokenizer_train_options o = {.vocab_size = 258};
    expect_train_error(f, &o, "a vocabulary of 258 tokens");
    o.vocab_size = 1000;
    o.pattern = "(";
    expect_train_error(f, &o, "the pattern has a group without ')'");
    o.pattern = NULL;
    o.n_special_tokens = 2;
    o.special_tokens = (const char *const[]){"<a>", "<a>"};
    expect_train_error(f, &o, "'<a>' is given twice");
    o.special_tokens = (const char *const[]){"<a>", ""};
    expect_train_error(f, &o, "special token 1 is empty");
    o.special_tokens = (const char *const[]){"<a>", "a"};
    expect_train_error(f, &o, "'a' is the name of a byte");
    o.special_tokens = (const char *const[]){"<a>", "\xff"};
    expect_train_error(f, &o, "not valid UTF-8");
    struct error e = {0};
    struct corpus_options empty = {
        .paths = (const char *const[]){"/dev/null"}, .n_paths = 1, .format = CORPUS_TEXT};
    o = (struct tokenizer_train_options){.vocab_size = 1000};
    assert_true(tokenizer_train(&empty, &o, file_join(&f->arena, f->path, "e.json"), &e) < 0);
    assert_contains(e.text, "no text");
}

/* ------------------------------------------------------------------ Hugging Face's library */

/* Loads the tokenizer and prints the ids of every text, one line each; then, as a last line,
 * whether the library's own trainer learns the same merges from the same files. */
static const char hugging_face[] =
    "import json, sys\n"
    "from tokenizers import Tokenizer, models, pre_tokenizers, trainers\n"
    "path, texts, files = sys.argv[1], sys.argv[2], sys.argv[3:]\n"
    "t = Tokenizer.from_file(path)\n"
    "for text in json.load(open(texts, encoding='utf-8')):\n"
    "    ids = t.encode(text, add_special_tokens=False).ids\n"
    "    assert t.decode(ids, skip_special_tokens=False) == text, text\n"
    "    print(*ids)\n"
    "ours = json.load(open(path, encoding='utf-8'))\n"
    "n = Tokenizer(models.BPE())\n"
    "n.pre_tokenizer = t.pre_tokenizer\n"
    "n.train_from_iterator([open(f, encoding='utf-8', newline='').read() for f in files],\n"
    "    trainers.BpeTrainer(vocab_size=t.get_vocab_size(), min_frequency=2, show_progress=False,\n"
    "        special_tokens=[a['content'] for a in ours['added_tokens']],\n"
    "        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))\n"
    "m = json.loads(n.to_str())['model']\n"
    "same = [' '.join(x) if isinstance(x, list) else x for x in m['merges']]\n"
    "print('same' if same == ours['model']['merges'] and m['vocab'] == ours['model']['vocab']\n"
    "      else 'other merges')\n";

/* The texts: lines of the corpus, and random ones. Valid UTF-8, as the library takes no other. */
static json_t *sample_texts(void)
{
    static const char *const parts[] = {"the",
                                        " cable",
                                        "Machine",
                                        "\n",
                                        "\r\n",
                                        "12",
                                        "'s",
                                        "'LL",
                                        " ",
                                        "  ",
                                        "\t",
                                        "\xc3\xa9",
                                        "e\xcc\x81",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "<|eos|>",
                                        "<|pad|>",
                                        "!?",
                                        "\xc2\xa0",
                                        "_"};
    struct error e = {0};
    struct str text = {0};
    json_t *texts = json_array();
    for (size_t i = 0; i < ARRAY_LEN(corpus_paths); i++) {
        char *data;
        size_t size;
        assert_ok(file_read(corpus_paths[i], 1 << 20, &data, &size, &e), e);
        json_array_append_new(texts, json_stringn(data, size));
        for (char *line = data, *end; (end = strchr(line, '\n')); line = end + 1)
            json_array_append_new(texts, json_stringn(line, (size_t)(end - line)));
        mem_free(data);
    }
    for (uint64_t k = 0; k < 2000; k++) {
        random_text(&text, 6, k, parts, ARRAY_LEN(parts), 20, 0);
        json_array_append_new(texts, json_stringn(text.data, text.len));
    }
    str_fini(&text);
    return texts;
}

static bool python_has_tokenizers(void)
{
    FILE *p = popen("python3 -c 'import tokenizers' 2>&1", "r");
    return p && pclose(p) == 0;
}

static void test_hugging_face_agrees(void **state)
{
    struct folder *f = *state;
    if (!python_has_tokenizers()) {
        print_message("skip: python3 has no module 'tokenizers' (pip install tokenizers)\n");
        skip();
    }
    struct error e = {0};
    struct tokenizer_train_options o = {.vocab_size = 1500};
    char *path = train(f, "t.json", &o), *line = NULL;
    char *texts_path = file_join(&f->arena, f->path, "texts.json");
    char *script = file_join(&f->arena, f->path, "hf.py");
    json_t *texts = sample_texts();
    assert_ok(json_save_path(texts, texts_path, &e), e);
    assert_ok(file_write(script, hugging_face, sizeof(hugging_face) - 1, &e), e);
    FILE *p = popen(arena_printf(&f->arena, "python3 %s %s %s %s %s %s", script, path, texts_path,
                                 corpus_paths[0], corpus_paths[1], corpus_paths[2]),
                    "r");
    assert_non_null(p);
    tokenizer_t *t = load_tokenizer(path);
    size_t cap = 0, n = json_array_size(texts);
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(texts, i);
        struct token_array ids =
            encode(t, json_string_value(text), json_string_length(text), TOKENIZER_PARSE_SPECIAL);
        assert_true(getline(&line, &cap, p) > 0);
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, ids_to_text(&ids)) != 0)
            fail_msg("'%s' became %s, want %s", json_string_value(text), ids_to_text(&ids), line);
        token_array_fini(&ids);
    }
    assert_true(getline(&line, &cap, p) > 0);
    assert_string_equal(line, "same\n");
    assert_int_equal(pclose(p), 0);
    print_message("%zu texts: the same ids\n", n);
    free(line);
    json_decref(texts);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learning),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_words_are_bounded),
        cmocka_unit_test_setup_teardown(test_same_for_any_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_is_never_learned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hugging_face_agrees, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
