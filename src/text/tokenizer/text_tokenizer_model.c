/* text_tokenizer_model.c: the model and the added tokens of a tokenizer.json.
 *
 *   BPE        vocab, merges ("a b" or ["a", "b"]), unk_token, fuse_unk, byte_fallback,
 *              ignore_merges, continuing_subword_prefix, end_of_word_suffix; no dropout
 *   Unigram    vocab with scores, unk_id, byte_fallback
 *   WordPiece  vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word
 *   WordLevel  vocab, unk_token
 *
 * Behind a pre_tokenizer ByteLevel, which only BPE may have, a piece is written in characters that
 * stand for bytes (GPT-2's table: U+0120 is a space) and kept as its bytes; elsewhere it is text. A
 * key with a character that stands for no byte decodes to itself, and nothing merges to it.
 *
 * An added token may be in the model's vocabulary too, under the same id. One that is not special
 * may then come out of merging as well, and decodes as the model's piece; a special one comes out
 * of text where it is written, of merging where merges lead to it, and of a word that spells it (see
 * bpe_work.control). */
#include "text/tokenizer/text_tokenizer_internal.h"

/* The limit keeps a short file from claiming gigabytes. */
int form_id(const json_t *v, uint32_t *id, struct error *e)
{
    if (!json_is_integer(v)) return error_set(e, "the id is not a number");
    json_int_t value = json_integer_value(v);
    if (value < 0 || value >= TOKENIZER_MAX_IDS)
        return error_set(e, "id %lld is not in 0 to %u", (long long)value, TOKENIZER_MAX_IDS - 1);
    *id = (uint32_t)value;
    return 0;
}

/* ------------------------------------------------------------------ vocabulary */

/* A piece as the file writes it to what it is kept as; false where it is kept as written though its
 * tokenizer is byte-level. */
static bool piece_bytes(const struct tokenizer *t, const char *text, size_t size, struct str *out)
{
    if (t->byte_level && tokenizer_chars_to_bytes(text, size, out)) return true;
    str_clear(out);
    str_append(out, text, size);
    return !t->byte_level;
}

static int add_piece(struct tokenizer *t, const char *key, size_t size, uint32_t id,
                     struct str *bytes, struct error *e)
{
    if (!size) return error_set(e, "an empty piece");
    bool live = piece_bytes(t, key, size, bytes);
    TRY(bpe_vocab_set(&t->bpe.vocab, id, bytes->data, bytes->len, BPE_PIECE_NORMAL, e));
    t->bpe.vocab.pieces[id].dead = !live;
    return 0;
}

static int read_vocab(struct tokenizer *t, json_t *vocab, struct str *bytes, struct error *e)
{
    const char *key;
    json_t *value;
    uint32_t id;
    if (!json_is_object(vocab)) return error_set(e, "model.vocab is not an object");
    json_object_foreach(vocab, key, value)
    {
        struct str name = {0};
        form_key(key, &name);
        int rc = form_id(value, &id, e);
        if (rc == 0) rc = add_piece(t, name.data ? name.data : "", name.len, id, bytes, e);
        str_fini(&name);
        if (rc < 0) return error_context(e, "model.vocab '%.40s'", key);
    }
    return 0;
}

/* A number as serde_json reads it, with which `tokenizers` reads its files: the digits as one whole
 * number, times or divided by a power of ten. Both are rounded, so the last bit may differ from the
 * number that is written, and two ways to cut a word whose sums would be equal are not. The digits
 * are the shortest that mean the number, as every program that makes such files writes them. */
static double as_serde_reads(double value)
{
    char text[40], power[16];
    uint64_t digits = 0;
    int exponent = 0, behind = 0;
    if (value == 0 || !isfinite(value)) return value;
    for (const char *p = json_real_text(text, fabs(value)); *p; p++) {
        if (*p == 'e') {
            exponent += (int)strtol(p + 1, NULL, 10);
            break;
        }
        if (*p == '.') {
            behind = 1;
            continue;
        }
        digits = digits * 10 + (uint64_t)(*p - '0');
        exponent -= behind;
    }
    double read = (double)digits;
    if (exponent < -308) {
        read /= 1e308;
        exponent += 308;
    }
    snprintf(power, sizeof(power), "1e%d", abs(exponent));
    read = exponent < 0 ? read / strtod(power, NULL) : read * strtod(power, NULL);
    return copysign(read, value);
}

