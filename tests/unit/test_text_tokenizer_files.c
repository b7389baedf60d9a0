/* test_text_tokenizer_files.c: tokenizers from files, in every format, against ids that other
 * programs made (tests/data/tokenizer); special tokens; decoding; and files that are wrong. */
#include "text_tokenizer_fixture.h"

/* ------------------------------------------------------------------ known answers */

static void test_hugging_face(void **state)
{
    (void)state;
    static const char *const names[] = {"hf-grok2",  "hf-gpt2",   "hf-prefix",     "hf-llama3-nfc",
                                        "hf-stages", "hf-digits", "hf-whole-words"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.json", names[i]);
        tokenizer_t *t = load_tokenizer(path);
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.cases.jsonl", names[i]);
        assert_true(check_cases(t, path, TOKENIZER_PARSE_SPECIAL) > 35);
        assert_string_equal(tokenizer_kind(t), "byte-level bpe");
        assert_int_equal(tokenizer_eos(t), 0);
        assert_int_equal(tokenizer_bos(t), TOKENIZER_NONE);
        assert_int_equal(find_special(t, "<|separator|>"), 2);
        tokenizer_free(t);
    }
}

static void test_sentencepiece(void **state)
{
    (void)state;
    static const char *const names[] = {"spm-grok1", "spm-trimmed", "spm-phrases", "spm-overlap"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.model", names[i]);
        tokenizer_t *t = load_tokenizer(path);
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.cases.jsonl", names[i]);
        assert_true(check_cases(t, path, 0) > 35);
        assert_string_equal(tokenizer_kind(t), "sentencepiece");
        assert_int_equal(tokenizer_bos(t), 1);
        assert_int_equal(tokenizer_eos(t), 2);
        assert_int_equal(t->cut_at_spaces, i != 2);
        tokenizer_free(t);
    }
}

/* Cutting lines at spaces changes nothing: the same text without the cuts and without the cache. */
static void test_cuts_are_exact(void **state)
{
    (void)state;
    static const char *const parts[] = {"the",
                                        "cable",
                                        " ",
                                        " ",
                                        "  ",
                                        "   ",
                                        "\xe2\x96\x81",
                                        "m",
                                        "a",
                                        "e",
                                        "t",
                                        "h",
                                        "12",
                                        "\t",
                                        "'s",
                                        "\xff",
                                        "<|separator|>",
                                        "\xe2\x96",
                                        "machine",
                                        "\xd0\xb9",
                                        "."};
    static const char *const names[] = {"spm-grok1", "spm-trimmed", "spm-overlap"};
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.model", names[i]);
        tokenizer_t *cut = load_tokenizer(path), *whole = load_tokenizer(path);
        tokenizer_scratch_t *s = tokenizer_scratch_new(cut), *w = tokenizer_scratch_new(whole);
        struct token_array a = {0}, b = {0};
        assert_true(whole->cut_at_spaces);
        whole->cut_at_spaces = false;
        for (uint64_t k = 0; k < 4000; k++) {
            random_text(&text, i, k, parts, ARRAY_LEN(parts), k % 9 ? 14 : 120, 0);
            a.count = b.count = 0;
            tokenizer_encode(cut, s, text.data, text.len, 0, &a);
            tokenizer_encode(whole, w, text.data, text.len, 0, &b);
            assert_int_equal(a.count, b.count);
            if (a.count) assert_memory_equal(a.ids, b.ids, a.count * sizeof(*a.ids));
        }
        token_array_fini(&a);
        token_array_fini(&b);
        tokenizer_scratch_free(s);
        tokenizer_scratch_free(w);
        tokenizer_free(cut);
        tokenizer_free(whole);
    }
    str_fini(&text);
}

/* ------------------------------------------------------------------ special tokens */

