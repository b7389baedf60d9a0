/* test_text_tokenizer_bpe.c: merging one word, the vocabulary's hash, the word cache and the match
 * of special tokens, each against the plainest way to do the same. */
#include "text_tokenizer_fixture.h"

/* ------------------------------------------------------------------ a random model */

/* Words over the letters a to d; two- to eight-letter pieces made by joining others. */
static void model_init(struct bpe_model *m, enum bpe_rule rule, bool characters, uint64_t seed)
{
    static const char *const letters[] = {"a", "b", "c", "d", "\xc3\xa9", "\xe4\xb8\xad"};
    struct error e = {0};
    uint32_t ranks[60][3], n_ranks = 0, n_letters = characters ? 6 : 4;
    *m = (struct bpe_model){.rule = rule, .characters = characters, .byte_fallback = characters};
    memset(m->byte_ids, 0xff, sizeof(m->byte_ids));
    for (uint32_t i = 0; i < n_letters; i++) {
        assert_ok(bpe_vocab_set(&m->vocab, i, letters[i], strlen(letters[i]), BPE_PIECE_NORMAL, &e),
                  e);
        if (!characters) m->byte_ids[(uint8_t)letters[i][0]] = i;
    }
    for (uint64_t k = 0; k < 60; k++) {
        uint32_t left = (uint32_t)(rng_u64(seed, 1, k) % m->vocab.count);
        uint32_t right = (uint32_t)(rng_u64(seed, 2, k) % m->vocab.count);
        char text[64];
        size_t a = m->vocab.pieces[left].size, b = m->vocab.pieces[right].size;
        if (a + b > 24) continue;
        memcpy(text, bpe_vocab_bytes(&m->vocab, left), a);
        memcpy(text + a, bpe_vocab_bytes(&m->vocab, right), b);
        uint32_t id = m->vocab.count;
        for (uint32_t i = 0; i < m->vocab.count; i++)
            if (m->vocab.pieces[i].size == a + b &&
                memcmp(bpe_vocab_bytes(&m->vocab, i), text, a + b) == 0)
                id = i;
        /* Few different priorities, so that ties are common. */
        uint32_t priority = (uint32_t)(rng_u64(seed, 3, k) % 8);
        if (id == m->vocab.count) {
            assert_ok(bpe_vocab_set(&m->vocab, id, text, a + b, BPE_PIECE_NORMAL, &e), e);
            m->vocab.pieces[id].priority = priority;
        }
        memcpy(ranks[n_ranks++], (uint32_t[3]){left, right, id}, sizeof(ranks[0]));
    }
    assert_ok(bpe_vocab_index(&m->vocab, &e), e);
    assert_ok(bpe_pairs_init(m, n_ranks, &e), e);
    for (uint32_t i = 0; i < n_ranks; i++)
        assert_true(bpe_pairs_add(m, ranks[i][0], ranks[i][1], i, ranks[i][2]));
}

/* ------------------------------------------------------------------ the plainest merging */

struct symbol {
    size_t start, size;
    uint32_t id;
};

static bool plain_join(const struct bpe_model *m, const char *word, const struct symbol *a,
                       const struct symbol *b, uint32_t *priority, uint32_t *id)
{
    if (m->rule == BPE_JOIN_PAIRS) {
        for (uint32_t i = 0; i <= m->pairs.mask; i++) {
            const struct table_slot *slot = &m->pairs.slots[i];
            if (slot->key == TABLE_NONE || slot->key != table_pair(a->id, b->id)) continue;
            *priority = (uint32_t)(slot->value >> 32);
            *id = (uint32_t)slot->value;
            return true;
        }
        return false;
    }
    for (uint32_t i = 0; i < m->vocab.count; i++)
        if (m->vocab.pieces[i].size == a->size + b->size &&
            memcmp(bpe_vocab_bytes(&m->vocab, i), word + a->start, a->size + b->size) == 0 &&
            m->vocab.pieces[i].priority != BPE_NO_PRIORITY) {
            *priority = m->vocab.pieces[i].priority;
            *id = i;
            return true;
        }
    return false;
}

