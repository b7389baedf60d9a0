/* text_tokenizer_json.c: tokenizer.json (Hugging Face, byte-level BPE) and tokenizer.tok.json (the
 * form in which Grok-2's vocabulary comes).
 *
 * Of tokenizer.json these parts decide about ids, and each is either followed or refused with a
 * message that names it:
 *   normalizer      text_normal.c
 *   pre_tokenizer   text_pretoken_json.c
 *   model, added_tokens   text_tokenizer_model.c
 *   decoder         text_tokenizer_decode.c
 * The post-processor adds BOS and EOS around a text, which tokenizer_encode never does; truncation
 * and padding shape batches. None of the three is looked at. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ byte characters */

/* Printable bytes of Latin-1 stand for themselves; the other 68 take the code points from 256 on,
 * in order: 33 up to the space, 34 from DEL to the no-break space, and the soft hyphen. */
uint32_t tokenizer_byte_char(uint8_t byte)
{
    if (byte <= 32) return 256u + byte;
    if (byte >= 127 && byte <= 160) return 256u + 33 + (byte - 127u);
    return byte == 173 ? 256 + 67 : byte;
}

int tokenizer_char_byte(uint32_t cp)
{
    if (cp >= 256 && cp < 256 + 33) return (int)(cp - 256);
    if (cp >= 256 + 33 && cp < 256 + 67) return (int)(cp - 256 - 33 + 127);
    if (cp == 256 + 67) return 173;
    return cp < 256 && tokenizer_byte_char((uint8_t)cp) == cp ? (int)cp : -1;
}

bool tokenizer_chars_to_bytes(const char *text, size_t size, struct str *out)
{
    str_clear(out);
    for (size_t i = 0; i < size;) {
        uint32_t cp;
        size_t n = utf8_decode(text + i, size - i, &cp);
        int byte = n ? tokenizer_char_byte(cp) : -1;
        if (byte < 0) return false;
        str_append_char(out, (char)byte);
        i += n;
    }
    return true;
}

/* ------------------------------------------------------------------ JSON */

/* A member that may be missing or null. */
bool form_has(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

const char *form_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

bool form_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

/* Everything that would change ids and is not done here ends in this message. */
int form_refused(const char *what, const char *type, struct error *e)
{
    return error_set(e, "%s '%s' is not supported", what, type[0] ? type : "(no type)");
}

/* ------------------------------------------------------------------ keys with NUL
 *
 * A vocabulary may have U+0000 in a key, written "\u0000", which jansson refuses. Where a file has
 * that escape, a private copy has instead the escape of a noncharacter that the file has nowhere,
 * of the same length, so that lines and columns of errors stay; keys are turned back as they are
 * read (form_key). Strings that are values keep the real one. */

/* Is the backslash at text[at] itself escaped? */
static bool is_escaped(const char *text, size_t at)
{
    size_t n = 0;
    while (n < at && text[at - 1 - n] == '\\')
        n++;
    return n % 2;
}

/* The place of the next unescaped "\u0000" from `at` on, or SIZE_MAX. */
static size_t find_nul(const char *text, size_t size, size_t at)
{
    for (;;) {
        const char *p = at < size ? memmem(text + at, size - at, "\\u0000", 6) : NULL;
        if (!p) return SIZE_MAX;
        if (!is_escaped(text, (size_t)(p - text))) return (size_t)(p - text);
        at = (size_t)(p - text) + 6;
    }
}

/* U+FDD0 in the file, raw or as an escape? */
static bool has_stand_in(const char *text, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++)
        if (text[i] == '\\' && strncasecmp(text + i, "\\ufdd0", 6) == 0) return true;
    return memmem(text, size, FORM_NUL, 3) != NULL;
}

/* The end of the string that holds text[at]: the place of its quotation mark. */
static size_t string_end(const char *text, size_t size, size_t at)
{
    while (at < size && (text[at] != '"' || is_escaped(text, at)))
        at++;
    return at;
}

static bool is_followed_by_colon(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] && strchr(" \t\r\n", text[at]); at++)
        ;
    return at < size && text[at] == ':';
}

/* *copy: what to parse instead; NULL where there is no such key. */
static int replace_nul_keys(const char *data, size_t size, char **copy, struct error *e)
{
    size_t end;
    *copy = NULL;
    for (size_t at = find_nul(data, size, 0); at != SIZE_MAX; at = find_nul(data, size, end)) {
        end = string_end(data, size, at);
        if (!is_followed_by_colon(data, size, end)) continue;
        if (!*copy && has_stand_in(data, size))
            return error_set(e, "keys with both U+0000 and U+FDD0 are not supported");
        if (!*copy) {
            *copy = mem_try_alloc(size);
            if (!*copy) return error_set(e, "no memory for %zu bytes", size);
            memcpy(*copy, data, size);
        }
        for (; at < end; at = find_nul(data, size, at + 6))
            memcpy(*copy + at, "\\ufdd0", 6);
    }
    return 0;
}

