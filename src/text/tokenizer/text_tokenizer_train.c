/* text_tokenizer_train.c: from a corpus to a tokenizer.json.
 *
 * Ids are Hugging Face's: special tokens first, then the 256 bytes in the order of the characters
 * that stand for them, then what was learned, in the order of learning. The file holds what that
 * library writes itself and is read back before it is put in place, so that a file that exists is
 * one that loads. */
#include "text/tokenizer/text_tokenizer_internal.h"

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

/* ------------------------------------------------------------------ tokenizer.json */

static void append_chars(struct str *out, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char utf8[4];
        str_append(out, utf8, utf8_encode(tokenizer_byte_char((uint8_t)bytes[i]), utf8));
    }
}

/* A token's name in the file, at the end of *name. */
static void append_name(const struct bpe_learned *l, uint32_t id, struct str *name)
{
    const char *bytes = l->bytes.data + l->tokens[id].offset;
    if (id < l->n_special)
        str_append(name, bytes, l->tokens[id].size);
    else
        append_chars(name, bytes, l->tokens[id].size);
}

static void write_specials(struct json_writer *w, const struct bpe_learned *l)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    jsonw_open(w, "added_tokens", '[');
    for (uint32_t id = 0; id < l->n_special; id++) {
        jsonw_open(w, NULL, '{');
        jsonw_int(w, "id", id);
        jsonw_string_n(w, "content", l->bytes.data + l->tokens[id].offset, l->tokens[id].size);
        for (size_t i = 0; i < ARRAY_LEN(flags); i++)
            jsonw_bool(w, flags[i], false);
        jsonw_bool(w, "special", true);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void write_byte_level(struct json_writer *w, const char *key)
{
    jsonw_open(w, key, '{');
    jsonw_string(w, "type", "ByteLevel");
    jsonw_bool(w, "add_prefix_space", false);
    jsonw_bool(w, "trim_offsets", true);
    jsonw_bool(w, "use_regex", false);
    jsonw_close(w, '}');
}

static void write_pre_tokenizer(struct json_writer *w, const char *pattern)
{
    jsonw_open(w, "pre_tokenizer", '{');
    jsonw_string(w, "type", "Sequence");
    jsonw_open(w, "pretokenizers", '[');
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "type", "Split");
    jsonw_open(w, "pattern", '{');
    jsonw_string(w, "Regex", pattern);
    jsonw_close(w, '}');
    jsonw_string(w, "behavior", "Isolated");
    jsonw_bool(w, "invert", false);
    jsonw_close(w, '}');
    write_byte_level(w, NULL);
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static void write_model(struct json_writer *w, const struct bpe_learned *l)
{
    static const char *const nothing[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                          "end_of_word_suffix"};
    static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    struct str name = {0};
    jsonw_open(w, "model", '{');
    jsonw_string(w, "type", "BPE");
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
        jsonw_string(w, nothing[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(off); i++)
        jsonw_bool(w, off[i], false);
    jsonw_open(w, "vocab", '{');
    for (uint32_t id = 0; id < l->n_tokens; id++) {
        str_clear(&name);
        append_name(l, id, &name);
        jsonw_int(w, name.data, id);
    }
    jsonw_close(w, '}');
    jsonw_open(w, "merges", '[');
    for (size_t i = 0; i < l->n_merges; i++) {
        str_clear(&name);
        append_name(l, l->merges[i][0], &name);
        str_append_char(&name, ' ');
        append_name(l, l->merges[i][1], &name);
        jsonw_string_n(w, NULL, name.data, name.len);
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    str_fini(&name);
}

static void write_tokenizer(const struct bpe_learned *l, const char *pattern, struct str *out)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "version", "1.0");
    jsonw_string(&w, "truncation", NULL);
    jsonw_string(&w, "padding", NULL);
    write_specials(&w, l);
    jsonw_string(&w, "normalizer", NULL);
    write_pre_tokenizer(&w, pattern);
    jsonw_string(&w, "post_processor", NULL);
    write_byte_level(&w, "decoder");
    write_model(&w, l);
    jsonw_close(&w, '}');
    str_append_char(out, '\n');
}

/* ------------------------------------------------------------------ training */

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