static void plain_merge(const struct bpe_model *m, const char *word, size_t size,
                        struct token_array *out)
{
    struct symbol *s = mem_alloc((size + 1) * sizeof(*s));
    size_t n = 0;
    for (size_t at = 0; at < size; at += s[n++].size) {
        s[n] = (struct symbol){at, m->characters ? utf8_decode(word + at, size - at, NULL) : 1, 0};
        s[n].id = bpe_vocab_find(&m->vocab, word + at, s[n].size);
    }
    for (;;) {
        uint32_t least = BPE_NO_PRIORITY, id = 0, priority, joined;
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++)
            if (plain_join(m, word, &s[i], &s[i + 1], &priority, &joined) && priority < least) {
                least = priority;
                id = joined;
                best = i;
            }
        if (least == BPE_NO_PRIORITY) break;
        s[best] = (struct symbol){s[best].start, s[best].size + s[best + 1].size, id};
        memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof(*s));
        n--;
    }
    for (size_t i = 0; i < n; i++)
        token_array_push(out, s[i].id);
    mem_free(s);
}

/* Words of every length up to 3 * BPE_SHORT_SYMBOLS, so both ways of merging. */
static void test_merging(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c", "d", "\xc3\xa9", "\xe4\xb8\xad"};
    struct str word = {0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct bpe_model m;
        struct bpe_work work = {0};
        bool characters = seed % 4 == 3;
        model_init(&m, seed % 2 ? BPE_JOIN_STRINGS : BPE_JOIN_PAIRS, characters, seed);
        for (uint64_t k = 0; k < 40; k++) {
            struct token_array got = {0}, want = {0};
            random_text(&word, seed, 100 + k, letters,
                        characters ? 6
                        : k % 3    ? 4
                                   : 1,
                        k % 2 ? 12 : 3 * BPE_SHORT_SYMBOLS, 0);
            bpe_merge_word(&m, &work, word.data, word.len, &got);
            plain_merge(&m, word.data, word.len, &want);
            assert_int_equal(got.count, want.count);
            if (got.count) assert_memory_equal(got.ids, want.ids, got.count * sizeof(*got.ids));
            token_array_fini(&got);
            token_array_fini(&want);
        }
        bpe_work_fini(&work);
        bpe_model_fini(&m);
    }
    str_fini(&word);
}

/* A megabyte of one word is n log n: it would take minutes otherwise. */
static void test_giant_word(void **state)
{
    (void)state;
    struct bpe_model m;
    struct bpe_work work = {0};
    struct token_array out = {0};
    size_t size = (size_t)1 << 20, total = 0;
    char *word = mem_alloc(size);
    model_init(&m, BPE_JOIN_STRINGS, false, 4);
    for (size_t i = 0; i < size; i++)
        word[i] = (char)('a' + rng_u64(1, 2, i) % 2);
    bpe_merge_word(&m, &work, word, size, &out);
    for (size_t i = 0; i < out.count; i++)
        total += m.vocab.pieces[out.ids[i]].size;
    assert_int_equal(total, size);
    token_array_fini(&out);
    bpe_work_fini(&work);
    bpe_model_fini(&m);
    mem_free(word);
}

static void test_unknown(void **state)
{
    (void)state;
    struct bpe_model m;
    struct bpe_work work = {0};
    struct token_array out = {0};
    model_init(&m, BPE_JOIN_STRINGS, true, 3);
    for (uint32_t i = 0; i < 256; i++)
        m.byte_ids[i] = 1000 + i;
    bpe_merge_word(&m, &work, "\xc3\xbc", 2, &out);
    m.byte_fallback = false;
    m.unknown_id = 7;
    bpe_merge_word(&m, &work, "\xc3\xbc", 2, &out);
    assert_string_equal(ids_to_text(&out), "1195 1188 7");
    token_array_fini(&out);
    bpe_work_fini(&work);
    bpe_model_fini(&m);
}

/* The same words through the cache, many of them so often that they come out of it, with ids
 * between them; everything appears in order. */