static void test_control_tokens(void **state)
{
    (void)state;
    struct error e = {0};
    struct str out = {0};
    size_t size;
    tokenizer_t *t = load_tokenizer(TOKENIZER_DATA "/hf-grok2.json");
    struct token_array as_text = encode(t, "a<|eos|>", 8, 0);
    for (size_t i = 0; i < as_text.count; i++)
        assert_true(as_text.ids[i] > 2);
    struct token_array parsed = encode(t, "a<|eos|>", 8, TOKENIZER_PARSE_SPECIAL);
    assert_int_equal(parsed.count, 2);
    assert_int_equal(parsed.ids[1], 0);
    assert_ok(tokenizer_decode(t, as_text.ids, as_text.count, 0, &out, &e), e);
    assert_string_equal(out.data, "a<|eos|>");
    str_clear(&out);
    assert_ok(tokenizer_decode(t, parsed.ids, 2, 0, &out, &e), e);
    assert_string_equal(out.data, "a");
    str_clear(&out);
    assert_ok(tokenizer_decode(t, parsed.ids, 2, TOKENIZER_PARSE_SPECIAL, &out, &e), e);
    assert_string_equal(out.data, "a<|eos|>");
    assert_non_null(tokenizer_piece(t, 0, &size));
    assert_int_equal(size, 0);
    assert_memory_equal(tokenizer_piece(t, parsed.ids[0], &size), "a", 1);
    assert_int_equal(size, 1);
    assert_null(tokenizer_piece(t, tokenizer_vocab_size(t), &size));
    assert_int_equal(find_special(t, "<|nothing|>"), TOKENIZER_NONE);
    uint32_t bad[] = {5, 100000};
    assert_true(tokenizer_decode(t, bad, 2, 0, &out, &e) < 0);
    assert_contains(e.text, "token 1 is 100000");
    token_array_fini(&as_text);
    token_array_fini(&parsed);
    str_fini(&out);
    tokenizer_free(t);
}

/* Added tokens that are not special match in any text. */
static void test_added_tokens(void **state)
{
    (void)state;
    tokenizer_t *t = load_tokenizer(TOKENIZER_DATA "/hf-gpt2.json");
    uint32_t cable = find_special(t, "the cable");
    assert_int_not_equal(cable, TOKENIZER_NONE);
    struct token_array ids = encode(t, "the cable", 9, 0);
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.ids[0], cable);
    token_array_fini(&ids);
    tokenizer_free(t);
}

static void test_spm_specials(void **state)
{
    (void)state;
    struct error e = {0};
    struct str out = {0};
    tokenizer_t *t = load_tokenizer(TOKENIZER_DATA "/spm-grok1.model");
    uint32_t separator = find_special(t, "<|separator|>");
    struct token_array ids = encode(t, "a<|separator|>[EOS]", 19, TOKENIZER_PARSE_SPECIAL);
    assert_true(ids.count > 3);
    assert_int_equal(ids.ids[1], separator);
    for (size_t i = 0; i < ids.count; i++)
        assert_int_not_equal(ids.ids[i], 2); /* control pieces never match */
    uint32_t around[] = {1, separator, 2};
    assert_ok(tokenizer_decode(t, around, 3, 0, &out, &e), e);
    assert_string_equal(out.data, "<|separator|>");
    str_clear(&out);
    assert_ok(tokenizer_decode(t, around, 3, TOKENIZER_PARSE_SPECIAL, &out, &e), e);
    assert_string_equal(out.data, "[BOS]<|separator|>[EOS]");
    token_array_fini(&ids);
    str_fini(&out);
    tokenizer_free(t);
}

/* ------------------------------------------------------------------ round trips */

