/* text_tokenizer_train.c: from a corpus to a tokenizer.json.
 *
 * Ids are Hugging Face's: special tokens first, then the 256 bytes in the order of the characters
 * that stand for them, then what was learned, in the order of learning. The file holds what that
 * library writes itself and is read back before it is put in place, so that a file that exists is
 * one that loads. */
#include "text/learn/text_learn_internal.h"

#define BYTE_TOKENS 256u

static const char *const default_specials[] = {"<|eos|>", "<|pad|>", "<|separator|>"};

/* The options with the defaults filled in. */
static struct tokenizer_train_options with_defaults(const struct tokenizer_train_options *o)
{
    struct tokenizer_train_options full = *o;
    if (!full.special_tokens) {
        full.special_tokens = default_specials;
        full.n_special_tokens = ARRAY_LEN(default_specials);
    }
    if (!full.pattern) full.pattern = PRETOKEN_PATTERN_GROK2;
    return full;
}

/* A special token must not be what the file calls another token: names are unique there. */
static int check_special(const struct tokenizer_train_options *o, size_t i, struct str *bytes,
                         struct error *e)
{
    const char *text = o->special_tokens[i];
    size_t size = strlen(text);
    if (!size) return error_set(e, "special token %zu is empty", i);
    if (size > TOKENIZER_MAX_PIECE)
        return error_set(e, "special token %zu has %zu bytes, the limit is %u", i, size,
                         TOKENIZER_MAX_PIECE);
    if (utf8_valid_size(text, size) != size)
        return error_set(e, "special token '%s' is not valid UTF-8", text);
    if (tokenizer_chars_to_bytes(text, size, bytes) && bytes->len == 1)
        return error_set(e, "special token '%s' is the name of a byte", text);
    for (size_t k = 0; k < i; k++)
        if (strcmp(o->special_tokens[k], text) == 0)
            return error_set(e, "special token '%s' is given twice", text);
    return 0;
}

static int check_options(const struct tokenizer_train_options *o, struct error *e)
{
    struct str bytes = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < o->n_special_tokens; i++)
        rc = check_special(o, i, &bytes, e);
    str_fini(&bytes);
    if (rc < 0) return rc;
    size_t least = BYTE_TOKENS + o->n_special_tokens;
    if (o->vocab_size < least || o->vocab_size > TOKENIZER_MAX_IDS) {
        error_set(e, "a vocabulary of %u tokens is not possible", o->vocab_size);
        return error_hint(e, "take %zu (256 bytes and %zu special tokens) to %u", least,
                          o->n_special_tokens, TOKENIZER_MAX_IDS);
    }
    return 0;
}

/* Special tokens and bytes. */
static void add_first_tokens(struct bpe_learned *l, const struct tokenizer_train_options *o)
{
    for (size_t i = 0; i < o->n_special_tokens; i++)
        bpe_learned_add(l, o->special_tokens[i], strlen(o->special_tokens[i]));
    l->n_special = (uint32_t)o->n_special_tokens;
    for (uint32_t cp = 0; cp < 2 * BYTE_TOKENS; cp++) {
        char byte = (char)tokenizer_char_byte(cp);
        if (tokenizer_char_byte(cp) >= 0) bpe_learned_add(l, &byte, 1);
    }
}

/* ------------------------------------------------------------------ tokenizer.json
 * Every member that Hugging Face's library writes is there, in its order, even those that mean
 * nothing here: some of its versions refuse a file that lacks one. */

/* Appends a token's name in the file: special tokens as they are, others as the characters that
 * stand for their bytes. */
static void append_name(const struct bpe_learned *l, uint32_t id, struct str *name)
{
    const char *bytes = l->bytes.data + l->tokens[id].offset;
    if (id < l->n_special) {
        str_append(name, bytes, l->tokens[id].size);
        return;
    }
    for (uint32_t i = 0; i < l->tokens[id].size; i++) {
        char utf8[4];
        str_append(name, utf8, utf8_encode(tokenizer_byte_char((uint8_t)bytes[i]), utf8));
    }
}

/* Whether the names alone say that the first special token ends documents: it is the only one. */
static bool first_ends_by_name(const struct bpe_learned *l)
{
    bool first = false;
    for (uint32_t id = 0; id < l->n_special; id++) {
        bool ends =
            tokenizer_name_ends_text(l->bytes.data + l->tokens[id].offset, l->tokens[id].size);
        if (id == 0)
            first = ends;
        else if (ends)
            return false;
    }
    return first;
}