static void test_cache(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c", "d"};
    struct bpe_work work = {0};
    struct str words = {0}, word = {0};
    struct token_array got = {0}, want = {0};
    for (uint64_t seed = 12; seed < 14; seed++) {
        struct bpe_model m;
        struct bpe_cache cache;
        model_init(&m, seed % 2 ? BPE_JOIN_STRINGS : BPE_JOIN_PAIRS, false, seed);
        for (uint32_t i = 0; i < 256; i++) /* bytes that are no letters */
            if (m.byte_ids[i] == TOKENIZER_NONE) m.byte_ids[i] = 1000 + i;
        bpe_cache_init(&cache, &m);
        for (uint64_t k = 0; k < 2000; k++) {
            size_t sizes[40], n = 1 + rng_u64(seed, 6, k) % 40, at = 0;
            str_clear(&words);
            got.count = want.count = 0;
            for (size_t i = 0; i < n; i++) {
                random_text(&word, 5, (k * 40 + i) % 7 ? (k + i) % 300 : k * 40 + i, letters, 4, 20,
                            m.rule == BPE_JOIN_PAIRS ? 9 : 0);
                sizes[i] = word.len;
                str_append(&words, word.data, word.len);
            }
            for (size_t i = 0; i < n; at += sizes[i++]) {
                if (i % 5 == 4) bpe_cache_id(&m, &cache, (uint32_t)(5000 + i), &got);
                if (i % 5 == 4) token_array_push(&want, (uint32_t)(5000 + i));
                bpe_cache_word(&m, &cache, words.data + at, sizes[i], &got);
                bpe_merge_word(&m, &work, words.data + at, sizes[i], &want);
            }
            bpe_cache_flush(&m, &cache, &got);
            assert_int_equal(got.count, want.count);
            if (got.count) assert_memory_equal(got.ids, want.ids, got.count * sizeof(*got.ids));
        }
        bpe_cache_fini(&cache);
        bpe_model_fini(&m);
    }
    bpe_work_fini(&work);
    str_fini(&words);
    str_fini(&word);
    token_array_fini(&got);
    token_array_fini(&want);
}

/* Ids above 2^16 and at the limit survive the cache's three bytes. */
static void test_cache_large_ids(void **state)
{
    (void)state;
    struct bpe_model m = {.rule = BPE_JOIN_PAIRS};
    struct bpe_cache cache;
    struct token_array out = {0};
    struct error e = {0};
    assert_ok(bpe_pairs_init(&m, 0, &e), e);
    assert_ok(bpe_vocab_index(&m.vocab, &e), e);
    for (uint32_t i = 0; i < 256; i++)
        m.byte_ids[i] = TOKENIZER_MAX_IDS - 1 - i * 65537 % TOKENIZER_MAX_IDS;
    bpe_cache_init(&cache, &m);
    for (int round = 0; round < 2; round++) {
        bpe_cache_word(&m, &cache, "az\xff\x80", 4, &out);
        bpe_cache_flush(&m, &cache, &out);
    }
    assert_int_equal(out.count, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(out.ids[i], m.byte_ids[(uint8_t) "az\xff\x80"[i % 4]]);
    bpe_cache_fini(&cache);
    bpe_model_fini(&m);
    token_array_fini(&out);
}

/* ------------------------------------------------------------------ vocabulary */

static void test_vocab(void **state)
{
    (void)state;
    struct bpe_vocab v = {0};
    struct error e = {0};
    char text[40];
    for (uint32_t i = 0; i < 5000; i++) { /* sizes 1 to 31; every third id is a hole */
        int n = snprintf(text, sizeof(text), "%u", i);
        memset(text + n, 'x', i % 28);
        assert_ok(bpe_vocab_set(&v, 3 * i, text, (size_t)n + i % 28, BPE_PIECE_NORMAL, &e), e);
    }
    assert_true(bpe_vocab_set(&v, 3, "again", 5, BPE_PIECE_NORMAL, &e) < 0);
    assert_contains(e.text, "id 3 is given twice");
    assert_true(bpe_vocab_set(&v, TOKENIZER_MAX_IDS, "a", 1, BPE_PIECE_NORMAL, &e) < 0);
    assert_contains(e.text, "too large");
    assert_ok(bpe_vocab_set(&v, 1, "control", 7, BPE_PIECE_CONTROL, &e), e);
    assert_ok(bpe_vocab_index(&v, &e), e);
    for (uint32_t i = 0; i < 5000; i++) {
        int n = snprintf(text, sizeof(text), "%u", i);
        memset(text + n, 'x', i % 28);
        assert_int_equal(bpe_vocab_find(&v, text, (size_t)n + i % 28), 3 * i);
        if (i % 28) text[n] = 'y';
        if (i % 28) assert_int_equal(bpe_vocab_find(&v, text, (size_t)n + i % 28), TOKENIZER_NONE);
    }
    assert_int_equal(bpe_vocab_find(&v, "control", 7), TOKENIZER_NONE);
    assert_int_equal(bpe_vocab_find(&v, "", 0), TOKENIZER_NONE);
    bpe_vocab_fini(&v);

    assert_ok(bpe_vocab_set(&v, 0, "same", 4, BPE_PIECE_NORMAL, &e), e);
    assert_ok(bpe_vocab_set(&v, 5, "same", 4, BPE_PIECE_USER, &e), e);
    assert_true(bpe_vocab_index(&v, &e) < 0);
    assert_contains(e.text, "ids 0 and 5 are the same piece");
    bpe_vocab_fini(&v);

    bpe_vocab_limit_ids(&v, 10);
    assert_true(bpe_vocab_set(&v, 1000000, "a", 1, BPE_PIECE_NORMAL, &e) < 0);
    bpe_vocab_fini(&v);
}

static void test_digits(void **state)
{
    (void)state;
    uint64_t v;
    assert_int_equal(digits_parse("", 0, &v), 0);
    assert_int_equal(digits_parse("-1", 2, &v), 0);
    assert_int_equal(digits_parse("0123x", 5, &v), 4);
    assert_int_equal(v, 123);
    assert_int_equal(digits_parse("18446744073709551614", 20, &v), 20);
    assert_true(v == UINT64_MAX - 1);
    assert_int_equal(digits_parse("18446744073709551616000", 23, &v), 23);
    assert_true(v == UINT64_MAX);
}

/* A table gives back what was put in, and nothing for other keys; a heap sorts. */
static void test_table_and_heap(void **state)
{
    (void)state;
    struct table t = {0};
    struct heap h = {0};
    for (uint32_t i = 0; i < 3000; i++) {
        *table_put(&t, table_pair(i % 100, i / 100)) = i;
        heap_push(&h, (struct heap_entry){rng_u64(1, 2, i) % 50, rng_u64(1, 3, i)});
    }
    assert_int_equal(t.count, 3000);
    for (uint32_t i = 0; i < 3000; i++)
        assert_int_equal(table_slot(&t, table_pair(i % 100, i / 100))->value, i);
    assert_int_equal(table_slot(&t, table_pair(100, 0))->value, TABLE_NONE);
    for (struct heap_entry last = {0}, next; h.count; last = next) {
        next = heap_pop(&h);
        assert_true(next.order > last.order || (next.order == last.order && next.tie >= last.tie));
    }
    table_fini(&t);
    heap_fini(&h);
}

/* The padded and the plain way to a key are one. */
static void test_keys(void **state)
{
    (void)state;
    char text[64];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)rng_u64(3, 4, i);
    for (size_t at = 0; at < 16; at++)
        for (size_t n = 0; n < 40; n++)
            assert_int_equal(bpe_key(text + at, n), bpe_key_padded(text + at, n));
    assert_true(bpe_key("a", 1) != bpe_key("a\0", 2));
    assert_true(bpe_key("", 0) != bpe_key("\0", 1));
}