void form_key(const char *key, struct str *out)
{
    static const struct str from = {.data = (char *)(uintptr_t)FORM_NUL, .len = 3};
    static const struct str nul = {.data = (char *)(uintptr_t) "", .len = 1};
    text_replace(key, strlen(key), &from, &nul, out);
}

/* ------------------------------------------------------------------ tokenizer.json */

static int read_tokenizer_json(struct tokenizer *t, const json_t *root, struct error *e)
{
    TRY(normal_read(&t->normalizer, json_object_get(root, "normalizer"), e));
    TRY(pretoken_read(t, json_object_get(root, "pre_tokenizer"), e));
    t->algorithm = t->byte_level ? TOKENIZER_BYTE_LEVEL : TOKENIZER_TEXT;
    TRY(tokenizer_read_model(t, root, e));
    TRY(decoder_read(t, json_object_get(root, "decoder"), e));
    tokenizer_match_sets(t);
    return 0;
}

/* ------------------------------------------------------------------ tokenizer.tok.json */

/* {"bytes": [60, 124], "token": 7} */
static int add_tok_entry(struct tokenizer *t, const json_t *entry, bool control, struct str *bytes,
                         struct error *e)
{
    const json_t *list = json_object_get(entry, "bytes");
    uint32_t id;
    TRY(form_id(json_object_get(entry, "token"), &id, e));
    str_clear(bytes);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 255)
            return error_set(e, "bytes[%zu] is not a byte", i);
        str_append_char(bytes, (char)json_integer_value(v));
    }
    if (!bytes->len) return error_set(e, "bytes is not a list or empty");
    struct tokenizer_special s = {.id = id, .control = true, .raw = true};
    if (control) tokenizer_special_add(t, s, bytes->data, bytes->len);
    TRY(bpe_vocab_set(&t->bpe.vocab, id, bytes->data, bytes->len,
                      control ? BPE_PIECE_CONTROL : BPE_PIECE_NORMAL, e));
    t->bpe.vocab.pieces[id].priority = id;
    return 0;
}

static int add_tok_list(struct tokenizer *t, const json_t *root, const char *key, bool control,
                        struct error *e)
{
    const json_t *list = json_object_get(root, key);
    struct str bytes = {0};
    int rc = json_is_array(list) ? 0 : error_set(e, "%s is not a list", key);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = add_tok_entry(t, json_array_get(list, i), control, &bytes, e);
        if (rc < 0) error_context(e, "%s[%zu]", key, i);
    }
    str_fini(&bytes);
    return rc;
}

/* Grok-2's file: ranks as in tiktoken, with the pattern and the special tokens in it. */
static int read_tok_json(struct tokenizer *t, const json_t *root, struct error *e)
{
    t->algorithm = TOKENIZER_TIKTOKEN;
    t->bpe.rule = BPE_JOIN_STRINGS;
    t->bpe.whole_words = true;
    const char *pattern = PRETOKEN_PATTERN_GROK2;
    if (form_has(root, "pat_str"))
        pattern = form_text(root, "pat_str");
    else if (strcmp(form_text(root, "word_split"), "V1") != 0)
        return form_refused("word_split", form_text(root, "word_split"), e);
    TRY(pretoken_add_tiktoken(&t->pretoken, pattern, strlen(pattern), e));
    bpe_vocab_limit_ids(&t->bpe.vocab,
                        json_array_size(json_object_get(root, "regular_tokens")) +
                            json_array_size(json_object_get(root, "special_tokens")));
    TRY(add_tok_list(t, root, "regular_tokens", false, e));
    TRY(add_tok_list(t, root, "special_tokens", true, e));
    TRY(bpe_vocab_index(&t->bpe.vocab, e));
    tokenizer_match_sets(t);
    return tokenizer_bytes_check(t, e);
}

/* ------------------------------------------------------------------ either */

int tokenizer_parse_json(struct tokenizer *t, const char *data, size_t size, const char *name,
                         struct error *e)
{
    json_t *root;
    char *copy;
    if (replace_nul_keys(data, size, &copy, e) < 0) return error_context(e, "'%s'", name);
    int rc = json_parse(copy ? copy : data, size, name, &root, e);
    mem_free(copy);
    if (rc < 0) return rc;
    if (json_object_get(root, "model")) {
        rc = read_tokenizer_json(t, root, e);
    } else if (json_object_get(root, "regular_tokens")) {
        rc = read_tok_json(t, root, e);
    } else {
        rc = error_set(e, "no 'model' and no 'regular_tokens'");
        error_hint(e, "a tokenizer.json of Hugging Face has a 'model'");
    }
    if (rc < 0) error_context(e, "'%s'", name);
    if (rc == 0) tokenizer_specials_by_name(t);
    json_decref(root);
    return rc;
}