static void test_round_trips(void **state)
{
    (void)state;
    static const char *const names[] = {"hf-grok2", "hf-gpt2", "hf-stages", "hf-digits",
                                        "hf-whole-words"};
    static const char *const parts[] = {" ",  "the cable", "Machine",  "\n",   "\r\n", "12", "'s",
                                        "  ", "<|eos|>",   "\xc3\xa9", "\xff", "\t",   "!?"};
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128], bytes[256];
        snprintf(path, sizeof(path), TOKENIZER_DATA "/%s.json", names[i]);
        tokenizer_t *t = load_tokenizer(path);
        tokenizer_scratch_t *s = tokenizer_scratch_new(t);
        for (int b = 0; b < 256; b++)
            bytes[b] = (char)b;
        expect_round_trip(t, s, bytes, 256);
        expect_round_trip(t, s, "", 0);
        for (uint64_t k = 0; k < 3000; k++) {
            random_text(&text, i, k, parts, ARRAY_LEN(parts), 40, k % 3 ? 3 : 1);
            expect_round_trip(t, s, text.data, text.len);
        }
        tokenizer_scratch_free(s);
        tokenizer_free(t);
    }
    str_fini(&text);
}

/* ------------------------------------------------------------------ other formats */

/* The pieces of hf-grok2 as tiktoken would write them: rank by id. */
static void append_base64(struct str *out, const char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < n ? (uint8_t)bytes[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            str_append_char(out, i + k <= n || k < 2 ? digits[bits >> (18 - 6 * k) & 63] : '=');
    }
}

