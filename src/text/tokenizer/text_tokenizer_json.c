/* text_tokenizer_json.c: tokenizer.json (Hugging Face, byte-level BPE) and tokenizer.tok.json (the
 * form in which Grok-2's vocabulary comes).
 *
 * Of tokenizer.json these parts decide about ids, and each is either followed or refused with a
 * message that names it:
 *   normalizer      null or NFC
 *   pre_tokenizer   ByteLevel, or a Sequence of Split (a regular expression, isolated) and Digits
 *                   that ends with ByteLevel
 *   model           BPE over byte characters: vocab, merges ("a b" or ["a", "b"]), ignore_merges;
 *                   no dropout, prefixes or suffixes
 *   added_tokens    special ones are control tokens, others match in any text; single_word, lstrip
 *                   and rstrip are refused
 *   decoder         null or ByteLevel
 * The post-processor adds BOS and EOS, which tokenizer_encode never does; it is not looked at.
 *
 * A piece is written in characters that stand for bytes (GPT-2's table): U+0120 is a space. */
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

/* The limit keeps a short file from claiming gigabytes. */
static int id_of(const json_t *v, uint32_t *id, struct error *e)
{
    if (!json_is_integer(v)) return error_set(e, "the id is not a number");
    json_int_t value = json_integer_value(v);
    if (value < 0 || value >= TOKENIZER_MAX_IDS)
        return error_set(e, "id %lld is not in 0 to %u", (long long)value, TOKENIZER_MAX_IDS - 1);
    *id = (uint32_t)value;
    return 0;
}

/* Everything that would change ids and is not done here ends in this message. */
int form_refused(const char *what, const char *type, struct error *e)
{
    return error_set(e, "%s '%s' is not supported", what, type[0] ? type : "(no type)");
}

/* ------------------------------------------------------------------ added tokens */

/* By default a special token matches before normalisation, another one after it. */
static int add_added_token(struct tokenizer *t, const json_t *token, struct error *e)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    const json_t *content = json_object_get(token, "content");
    uint32_t id;
    TRY(id_of(json_object_get(token, "id"), &id, e));
    if (!json_is_string(content) || !json_string_length(content))
        return error_set(e, "content is not a string or empty");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (form_true(token, flags[i])) return error_set(e, "%s is not supported", flags[i]);
    bool control = form_true(token, "special");
    bool raw = form_has(token, "normalized") ? !form_true(token, "normalized") : control;
    TRY(bpe_vocab_set(&t->bpe.vocab, id, json_string_value(content), json_string_length(content),
                      control ? BPE_PIECE_CONTROL : BPE_PIECE_USER, e));
    t->bpe.vocab.pieces[id].dead = true; /* until the model's own vocabulary has it too */
    tokenizer_special_add(t, id, control, raw);
    return 0;
}

static int read_added_tokens(struct tokenizer *t, const json_t *tokens, struct error *e)
{
    if (tokens && !json_is_null(tokens) && !json_is_array(tokens))
        return error_set(e, "added_tokens is not a list");
    for (size_t i = 0; i < json_array_size(tokens); i++)
        if (add_added_token(t, json_array_get(tokens, i), e) < 0)
            return error_context(e, "added_tokens[%zu]", i);
    return 0;
}

/* Puts every added token into the sets that encoding looks at. */
static void fill_match_sets(struct tokenizer *t)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_special *s = &t->specials[i];
        const char *text = bpe_vocab_bytes(&t->bpe.vocab, s->id);
        size_t size = t->bpe.vocab.pieces[s->id].size;
        struct match_set *sets = s->raw ? t->raw : t->normal;
        if (!s->control) match_set_add(&sets[0], text, size, s->id);
        match_set_add(&sets[1], text, size, s->id);
    }
}

/* ------------------------------------------------------------------ model */