/* [["piece", score], ...]: ids are places. */
static int read_scored_vocab(struct tokenizer *t, const json_t *vocab, struct str *bytes,
                             struct error *e)
{
    struct unigram *u = &t->bpe.unigram;
    double least = 0;
    if (!json_array_size(vocab)) return error_set(e, "model.vocab is not a list or empty");
    u->scores = mem_calloc(json_array_size(vocab), sizeof(*u->scores));
    u->n_scores = json_array_size(vocab);
    for (size_t i = 0; i < u->n_scores; i++) {
        const json_t *entry = json_array_get(vocab, i), *score = json_array_get(entry, 1);
        const json_t *piece = json_array_get(entry, 0);
        if (!json_is_string(piece) || !json_is_number(score))
            return error_set(e, "model.vocab[%zu] is not [piece, score]", i);
        if (add_piece(t, json_string_value(piece), json_string_length(piece), (uint32_t)i, bytes,
                      e) < 0)
            return error_context(e, "model.vocab[%zu]", i);
        u->scores[i] = as_serde_reads(json_number_value(score));
        least = i ? MIN(least, u->scores[i]) : u->scores[i];
    }
    u->unknown_score = least - 10;
    return 0;
}

/* ------------------------------------------------------------------ added tokens */

/* The vocabulary of the model, while added tokens are read. */
struct added_reader {
    const json_t *vocab;
    uint32_t next; /* the id of a token that it lacks */
    struct str bytes;
};

/* Does piece id, as long as it is the model's own, spell what is in `bytes`? */
static bool piece_is(const struct bpe_vocab *v, uint32_t id, const struct str *bytes)
{
    return id < v->count && v->pieces[id].type == BPE_PIECE_NORMAL &&
           v->pieces[id].size == bytes->len &&
           memcmp(bpe_vocab_bytes(v, id), bytes->data, bytes->len) == 0;
}

/* The id that Hugging Face's tokenizers give an added token, whatever its `id` says: that of the
 * vocabulary, else the next number behind all others. *known: it is in the vocabulary, and r->bytes
 * spells it. */
static int added_id(struct tokenizer *t, struct added_reader *r, const json_t *token, uint32_t *id,
                    bool *known, struct error *e)
{
    const json_t *content = json_object_get(token, "content");
    const char *name = json_string_value(content);
    uint32_t stated;
    TRY(form_id(json_object_get(token, "id"), &stated, e));
    if (!json_string_length(content)) return error_set(e, "content is not a string or empty");
    const json_t *there = json_object_get(r->vocab, name);
    piece_bytes(t, name, json_string_length(content), &r->bytes);
    const struct bpe_vocab *v = &t->bpe.vocab;
    if (stated < v->count && v->pieces[stated].type != BPE_PIECE_NONE &&
        !piece_is(v, stated, &r->bytes))
        return error_set(e,
                         v->pieces[stated].type == BPE_PIECE_NORMAL
                             ? "id %u has another name in added_tokens or vocab"
                             : "id %u is given twice",
                         stated);
    *id = stated;
    if (there) TRY(form_id(there, id, e));
    *known = piece_is(v, *id, &r->bytes);
    if (!*known) *id = r->next;
    if (*id != stated)
        log_warn("added token '%.60s' says that its id is %u; it is %u, as Hugging Face's "
                 "tokenizers number it",
                 name, stated, *id);
    return 0;
}