/* The first one ends documents. Where its name does not say so it is marked; other readers of the
 * file pass over the mark. */
static json_t *specials_json(const struct bpe_learned *l)
{
    json_t *list = json_array();
    for (uint32_t id = 0; id < l->n_special; id++)
        json_array_append_new(list,
                              json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (int)id,
                                        "content", l->bytes.data + l->tokens[id].offset,
                                        (size_t)l->tokens[id].size, "single_word", 0, "lstrip", 0,
                                        "rstrip", 0, "normalized", 0, "special", 1));
    if (l->n_special > 0 && !first_ends_by_name(l))
        json_object_set_new(json_array_get(list, 0), "ends_document", json_true());
    return list;
}

static json_t *byte_level_json(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0);
}

static json_t *model_json(const struct bpe_learned *l)
{
    json_t *vocab = json_object(), *merges = json_array();
    struct str name = {0};
    for (uint32_t id = 0; id < l->n_tokens; id++) {
        str_clear(&name);
        append_name(l, id, &name);
        json_object_set_new(vocab, name.data, json_integer(id));
    }
    for (size_t i = 0; i < l->n_merges; i++) {
        str_clear(&name);
        append_name(l, l->merges[i][0], &name);
        str_append_char(&name, ' ');
        append_name(l, l->merges[i][1], &name);
        json_array_append_new(merges, json_stringn(name.data, name.len));
    }
    str_fini(&name);
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
}

/* For json_dump_callback. */
static int append_text(const char *text, size_t size, void *out)
{
    str_append(out, text, size);
    return 0;
}

static void write_tokenizer(const struct bpe_learned *l, const char *pattern, struct str *out)
{
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                              pattern, "behavior", "Isolated", "invert", 0);
    json_t *root =
        json_pack("{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:[o, o]}, s:n, s:o, s:o}", "version", "1.0",
                  "truncation", "padding", "added_tokens", specials_json(l), "normalizer",
                  "pre_tokenizer", "type", "Sequence", "pretokenizers", split, byte_level_json(),
                  "post_processor", "decoder", byte_level_json(), "model", model_json(l));
    CHECK(root && json_dump_callback(root, append_text, out, JSON_COMPACT) == 0);
    str_append_char(out, '\n');
    json_decref(root);
}

/* ------------------------------------------------------------------ training */

/* What was written is parsed before it gets its name: a file that exists is one that loads. */
static int save(const struct bpe_learned *l, const char *pattern, const char *path, struct error *e)
{
    struct str text = {0};
    tokenizer_t *check;
    write_tokenizer(l, pattern, &text);
    int rc = tokenizer_parse(text.data, text.len, path, &check, e);
    if (rc == 0) {
        CHECK(tokenizer_vocab_size(check) == l->n_tokens);
        tokenizer_free(check);
        rc = file_write(path, text.data, text.len, e);
    }
    str_fini(&text);
    return rc;
}

static int learn_and_save(const struct tokenizer_train_options *o, const struct bpe_words *words,
                          const char *path, struct error *e)
{
    struct bpe_learned learned = {0};
    if (!words->count) return error_set(e, "the corpus holds no text to learn from");
    add_first_tokens(&learned, o);
    bpe_learn(&learned, words, o->vocab_size, o->show_progress);
    int rc = save(&learned, o->pattern, path, e);
    bpe_learned_fini(&learned);
    return rc;
}

int tokenizer_train(const struct corpus_options *corpus, const struct tokenizer_train_options *o,
                    const char *path, struct error *e)
{
    struct tokenizer_train_options full = with_defaults(o);
    struct pretoken pretoken = {0};
    struct bpe_words words = {0};
    TRY(check_options(&full, e));
    int rc = pretoken_add(&pretoken, full.pattern, strlen(full.pattern), e);
    if (rc == 0) rc = bpe_count_words(corpus, &pretoken, &full, 0, &words, e);
    if (rc == 0) rc = learn_and_save(&full, &words, path, e);
    bpe_words_fini(&words);
    pretoken_fini(&pretoken);
    return rc;
}