static int add_vocab_entry(struct tokenizer *t, const char *key, const json_t *value,
                           struct str *bytes, struct error *e)
{
    struct bpe_vocab *v = &t->bpe.vocab;
    size_t size = strlen(key);
    uint32_t id;
    TRY(id_of(value, &id, e));
    if (!size) return error_set(e, "an empty piece");
    bool plain = tokenizer_chars_to_bytes(key, size, bytes);
    if (id < v->count && v->pieces[id].type >= BPE_PIECE_USER) {
        /* An added token that the model knows under the same name. */
        struct bpe_piece *piece = &v->pieces[id];
        if (piece->size != size || memcmp(bpe_vocab_bytes(v, id), key, size) != 0)
            return error_set(e, "id %u has another name in added_tokens or vocab", id);
        piece->dead = !plain || bytes->len != size || memcmp(bytes->data, key, size) != 0;
        return 0;
    }
    /* Characters that stand for no byte: nothing merges to it, it decodes to itself. */
    TRY(bpe_vocab_set(v, id, plain ? bytes->data : key, plain ? bytes->len : size, BPE_PIECE_NORMAL,
                      e));
    v->pieces[id].dead = !plain;
    return 0;
}

static int read_vocab(struct tokenizer *t, json_t *vocab, struct str *bytes, struct error *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(vocab)) return error_set(e, "model.vocab is not an object");
    json_object_foreach(vocab, key, value)
    {
        if (add_vocab_entry(t, key, value, bytes, e) < 0)
            return error_context(e, "model.vocab '%.40s'", key);
    }
    return bpe_vocab_index(&t->bpe.vocab, e);
}

/* The two sides of "a b" or ["a", "b"]. */
static bool merge_sides(const json_t *merge, const char *side[2], size_t size[2])
{
    if (json_is_array(merge)) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *v = json_array_get(merge, i);
            if (!json_is_string(v)) return false;
            side[i] = json_string_value(v);
            size[i] = json_string_length(v);
        }
        return json_array_size(merge) == 2;
    }
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    side[0] = text;
    size[0] = (size_t)(space - text);
    side[1] = space + 1;
    size[1] = strlen(space + 1);
    return true;
}

/* What the two give must be a piece too: merging goes from id to id. */
static int add_merge(struct tokenizer *t, const json_t *merge, uint32_t rank, struct str bytes[2],
                     struct error *e)
{
    const char *side[2];
    size_t size[2];
    uint32_t id[2];
    if (!merge_sides(merge, side, size)) return error_set(e, "not two pieces");
    for (int i = 0; i < 2; i++) {
        bool plain = size[i] && tokenizer_chars_to_bytes(side[i], size[i], &bytes[i]);
        id[i] = plain ? bpe_vocab_find(&t->bpe.vocab, bytes[i].data, bytes[i].len) : TOKENIZER_NONE;
        if (id[i] == TOKENIZER_NONE)
            return error_set(e, "'%.*s' is not in the vocabulary", (int)MIN(size[i], 60), side[i]);
    }
    str_append(&bytes[0], bytes[1].data, bytes[1].len);
    uint32_t joined = bpe_vocab_find(&t->bpe.vocab, bytes[0].data, bytes[0].len);
    if (joined == TOKENIZER_NONE) return error_set(e, "what it gives is not in the vocabulary");
    if (!bpe_pairs_add(&t->bpe, id[0], id[1], rank, joined))
        return error_set(e, "the merges are made to collide");
    return 0;
}

static int read_merges(struct tokenizer *t, const json_t *merges, struct error *e)
{
    struct str bytes[2] = {{0}, {0}};
    if (!json_is_array(merges)) return error_set(e, "model.merges is not a list");
    int rc = bpe_pairs_init(&t->bpe, json_array_size(merges), e);
    for (size_t i = 0; rc == 0 && i < json_array_size(merges); i++) {
        rc = add_merge(t, json_array_get(merges, i), (uint32_t)i, bytes, e);
        if (rc < 0) error_context(e, "model.merges[%zu]", i);
    }
    str_fini(&bytes[0]);
    str_fini(&bytes[1]);
    return rc;
}

static int read_model(struct tokenizer *t, const json_t *model, struct error *e)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!json_is_object(model)) return error_set(e, "model is not an object");
    if (form_has(model, "type") && strcmp(form_text(model, "type"), "BPE") != 0)
        return form_refused("model.type", form_text(model, "type"), e);
    if (form_has(model, "dropout") && json_number_value(json_object_get(model, "dropout")) != 0.0)
        return error_set(e, "model.dropout is not supported");
    for (size_t i = 0; i < ARRAY_LEN(affixes); i++)
        if (form_text(model, affixes[i])[0])
            return error_set(e, "model.%s is not supported", affixes[i]);
    t->bpe.rule = BPE_JOIN_PAIRS;
    t->bpe.whole_words = form_true(model, "ignore_merges");
    struct str bytes = {0};
    int rc = read_vocab(t, json_object_get(model, "vocab"), &bytes, e);
    str_fini(&bytes);
    if (rc == 0) rc = read_merges(t, json_object_get(model, "merges"), e);
    return rc;
}