/* By default a special token matches before normalisation, another one after it. */
static int add_added_token(struct tokenizer *t, struct added_reader *r, const json_t *token,
                           struct error *e)
{
    const json_t *content = json_object_get(token, "content");
    struct bpe_vocab *v = &t->bpe.vocab;
    uint32_t id = TOKENIZER_NONE;
    bool known = false, control = form_true(token, "special");
    TRY(added_id(t, r, token, &id, &known, e));
    struct tokenizer_special s = {
        .id = id,
        .control = control,
        .raw = form_has(token, "normalized") ? !form_true(token, "normalized") : control,
        .left = form_true(token, "lstrip"),
        .right = form_true(token, "rstrip"),
        .single_word = form_true(token, "single_word")};
    enum bpe_piece_type type = control ? BPE_PIECE_CONTROL : BPE_PIECE_USER;
    if (known) {
        v->pieces[id].type = (uint8_t)type;
    } else {
        TRY(bpe_vocab_set(v, id, r->bytes.data, r->bytes.len, type, e));
        v->pieces[id].dead = true;
    }
    r->next = MAX(r->next, id + 1);
    tokenizer_special_add(t, s, json_string_value(content), json_string_length(content));
    if (form_true(token, "ends_document")) { /* ours, see text_tokenizer_train.c */
        t->eos = id;
        t->eos_marked = true;
    }
    return 0;
}

static int read_added_tokens(struct tokenizer *t, const json_t *vocab, const json_t *tokens,
                             struct error *e)
{
    size_t n_pieces = json_object_size(vocab) + json_array_size(vocab);
    struct added_reader r = {.vocab = vocab, .next = (uint32_t)MIN(n_pieces, TOKENIZER_MAX_IDS)};
    int rc = 0;
    if (tokens && !json_is_null(tokens) && !json_is_array(tokens))
        return error_set(e, "added_tokens is not a list");
    for (size_t i = 0; rc == 0 && i < json_array_size(tokens); i++) {
        rc = add_added_token(t, &r, json_array_get(tokens, i), e);
        if (rc < 0) error_context(e, "added_tokens[%zu]", i);
    }
    str_fini(&r.bytes);
    return rc;
}

/* A token that a Unigram vocabulary has elsewhere, or whose spelling as bytes is another piece's. */
static int check_added_ids(const struct tokenizer *t, struct str *bytes, struct error *e)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_special *s = &t->specials[i];
        const char *name = t->names.data + s->name_at;
        bool live = piece_bytes(t, name, s->name_size, bytes);
        uint32_t id = live ? bpe_vocab_find(&t->bpe.vocab, bytes->data, bytes->len) : s->id;
        if (id == TOKENIZER_NONE || id == s->id) continue;
        error_set(e, "added_tokens: '%.*s' has id %u there, but %u in model.vocab",
                  (int)MIN(s->name_size, 60), name, s->id, id);
        return error_hint(e, "Hugging Face's tokenizers would take %u", id);
    }
    return 0;
}

/* ------------------------------------------------------------------ merges */

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
    size_t n = json_string_length(merge);
    const char *space = text ? memchr(text, ' ', n) : NULL;
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - text))) return false;
    side[0] = text;
    size[0] = (size_t)(space - text);
    side[1] = space + 1;
    size[1] = n - size[0] - 1;
    return true;
}

/* What the two give, without the prefix of the second, must be a piece too: merging goes from id
 * to id. */