/* ------------------------------------------------------------------ matching */

static void test_match(void **state)
{
    (void)state;
    static const char *const strings[] = {"ab",     "abcd",     "b",      "<|a|>",
                                          "<|ab|>", "\xff\x01", "aaaaaaa"};
    static const char *const parts[] = {"a", "b", "c", "d", "<", "|", ">", "\xff", "\x01", "<|a"};
    struct match_set set = {0};
    struct str text = {0};
    uint32_t id = 0;
    assert_int_equal(match_set_longest(&set, "a", 1, &id), 0);
    for (uint32_t i = 0; i < ARRAY_LEN(strings); i++)
        match_set_add(&set, strings[i], strlen(strings[i]), i);
    match_set_add(&set, "ab", 2, 99); /* the first stays */
    for (uint64_t k = 0; k < 20000; k++) {
        random_text(&text, 8, k, parts, ARRAY_LEN(parts), 6, 0);
        size_t longest = 0, want = 0;
        for (size_t i = 0; i < ARRAY_LEN(strings); i++)
            if (strlen(strings[i]) > longest && text.len >= strlen(strings[i]) &&
                memcmp(text.data, strings[i], strlen(strings[i])) == 0) {
                longest = strlen(strings[i]);
                want = i;
            }
        if (!text.len) continue;
        assert_int_equal(match_set_longest(&set, text.data, text.len, &id), longest);
        if (longest) assert_int_equal(id, want);
    }
    match_set_fini(&set);
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_giant_word),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_large_ids),
        cmocka_unit_test(test_vocab),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_table_and_heap),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