/* What a rank file becomes is the same tokenizer, with nothing left to be said. */
static void check_converted(const struct str *ranks)
{
    struct error e = {0};
    static const char *const specials[] = {"<|endoftext|>=5000", "a=b=5001"};
    struct tokenizer_options o = {.pattern = "llama3", .specials = specials, .n_specials = 2};
    tokenizer_t *t, *again;
    size_t size;
    if (tokenizer_parse_with(ranks->data, ranks->len, "ranks", &o, &t, &e) < 0)
        fail_msg("%s", e.text);
    const char *text = tokenizer_converted(t, &size);
    assert_non_null(text);
    if (tokenizer_parse(text, size, "converted", &again, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(tokenizer_hash(t), tokenizer_hash(again));
    assert_int_equal(tokenizer_eos(t), 5000);
    assert_int_equal(tokenizer_eos(again), 5000);
    assert_int_equal(tokenizer_vocab_size(again), 5002);
    struct token_array a = encode(t, "it's 123456 a=b\n", 16, TOKENIZER_PARSE_SPECIAL);
    struct token_array b = encode(again, "it's 123456 a=b\n", 16, TOKENIZER_PARSE_SPECIAL);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.ids, b.ids, a.count * sizeof(*a.ids));
    assert_int_equal(a.ids[a.count - 2], 5001);
    token_array_fini(&a);
    token_array_fini(&b);
    tokenizer_free(again);
    tokenizer_free(t);
}

/* A byte-level vocabulary whose merges are all of its pieces in order is also a rank file: both
 * forms must give the same ids, but for the three special tokens in front. */
static void test_tiktoken(void **state)
{
    (void)state;
    struct error e = {0};
    struct str file = {0}, text = {0};
    static const char *const parts[] = {" the", "cable", " machine", "\n",
                                        "12",   "'s",    "\xc3\xa9", " "};
    tokenizer_t *hf = load_tokenizer(TOKENIZER_DATA "/hf-grok2.json"), *t;
    for (uint32_t id = 3; id < tokenizer_vocab_size(hf); id++) {
        size_t n;
        const char *piece = tokenizer_piece(hf, id, &n);
        append_base64(&file, piece, n);
        str_printf(&file, " %u%s", id - 3, id % 2 ? "\n" : "\r\n");
    }
    struct tokenizer_options o = {.pattern = "grok2"};
    if (tokenizer_parse_with(file.data, file.len, "ranks", &o, &t, &e) < 0) fail_msg("%s", e.text);
    assert_string_equal(tokenizer_kind(t), "tiktoken");
    assert_int_equal(tokenizer_vocab_size(t), tokenizer_vocab_size(hf) - 3);
    assert_int_equal(tokenizer_eos(t), TOKENIZER_NONE);
    tokenizer_scratch_t *s = tokenizer_scratch_new(t), *h = tokenizer_scratch_new(hf);
    struct token_array a = {0}, b = {0};
    for (uint64_t k = 0; k < 2000; k++) {
        random_text(&text, 1, k, parts, ARRAY_LEN(parts), 12, 9);
        a.count = b.count = 0;
        tokenizer_encode(t, s, text.data, text.len, 0, &a);
        tokenizer_encode(hf, h, text.data, text.len, 0, &b);
        assert_int_equal(a.count, b.count);
        for (size_t i = 0; i < a.count; i++)
            assert_int_equal(a.ids[i] + 3, b.ids[i]);
    }
    token_array_fini(&a);
    token_array_fini(&b);
    tokenizer_scratch_free(s);
    tokenizer_scratch_free(h);
    tokenizer_free(t);
    tokenizer_free(hf);
    str_fini(&text);
    check_converted(&file);
    str_fini(&file);
}

static void test_wrong_ranks(void **state)
{
    (void)state;
    static const char *const special[] = {"<|e|>=5"}, *const taken[] = {"<|e|>=1"},
                             *const bad[] = {"<|e|>"};
    struct tokenizer_options o = {.pattern = "cl100k"}, typo = {.pattern = "cl100"},
                             regex = {.pattern = "(a"};
    expect_refused("IQ== 0\nIg== 1\n", 14, "does not say how text is cut into words");
    expect_refused_with("IQ== 0\nIg== 1\n", 14, &o, "no piece for byte 0x00");
    expect_refused_with("IQ== 0\nIg== 1\n", 14, &typo, "'cl100' is no pattern that is known");
    expect_refused_with("IQ== 0\nIg== 1\n", 14, &regex,
                        "the pattern has a group without ')' at byte 0");
    o.n_specials = 1;
    o.specials = taken;
    expect_refused_with("IQ== 0\nIg== 1\n", 14, &o, "special token '<|e|>=1': id 1 is given twice");
    o.specials = bad;
    expect_refused_with("IQ== 0\nIg== 1\n", 14, &o, "special token '<|e|>' is not NAME=ID");
    o.specials = special;
    expect_refused_with("{}", 2, &o, "is no rank file");
    expect_refused("IQ== 0\nIg= 1\n", 13, "line 2: not 'base64 rank'");
    expect_refused("IQ== 0\nIg== 1x\n", 15, "line 2: the rank is not a number");
    expect_refused("IQ== 0\nIg== 0\n", 14, "id 0 is given twice");
    o.n_specials = 0;
    expect_refused_with("IQ== 0\nIQ== 1\n", 14, &o, "the same piece");
    expect_refused("IQ== 0\nIg== 99999999999999999999\n", 33, "the rank is not a number below");
}

/* Grok-2's form: bytes as numbers, special tokens in the same file. */
static void test_tok_json(void **state)
{
    (void)state;
    struct error e = {0};
    struct str file = {0};
    tokenizer_t *t;
    str_puts(&file, "{\"regular_tokens\":[");
    for (int b = 0; b < 256; b++)
        str_printf(&file, "{\"bytes\":[%d],\"token\":%d},", b, b);
    str_puts(&file, "{\"bytes\":[97,98],\"token\":256},{\"bytes\":[32,97,98],\"token\":257}],"
                    "\"special_tokens\":[{\"bytes\":[60,124,101,111,115,124,62],\"token\":260}],"
                    "\"word_split\":\"V1\",\"vocab_size\":300}");
    if (tokenizer_parse(file.data, file.len, "tok.json", &t, &e) < 0) fail_msg("%s", e.text);
    expect_ids(t, "ab ab a", 0, "256 257 32 97");
    expect_ids(t, "ab<|eos|>1", TOKENIZER_PARSE_SPECIAL, "256 260 49");
    assert_int_equal(tokenizer_eos(t), 260);
    assert_int_equal(tokenizer_vocab_size(t), 261);
    size_t n;
    assert_null(tokenizer_piece(t, 258, &n)); /* a hole */
    uint32_t hole = 258;
    struct str out = {0};
    assert_true(tokenizer_decode(t, &hole, 1, 0, &out, &e) < 0);
    tokenizer_free(t);
    str_fini(&out);

    char *split = strstr(file.data, "V1");
    split[1] = '9';
    expect_refused(file.data, file.len, "word_split 'V9'");
    str_fini(&file);
}

/* llama2.c's export of a vocabulary of bytes, letters and a few joined pieces. */
static void test_llama2(void **state)
{
    (void)state;
    static const char *const pieces[] = {" ", "a", "b", "ab", " ab", "\xc3\xa9"};
    static const float scores[] = {-10, -11, -12, -1, -2, -13};
    struct error e = {0};
    struct str file = {0};
    tokenizer_t *t;
    uint32_t longest = 6;
    str_append(&file, &longest, 4);
    for (uint32_t id = 0; id < 259 + ARRAY_LEN(pieces); id++) {
        char name[8];
        float score = id < 259 ? 0 : scores[id - 259];
        if (id < 259) snprintf(name, sizeof(name), "<0x%02X>", (id - 3) & 255);
        const char *piece = id < 259 ? name : pieces[id - 259];
        uint32_t size = (uint32_t)strlen(piece);
        str_append(&file, &score, 4);
        str_append(&file, &size, 4);
        str_append(&file, piece, size);
    }
    if (tokenizer_parse(file.data, file.len, "tok.bin", &t, &e) < 0) fail_msg("%s", e.text);
    expect_ids(t, "ab abb", 0, "263 263 261");
    expect_ids(t, "\xc3\xa9\n", 0, "259 264 13");
    expect_ids(t, "", 0, "");
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    uint32_t ids[] = {1, 263, 263, 13};
    struct str out = {0};
    assert_ok(tokenizer_decode(t, ids, 4, 0, &out, &e), e);
    assert_string_equal(out.data, "ab ab\n");
    tokenizer_free(t);
    str_fini(&out);
    expect_refused(file.data, file.len - 1, "no tokenizer that is known");
    float nan = __builtin_nanf("");
    memcpy(file.data + file.len - 10, &nan, 4);
    expect_refused(file.data, file.len, "the score is not a number");
    str_fini(&file);
}

/* ------------------------------------------------------------------ what is wrong */

/* hf-grok2.json with one text in it replaced. */
static void changed_file(const char *from, const char *to, struct str *file)
{
    struct error e = {0};
    char *data;
    size_t size;
    assert_ok(file_read(TOKENIZER_DATA "/hf-grok2.json", 1 << 20, &data, &size, &e), e);
    char *at = strstr(data, from);
    if (!at) fail_msg("no '%s' in the file", from);
    str_append(file, data, (size_t)(at - data));
    str_puts(file, to);
    str_puts(file, at + strlen(from));
    mem_free(data);
}

static void refuse_changed(const char *from, const char *to, const char *words)
{
    struct str file = {0};
    changed_file(from, to, &file);
    expect_refused(file.data, file.len, words);
    str_fini(&file);
}

/* A byte without a piece vanishes, as it does with Hugging Face's tokenizers. */
static void test_byte_without_piece(void **state)
{
    struct error e = {0};
    struct str file = {0};
    tokenizer_t *t;
    (void)state;
    changed_file("\"!\":3", "\"!!\":3", &file);
    assert_ok(tokenizer_parse(file.data, file.len, "changed", &t, &e), e);
    expect_ids(t, "!", 0, "");
    struct token_array with = encode(t, "a!b", 3, 0), without = encode(t, "a", 1, 0);
    assert_int_equal(with.count, 2);
    assert_int_equal(with.ids[0], without.ids[0]);
    token_array_fini(&with);
    token_array_fini(&without);
    tokenizer_free(t);
    str_fini(&file);
}

static void test_wrong_json(void **state)
{
    (void)state;
    refuse_changed("\"normalizer\":null", "\"normalizer\":{\"type\":\"Uppercase\"}",
                   "normalizer 'Uppercase' is not supported");
    refuse_changed("\"normalizer\":null",
                   "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}",
                   "the character map is truncated");
#define DOUBLE(c) \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" c "\"},\"content\":\"" c c "\"},"
#define DOUBLE_8 \
    DOUBLE("a") DOUBLE("a") DOUBLE("a") DOUBLE("a") DOUBLE("a") DOUBLE("a") DOUBLE("a") DOUBLE("a")
    refuse_changed(
        "\"normalizer\":null",
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" DOUBLE_8 DOUBLE_8 DOUBLE_8
        "{\"type\":\"NFC\"}]}",
        "a text could become 201326592 times as long");
    refuse_changed("\"type\":\"BPE\"", "\"type\":\"Unigram\"",
                   "behind ByteLevel model.type 'Unigram'");
    refuse_changed("\"dropout\":null", "\"dropout\":0.1", "model.dropout");
    refuse_changed("\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"",
                   "the second does not begin with continuing_subword_prefix");
    refuse_changed("\"type\":\"Split\"", "\"type\":\"UnicodeScripts\"",
                   "pre_tokenizer 'UnicodeScripts'");
    refuse_changed("\"behavior\":\"Isolated\"", "\"behavior\":\"Merged\"", "behavior 'Merged'");
    refuse_changed("\"Regex\":\"", "\"Regex\":\"\\\\X+|", "the pattern has an escape");
    refuse_changed("\"content\":\"<|eos|>\"", "\"content\":\"\"", "added_tokens[0]: content");
    refuse_changed("\"content\":\"<|eos|>\"", "\"content\":\"<|end|>\"", "id 0 has another name");
    refuse_changed("{\"id\":1,", "{\"id\":0,", "added_tokens[1]: id 0 is given twice");
    refuse_changed("{\"id\":1,", "{\"id\":-1,", "id -1 is not in");
    refuse_changed("\"!\":3", "\"!\":3.5", "model.vocab '!': the id is not a number");
    refuse_changed("\"!\":3", "\"!\":4", "id 4 is given twice");
    refuse_changed("\"!\":3", "\"!\":9000000", "id 9000000 is too large");
    refuse_changed("\"merges\":[", "\"merges\":[\"a\",", "model.merges[0]: not two pieces");
    refuse_changed("\"merges\":[", "\"merges\":[[\"a\",\"zzzz\"],",
                   "'zzzz' is not in the vocabulary");
    refuse_changed("\"merges\":[", "\"merges\":[[\"~\",\"~\"],", "what it gives is not in");
    refuse_changed("\"merges\":", "\"merges\":7,\"x\":", "model.merges is not a list");
    refuse_changed("\"vocab\":", "\"vocab\":7,\"x\":", "model.vocab is not an object");
    refuse_changed("\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"Metaspace\"",
                   "decoder 'Metaspace'");
    refuse_changed("\"model\":", "\"modell\":", "no 'model'");
    expect_refused("{}", 2, "no 'model'");
    expect_refused("{\"model\":{}}", 12, "model.vocab is not an object");
    expect_refused("{\"model\":", 9, "file:1");
    expect_refused("", 0, "no tokenizer that is known");
    expect_refused("hello", 5, "no tokenizer that is known");
}

static void test_wrong_spm(void **state)
{
    (void)state;
#define REFUSE_SPM(bytes, words) expect_refused(bytes, sizeof(bytes) - 1, words)
    REFUSE_SPM("\n", "byte 1 is not protobuf");
    REFUSE_SPM("\n\x05\n\x03"
               "ab",
               "not protobuf");
    REFUSE_SPM("\n\x03\n\x03"
               "a",
               "piece 0 is truncated");
    REFUSE_SPM("\n\x00", "piece 0 is empty");
    REFUSE_SPM("\n\x03\n\x01"
               "a",
               "no piece of type UNKNOWN");
    REFUSE_SPM("\n\x03\n\x01"
               "a\x12\x02\x18\x02",
               "no piece of type UNKNOWN");
    REFUSE_SPM("\n\x05\n\x01"
               "a\x18\x05\x12\x02\x18\x02",
               "type UNUSED");
    REFUSE_SPM("\n\x03\n\x01"
               "a\x12\x02\x18\x03",
               "of type word");
    REFUSE_SPM("\n\x05\n\x01"
               "a\x18\x09",
               "unknown type 9");
    REFUSE_SPM("\n\x05\n\x01"
               "a\x18\x06",
               "type BYTE but not named");
    REFUSE_SPM("\n\x0a\n\x06<0x0A>\x18\x06\n\x0a\n\x06<0x0A>\x18\x06", "the same byte");
    REFUSE_SPM("\n\x05\n\x01"
               "a\x18\x02\n\x05\n\x01"
               "b\x18\x02",
               "both of type UNKNOWN");
    REFUSE_SPM("\n\x05\n\x01\xff\x18\x04", "not valid UTF-8");
    REFUSE_SPM("\n\x08\n\x01"
               "a\x15\x00\x00\xc0\x7f",
               "the score is not a number");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\n\x03\n\x01"
               "a\n\x03\n\x01"
               "a\x12\x02\x18\x02",
               "ids 1 and 2 are the same piece");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x12\x05\x18\x02\x98\x02\x01",
               "byte_fallback is set but 0");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x12\x02\x18\x02\x1a\x03\x12\x01x",
               "character map");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x12\x02\x18\x02\x2a\x03\x12\x01x",
               "decoded text goes through a character map");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x12\x05\x18\x02\xc0\x01\x01",
               "whitespace_as_suffix");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x12\x01\x18",
               "trainer_spec");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x1a\x01\x18",
               "normalizer_spec");
    REFUSE_SPM("\n\x05\n\x01"
               "u\x18\x02\x0b",
               "not protobuf"); /* a group */
    REFUSE_SPM("\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not protobuf");

    /* The least that is a model: one unknown piece; everything becomes it. */
    struct error e = {0};
    tokenizer_t *t;
    static const char least[] = "\n\x05\n\x01u\x18\x02\x12\x02\x18\x02";
    if (tokenizer_parse(least, sizeof(least) - 1, "least", &t, &e) < 0) fail_msg("%s", e.text);
    expect_ids(t, "hello world", 0, "0");
    tokenizer_free(t);
}