/* ------------------------------------------------------------------ normalizer, and the whole */

/* A Sequence may hold several, but not another Sequence: nothing recurses over a file's nesting. */
static int read_normalizer(struct tokenizer *t, const json_t *normalizer, bool nested,
                           struct error *e)
{
    if (!normalizer || json_is_null(normalizer)) return 0;
    const char *type = form_text(normalizer, "type");
    if (strcmp(type, "NFC") == 0) {
        t->nfc = true;
        return 0;
    }
    if (strcmp(type, "Sequence") != 0 || nested) return form_refused("normalizer", type, e);
    const json_t *list = json_object_get(normalizer, "normalizers");
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(read_normalizer(t, json_array_get(list, i), true, e));
    return 0;
}

/* Added tokens come before the model: its vocabulary may name some of them again. */
static int read_tokenizer_json(struct tokenizer *t, const json_t *root, struct error *e)
{
    const json_t *decoder = json_object_get(root, "decoder");
    const json_t *model = json_object_get(root, "model");
    t->algorithm = TOKENIZER_BYTE_LEVEL;
    bpe_vocab_limit_ids(&t->bpe.vocab, json_object_size(json_object_get(model, "vocab")) +
                                           json_array_size(json_object_get(root, "added_tokens")));
    TRY(read_normalizer(t, json_object_get(root, "normalizer"), false, e));
    TRY(pretoken_read(t, json_object_get(root, "pre_tokenizer"), e));
    if (decoder && !json_is_null(decoder) && strcmp(form_text(decoder, "type"), "ByteLevel") != 0)
        return form_refused("decoder", form_text(decoder, "type"), e);
    TRY(read_added_tokens(t, json_object_get(root, "added_tokens"), e));
    TRY(read_model(t, model, e));
    fill_match_sets(t);
    return tokenizer_bytes_check(t, e);
}

/* ------------------------------------------------------------------ tokenizer.tok.json */

/* {"bytes": [60, 124], "token": 7} */
static int add_tok_entry(struct tokenizer *t, const json_t *entry, bool control, struct str *bytes,
                         struct error *e)
{
    const json_t *list = json_object_get(entry, "bytes");
    uint32_t id;
    TRY(id_of(json_object_get(entry, "token"), &id, e));
    str_clear(bytes);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 255)
            return error_set(e, "bytes[%zu] is not a byte", i);
        str_append_char(bytes, (char)json_integer_value(v));
    }
    if (!bytes->len) return error_set(e, "bytes is not a list or empty");
    if (control) tokenizer_special_add(t, id, true, true);
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
    TRY(pretoken_add(&t->pretoken, pattern, strlen(pattern), e));
    bpe_vocab_limit_ids(&t->bpe.vocab,
                        json_array_size(json_object_get(root, "regular_tokens")) +
                            json_array_size(json_object_get(root, "special_tokens")));
    TRY(add_tok_list(t, root, "regular_tokens", false, e));
    TRY(add_tok_list(t, root, "special_tokens", true, e));
    TRY(bpe_vocab_index(&t->bpe.vocab, e));
    fill_match_sets(t);
    return tokenizer_bytes_check(t, e);
}

/* ------------------------------------------------------------------ either */

int tokenizer_parse_json(struct tokenizer *t, const char *data, size_t size, const char *name,
                         struct error *e)
{
    json_t *root;
    TRY(json_parse(data, size, name, &root, e));
    int rc;
    if (json_object_get(root, "model")) {
        rc = read_tokenizer_json(t, root, e);
    } else if (json_object_get(root, "regular_tokens")) {
        rc = read_tok_json(t, root, e);
    } else {
        rc = error_set(e, "no 'model' and no 'regular_tokens'");
        error_hint(e, "a tokenizer.json of Hugging Face has a 'model'");
    }
    if (rc < 0) error_context(e, "'%s'", name);
    if (rc == 0) tokenizer_specials_guess(t);
    json_decref(root);
    return rc;
}