static int add_merge(struct tokenizer *t, const json_t *model, uint32_t rank, struct str bytes[2],
                     struct error *e)
{
    const char *side[2];
    size_t size[2], skip = t->bpe.prefix.len;
    uint32_t id[2];
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *merge = json_array_get(json_object_get(model, "merges"), rank);
    if (!merge_sides(merge, side, size)) return error_set(e, "not two pieces");
    for (int i = 0; i < 2; i++) {
        bool live = size[i] && piece_bytes(t, side[i], size[i], &bytes[i]);
        /* No text has such a piece's characters, so the merge never happens. */
        if (size[i] && !live && json_object_get(vocab, side[i])) return 0;
        id[i] = live ? bpe_vocab_find(&t->bpe.vocab, bytes[i].data, bytes[i].len) : TOKENIZER_NONE;
        if (id[i] == TOKENIZER_NONE)
            return error_set(e, "'%.*s' is not in the vocabulary", (int)MIN(size[i], 60), side[i]);
    }
    if (bytes[1].len < skip || (skip && memcmp(bytes[1].data, t->bpe.prefix.data, skip) != 0))
        return error_set(e, "the second does not begin with continuing_subword_prefix");
    str_append(&bytes[0], bytes[1].data + skip, bytes[1].len - skip);
    uint32_t joined = bpe_vocab_find(&t->bpe.vocab, bytes[0].data, bytes[0].len);
    if (joined == TOKENIZER_NONE) return error_set(e, "what it gives is not in the vocabulary");
    if (!bpe_pairs_add(&t->bpe, id[0], id[1], rank, joined))
        return error_set(e, "the merges are made to collide");
    return 0;
}

static int read_merges(struct tokenizer *t, const json_t *model, struct error *e)
{
    const json_t *merges = json_object_get(model, "merges");
    struct str bytes[2] = {{0}, {0}};
    if (!json_is_array(merges)) return error_set(e, "model.merges is not a list");
    int rc = bpe_pairs_init(&t->bpe, json_array_size(merges), e);
    for (size_t i = 0; rc == 0 && i < json_array_size(merges); i++) {
        rc = add_merge(t, model, (uint32_t)i, bytes, e);
        if (rc < 0) error_context(e, "model.merges[%zu]", i);
    }
    str_fini(&bytes[0]);
    str_fini(&bytes[1]);
    return rc;
}

/* ------------------------------------------------------------------ models */

/* unk_token by its key in the vocabulary. */
static int read_unknown(struct tokenizer *t, const json_t *model, bool needed, struct error *e)
{
    const char *name = form_text(model, "unk_token");
    t->bpe.unknown_id = TOKENIZER_NONE;
    if (!name[0] && needed) return error_set(e, "model.unk_token is missing");
    if (!name[0]) return 0;
    const json_t *id = json_object_get(json_object_get(model, "vocab"), name);
    if (!id) return error_set(e, "model.unk_token '%.60s' is not in the vocabulary", name);
    return form_id(id, &t->bpe.unknown_id, e);
}

/* The piece of each byte: behind ByteLevel the byte's own, elsewhere "<0x4F>". */
static void find_byte_pieces(struct tokenizer *t)
{
    for (int i = 0; i < 256; i++) {
        char name[8] = {(char)i, '\0'};
        if (!t->byte_level) snprintf(name, sizeof(name), "<0x%02X>", (unsigned)i);
        t->bpe.byte_ids[i] = bpe_vocab_find(&t->bpe.vocab, name, t->byte_level ? 1 : 6);
    }
}

static int read_bpe(struct tokenizer *t, const json_t *model, struct str *bytes, struct error *e)
{
    struct bpe_model *m = &t->bpe;
    const char *prefix = form_text(model, "continuing_subword_prefix");
    const char *suffix = form_text(model, "end_of_word_suffix");
    if (form_has(model, "dropout") && json_number_value(json_object_get(model, "dropout")) != 0.0)
        return error_set(e, "model.dropout is not supported");
    m->rule = BPE_JOIN_PAIRS;
    m->whole_words = form_true(model, "ignore_merges");
    m->characters = !t->byte_level;
    m->byte_fallback = form_true(model, "byte_fallback") && !t->byte_level;
    m->fuse_unknown = form_true(model, "fuse_unk");
    str_puts(&m->prefix, prefix);
    str_puts(&m->suffix, suffix);
    TRY(read_unknown(t, model, false, e));
    m->looked_up =
        m->characters || m->prefix.len || m->suffix.len || m->unknown_id != TOKENIZER_NONE;
    TRY(bpe_vocab_index(&m->vocab, e));
    find_byte_pieces(t);
    for (int i = 0; i < 256 && t->byte_level; i++) /* a byte without a piece vanishes, as there */
        m->looked_up = m->looked_up || m->byte_ids[i] == TOKENIZER_NONE;
    (void)bytes;
    return read_merges(t, model, e);
}