/* Every prefix of a model, and every model with one byte changed, is taken or refused in peace. */
static void test_damaged_spm(void **state)
{
    (void)state;
    struct error e = {0};
    char *data;
    size_t size, taken = 0;
    assert_ok(file_read(TOKENIZER_DATA "/spm-overlap.model", 1 << 20, &data, &size, &e), e);
    for (size_t i = 0; i < 2 * size; i++) {
        tokenizer_t *t;
        size_t at = i / 2;
        char old = data[at];
        data[at] = (char)rng_u64(1, 2, i);
        if (tokenizer_parse(data, i % 2 ? size : at, "damaged", &t, &e) == 0) {
            struct token_array ids = encode(t, "the cable", 9, 0);
            token_array_fini(&ids);
            tokenizer_free(t);
            taken++;
        }
        data[at] = old;
    }
    assert_true(taken > 0 && taken < 2 * size);
    mem_free(data);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct error e = {0};
    tokenizer_t *t;
    assert_true(tokenizer_load("no/such/file", &t, &e) < 0);
    assert_contains(e.text, "no/such/file");
    assert_null(t);
    tokenizer_free(NULL);
    tokenizer_scratch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hugging_face),
        cmocka_unit_test(test_sentencepiece),
        cmocka_unit_test(test_cuts_are_exact),
        cmocka_unit_test(test_control_tokens),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_spm_specials),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_tiktoken),
        cmocka_unit_test(test_wrong_ranks),
        cmocka_unit_test(test_tok_json),
        cmocka_unit_test(test_llama2),
        cmocka_unit_test(test_wrong_json),
        cmocka_unit_test(test_byte_without_piece),
        cmocka_unit_test(test_wrong_spm),
        cmocka_unit_test(test_damaged_spm),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