static int read_unigram(struct tokenizer *t, const json_t *model, struct error *e)
{
    struct bpe_model *m = &t->bpe;
    m->rule = BPE_UNIGRAM;
    m->byte_fallback = form_true(model, "byte_fallback");
    if (!form_has(model, "unk_id"))
        return error_set(e, "model.unk_id is missing: not every text could be encoded");
    TRY(form_id(json_object_get(model, "unk_id"), &m->unknown_id, e));
    if (m->vocab.blob_size > UNIGRAM_MAX_BYTES)
        return error_set(e, "pieces of %zu bytes, the limit of Unigram is %zu", m->vocab.blob_size,
                         UNIGRAM_MAX_BYTES);
    m->vocab.doubles = true;
    if (m->unknown_id >= m->unigram.n_scores)
        return error_set(e, "model.unk_id is not in the vocabulary");
    TRY(bpe_vocab_index(&m->vocab, e));
    find_byte_pieces(t);
    for (uint32_t id = 0; id < m->unigram.n_scores; id++) {
        const struct bpe_piece *piece = &m->vocab.pieces[id];
        unigram_add(&m->unigram, bpe_vocab_bytes(&m->vocab, id), piece->size, id,
                    piece->type == BPE_PIECE_CONTROL);
    }
    return 0;
}

static int read_words(struct tokenizer *t, const json_t *model, bool pieces, struct error *e)
{
    struct bpe_model *m = &t->bpe;
    m->rule = pieces ? BPE_WORDPIECE : BPE_WORDLEVEL;
    m->whole_words = !pieces;
    TRY(read_unknown(t, model, true, e));
    const json_t *limit = json_object_get(model, "max_input_chars_per_word");
    m->word_limit = json_is_integer(limit) && json_integer_value(limit) >= 0
                        ? (size_t)json_integer_value(limit)
                        : 100;
    str_puts(&m->prefix, form_has(model, "continuing_subword_prefix")
                             ? form_text(model, "continuing_subword_prefix")
                         : pieces ? "##"
                                  : "");
    return bpe_vocab_index(&m->vocab, e);
}

/* Files of before 2021 name no type: only Unigram's vocabulary is a list, and only BPE has merges. */
static const char *model_type(const json_t *model)
{
    if (form_has(model, "type")) return form_text(model, "type");
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    return form_has(model, "merges") ? "BPE" : "WordPiece";
}

int tokenizer_read_model(struct tokenizer *t, const json_t *root, struct error *e)
{
    const json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_object(model)) return error_set(e, "model is not an object");
    const char *type = model_type(model);
    bool bpe = strcmp(type, "BPE") == 0, unigram = strcmp(type, "Unigram") == 0;
    bool wordpiece = strcmp(type, "WordPiece") == 0;
    if (!bpe && !unigram && !wordpiece && strcmp(type, "WordLevel") != 0)
        return form_refused("model.type", type, e);
    if (t->byte_level && !bpe) return form_refused("behind ByteLevel model.type", type, e);
    struct str bytes = {0};
    bpe_vocab_limit_ids(&t->bpe.vocab, json_object_size(vocab) + json_array_size(vocab) +
                                           json_array_size(json_object_get(root, "added_tokens")));
    int rc = unigram ? read_scored_vocab(t, vocab, &bytes, e) : read_vocab(t, vocab, &bytes, e);
    if (rc == 0) rc = read_added_tokens(t, vocab, json_object_get(root, "added_tokens"), e);
    if (rc == 0 && bpe) rc = read_bpe(t, model, &bytes, e);
    if (rc == 0 && unigram) rc = read_unigram(t, model, e);
    if (rc == 0 && !bpe && !unigram) rc = read_words(t, model, wordpiece, e);
    if (rc == 0) rc = check_added_ids(t, &bytes, e);
    str_fini(&bytes);
    return rc;
}
