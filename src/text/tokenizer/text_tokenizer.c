/* text_tokenizer.c: the public functions of tokenizers.
 *
 * A file is recognised by its content: '{' begins JSON, a line "base64 number" is tiktoken's, a
 * protobuf message with pieces is SentencePiece's, and what fits llama2.c's lengths to the byte is
 * that. Then everything is one tokenizer with one merging core; only SentencePiece has its own
 * normaliser and decoder (text_spm_encode.c).
 *
 * All but SentencePiece encode so: special tokens that may match cut the text; what lies between is
 * normalised where the file says so, cut into words, and the words become pieces. Control tokens
 * match only with TOKENIZER_PARSE_SPECIAL, so text from outside cannot smuggle one in. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ loading */

void tokenizer_special_add(struct tokenizer *t, struct tokenizer_special s, const char *name,
                           size_t size)
{
    ARRAY_RESERVE(t->specials, t->special_cap, t->n_specials + 1);
    s.name_at = t->names.len;
    s.name_size = size;
    str_append(&t->names, name, size);
    t->specials[t->n_specials++] = s;
}

uint32_t tokenizer_special_find(const struct tokenizer *t, const char *name, size_t size,
                                bool control_only)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_special *s = &t->specials[i];
        if ((!control_only || s->control) && s->name_size == size &&
            memcmp(t->names.data + s->name_at, name, size) == 0)
            return s->id;
    }
    return TOKENIZER_NONE;
}

const struct tokenizer_special *tokenizer_special_of(const struct tokenizer *t, uint32_t id)
{
    for (size_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].id == id) return &t->specials[i];
    return NULL;
}

void tokenizer_match_sets(struct tokenizer *t)
{
    struct str work[2] = {{0}, {0}}, normal = {0};
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_special *s = &t->specials[i];
        const char *name = t->names.data + s->name_at;
        if (s->raw) {
            match_set_add(&t->raw, name, s->name_size, (uint32_t)i);
            continue;
        }
        str_clear(&normal);
        normal_apply(&t->normalizer, work, name, s->name_size, &normal);
        if (normal.len) match_set_add(&t->normal, normal.data, normal.len, (uint32_t)i);
    }
    str_fini(&work[0]);
    str_fini(&work[1]);
    str_fini(&normal);
}

static uint32_t find_control(const struct tokenizer *t, const char *const *names, size_t n)
{
    uint32_t id = TOKENIZER_NONE;
    for (size_t i = 0; i < n && id == TOKENIZER_NONE; i++)
        id = tokenizer_special_find(t, names[i], strlen(names[i]), true);
    return id;
}

/* Written with U+FF5C for '|' and U+2581 for '_'. */
#define DEEPSEEK_EOS "<\357\275\234end\342\226\201of\342\226\201sentence\357\275\234>"
#define DEEPSEEK_BOS "<\357\275\234begin\342\226\201of\342\226\201sentence\357\275\234>"

/* Names under which published models end a document; tokens that end a turn of a conversation
 * (<|im_end|>, <|eot_id|>, <end_of_turn>) or a segment ([SEP]) are not among them. */
bool tokenizer_name_ends_text(const char *name, size_t size)
{
    static const char *const names[] = {"<|eos|>",
                                        "<|endoftext|>",
                                        "<|end_of_text|>",
                                        "</s>",
                                        "<eos>",
                                        "[EOS]",
                                        DEEPSEEK_EOS,
                                        "<EOS>",
                                        "<|EOS|>",
                                        "<EOS_TOKEN>",
                                        "<eod>",
                                        "<|endofdocument|>",
                                        "<|end_of_document|>",
                                        "<|ENDOFTEXT|>",
                                        "|ENDOFTEXT|",
                                        "<endoftext>",
                                        "<end_of_text>",
                                        "<|eod|>"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) return true;
    return false;
}

static bool ends_text(const struct tokenizer *t, const struct tokenizer_special *s)
{
    return s->control && tokenizer_name_ends_text(t->names.data + s->name_at, s->name_size);
}

bool tokenizer_ends_by_name(const struct tokenizer *t, uint32_t id)
{
    const struct tokenizer_special *s = tokenizer_special_of(t, id);
    return s && ends_text(t, s);
}

uint32_t tokenizer_eos_by_name(const struct tokenizer *t)
{
    uint32_t found = TOKENIZER_NONE;
    for (size_t i = 0; i < t->n_specials; i++) {
        if (t->specials[i].id == found || !ends_text(t, &t->specials[i])) continue;
        if (found != TOKENIZER_NONE) return TOKENIZER_NONE;
        found = t->specials[i].id;
    }
    return found;
}

void tokenizer_specials_by_name(struct tokenizer *t)
{
    static const char *const bos[] = {"<|bos|>", "<|begin_of_text|>", "<s>",        "<bos>",
                                      "[BOS]",   DEEPSEEK_BOS,        "<BOS_TOKEN>"};
    t->bos = find_control(t, bos, ARRAY_LEN(bos));
    if (t->eos_marked) return;
    t->eos = tokenizer_eos_by_name(t);
    t->eos_source = "its name";
}

int tokenizer_bytes_check(struct tokenizer *t, struct error *e)
{
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        t->bpe.byte_ids[i] = bpe_vocab_find(&t->bpe.vocab, &byte, 1);
        if (t->bpe.byte_ids[i] != TOKENIZER_NONE) continue;
        error_set(e, "no piece for byte 0x%02x: not every text could be encoded", i);
        return error_hint(e, "byte-level tokenizers hold all 256 bytes as pieces");
    }
    return 0;
}

/* Does the text begin with a line "base64 number"? */
static bool looks_like_ranks(const char *text, size_t size)
{
    uint64_t rank;
    size_t i = 0;
    while (i < size && (text[i] == '+' || text[i] == '=' || (text[i] >= '/' && text[i] <= '9') ||
                        ((text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z')))
        i++;
    if (i < 4 || i >= size || text[i++] != ' ') return false;
    size_t digits = digits_parse(text + i, size - i, &rank);
    i += digits;
    return digits > 0 && (i == size || text[i] == '\n' || text[i] == '\r');
}

static bool looks_like_json(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && strchr(" \t\r\n", text[i]) && text[i])
        i++;
    return i < size && text[i] == '{';
}

struct file_bytes {
    const void *data;
    size_t size;
    const char *name; /* for messages */
};

/* The order matters: JSON and ranks are told by their first bytes, llama2.c's file only by its
 * lengths, and a SentencePiece model begins with the key of its first piece, which is a line
 * end. */
static int parse_any(struct tokenizer *t, const struct file_bytes *file,
                     const struct tokenizer_options *o, struct error *e)
{
    const void *data = file->data;
    const char *name = file->name;
    size_t size = file->size;
    int rc;
    bool ranks = looks_like_ranks(data, size);
    if (!ranks && (o->pattern || o->n_specials)) {
        error_set(e, "'%s' is no rank file: pattern and special tokens cannot be said", name);
        return error_hint(e, "files of the other forms hold their own");
    }
    if (looks_like_json(data, size)) return tokenizer_parse_json(t, data, size, name, e);
    if (ranks)
        rc = tokenizer_parse_ranks(t, data, size, o, e);
    else if (spm_looks_like_llama2(data, size))
        rc = spm_parse_llama2(t, data, size, e);
    else if (size && *(const char *)data == '\n')
        rc = spm_parse(t, data, size, e);
    else {
        error_set(e, "'%s' is no tokenizer that is known", name);
        return error_hint(e, "known are tokenizer.json, tiktoken rank files, SentencePiece "
                             ".model files and llama2.c's tok*.bin");
    }
    return rc < 0 ? error_context(e, "'%s'", name) : 0;
}

int tokenizer_parse_with(const void *data, size_t size, const char *name,
                         const struct tokenizer_options *o, tokenizer_t **out, struct error *e)
{
    const struct file_bytes file = {data, size, name};
    char text[32];
    *out = NULL;
    if (size > TOKENIZER_MAX_FILE)
        return error_set(e, "'%s' is too large for a tokenizer: the limit is %s", name,
                         format_bytes(text, (double)TOKENIZER_MAX_FILE));
    struct tokenizer *t = mem_calloc(1, sizeof(*t));
    t->eos = t->bos = TOKENIZER_NONE;
    t->eos_source = "the tokenizer's file";
    int rc = parse_any(t, &file, o, e);
    if (rc < 0) {
        tokenizer_free(t);
        return rc;
    }
    t->hash =
        t->converted.len ? hash_xxh3(t->converted.data, t->converted.len) : hash_xxh3(data, size);
    *out = t;
    return 0;
}

int tokenizer_parse(const void *data, size_t size, const char *name, tokenizer_t **out,
                    struct error *e)
{
    return tokenizer_parse_with(data, size, name, &(struct tokenizer_options){0}, out, e);
}

int tokenizer_load_with(const char *path, const struct tokenizer_options *o, tokenizer_t **out,
                        struct error *e)
{
    struct file_map map;
    *out = NULL;
    TRY(file_map_open(&map, path, e));
    int rc = tokenizer_parse_with(map.data, map.size, path, o, out, e);
    int changed = file_map_check(&map, path, e); /* then that is why, or would be worse */
    file_map_close(&map);
    if (changed < 0) {
        if (rc >= 0) tokenizer_free(*out);
        return changed;
    }
    return rc;
}

int tokenizer_load(const char *path, tokenizer_t **out, struct error *e)
{
    return tokenizer_load_with(path, &(struct tokenizer_options){0}, out, e);
}

const char *tokenizer_converted(const tokenizer_t *t, size_t *size)
{
    *size = t->converted.len;
    return t->converted.len ? t->converted.data : NULL;
}

void tokenizer_free(tokenizer_t *t)
{
    if (!t) return;
    bpe_model_fini(&t->bpe);
    mem_free(t->specials);
    str_fini(&t->names);
    match_set_fini(&t->raw);
    match_set_fini(&t->normal);
    normal_fini(&t->normalizer);
    decoder_fini(&t->decoder);
    charsmap_fini(&t->map);
    str_fini(&t->converted);
    match_set_fini(&t->user);
    match_set_fini(&t->user_raw);
    pretoken_fini(&t->pretoken);
    mem_free(t);
}

/* ------------------------------------------------------------------ facts */

uint32_t tokenizer_vocab_size(const tokenizer_t *t)
{
    return t->bpe.vocab.count;
}

uint32_t tokenizer_eos(const tokenizer_t *t)
{
    return t->eos;
}

const char *tokenizer_eos_source(const tokenizer_t *t)
{
    return t->eos == TOKENIZER_NONE ? NULL : t->eos_source;
}

uint32_t tokenizer_bos(const tokenizer_t *t)
{
    return t->bos;
}

uint64_t tokenizer_hash(const tokenizer_t *t)
{
    return t->hash;
}

const char *tokenizer_kind(const tokenizer_t *t)
{
    static const char *const kinds[] = {"byte-level bpe", NULL, "tiktoken", "sentencepiece"};
    static const char *const models[] = {"bpe", "bpe", "unigram", "wordpiece", "wordlevel"};
    return t->algorithm == TOKENIZER_TEXT ? models[t->bpe.rule] : kinds[t->algorithm];
}

/* Ids below the vocabulary's size may be holes. */
static bool id_exists(const tokenizer_t *t, uint32_t id)
{
    return id < t->bpe.vocab.count && t->bpe.vocab.pieces[id].type != BPE_PIECE_NONE;
}

const char *tokenizer_piece(const tokenizer_t *t, uint32_t id, size_t *size)
{
    *size = 0;
    if (!id_exists(t, id)) return NULL;
    const struct bpe_piece *piece = &t->bpe.vocab.pieces[id];
    const uint32_t *shown_at = t->decoder.shown_at;
    if (piece->type != BPE_PIECE_CONTROL)
        *size = shown_at ? shown_at[id + 1] - shown_at[id] : piece->size;
    return shown_at ? t->decoder.shown.data + shown_at[id] : bpe_vocab_bytes(&t->bpe.vocab, id);
}

/* ------------------------------------------------------------------ encoding */

/* About 2 MiB, nearly all of it the word cache. */
tokenizer_scratch_t *tokenizer_scratch_new(const tokenizer_t *t)
{
    struct tokenizer_scratch *s = mem_calloc(1, sizeof(*s));
    s->tokenizer = t;
    bpe_cache_init(&s->cache, &t->bpe);
    pretoken_scratch_init(&s->pretoken, &t->pretoken);
    return s;
}

void tokenizer_scratch_free(tokenizer_scratch_t *s)
{
    if (!s) return;
    bpe_cache_fini(&s->cache);
    pretoken_scratch_fini(&s->pretoken);
    str_fini(&s->valid);
    str_fini(&s->normal);
    str_fini(&s->work[0]);
    str_fini(&s->work[1]);
    mem_free(s);
}

struct encoding {
    const struct tokenizer *t;
    struct tokenizer_scratch *s;
    bool special;  /* control tokens match */
    bool at_begin; /* nothing of the text was encoded yet */
    struct token_array *out;
};

static void encode_word(void *ctx, const char *word, size_t size)
{
    struct encoding *c = ctx;
    bpe_cache_word(&c->t->bpe, &c->s->cache, word, size, c->out);
}

/* Text without special tokens, normalised. */
static void encode_words(struct encoding *c, const char *text, size_t size)
{
    c->s->pretoken.at_begin = c->at_begin;
    c->at_begin = false;
    pretoken_split(&c->t->pretoken, &c->s->pretoken, text, size, encode_word, c);
    bpe_cache_flush(&c->t->bpe, &c->s->cache, c->out);
}

/* Calls `between` for what lies between the strings of the set, and pushes their ids. This is
 * Hugging Face's find_matches, in its order: the leftmost string, of those the longest, may then be
 * passed over; the search goes on behind it, not behind the white space that it took along. */
static void encode_around(struct encoding *c, const struct match_set *set, const char *text,
                          size_t size,
                          void (*between)(struct encoding *c, const char *text, size_t size))
{
    size_t start = 0;
    for (size_t at = 0; set->any && at < size;) {
        uint32_t index;
        size_t n = match_set_longest(set, text + at, size - at, &index);
        if (!n) {
            at++;
            continue;
        }
        const struct tokenizer_special *s = &c->t->specials[index];
        size_t first = at, last = at + n;
        at = last;
        if (s->control && !c->special) continue;
        if (s->single_word &&
            (text_ends_with_word(text, first) || text_starts_with_word(text + last, size - last)))
            continue;
        if (s->left) first = MAX(first - text_spaces_at_end(text, first), start);
        if (s->right) last += text_spaces_at_start(text + last, size - last);
        if (first >= last) continue; /* another one took all of its white space along */
        if (first > start) between(c, text + start, first - start);
        c->at_begin = false;
        token_array_push(c->out, s->id);
        start = last;
    }
    if (size > start) between(c, text + start, size - start);
}

/* Text between the special tokens that match in text as it is; the others are looked for when it is
 * normalised. */
static void encode_section(struct encoding *c, const char *text, size_t size)
{
    if (c->t->normalizer.count) {
        str_clear(&c->s->normal);
        /* for Metaspace, which looks where the text stood before it was normalised */
        if (!normal_apply(&c->t->normalizer, c->s->work, text, size, &c->s->normal))
            c->at_begin = false;
        text = c->s->normal.data;
        size = c->s->normal.len;
    }
    encode_around(c, &c->t->normal, text, size, encode_words);
}

void text_replace_invalid(const char *text, size_t size, struct str *out)
{
    while (size) {
        size_t valid = utf8_valid_size(text, size);
        str_append(out, text, valid);
        text += valid;
        size -= valid;
        for (; size && !utf8_decode(text, size, NULL); text++, size--)
            str_append(out, TEXT_REPLACEMENT, 3);
    }
}

void tokenizer_encode(const tokenizer_t *t, tokenizer_scratch_t *s, const char *text, size_t size,
                      unsigned flags, struct token_array *out)
{
    CHECK_MSG(s->tokenizer == t, "scratch of another tokenizer");
    if (t->algorithm == TOKENIZER_SENTENCEPIECE) {
        spm_encode(t, s, text, size, out);
        return;
    }
    if (t->algorithm == TOKENIZER_TEXT && utf8_valid_size(text, size) < size) {
        str_clear(&s->valid);
        text_replace_invalid(text, size, &s->valid);
        text = s->valid.data;
        size = s->valid.len;
    }
    bpe_cache_control(&s->cache, flags & TOKENIZER_PARSE_SPECIAL);
    struct encoding c = {t, s, flags & TOKENIZER_PARSE_SPECIAL, true, out};
    encode_around(&c, &t->raw, text, size, encode_section);
}

/* ------------------------------------------------------------------ decoding */

/* All ids are checked before anything is appended, so a failure leaves *out as it was. */
int tokenizer_decode(const tokenizer_t *t, const uint32_t *ids, size_t count, unsigned flags,
                     struct str *out, struct error *e)
{
    for (size_t i = 0; i < count; i++)
        if (!id_exists(t, ids[i]))
            return error_set(e, "token %zu is %u: no such id, the vocabulary has %u", i, ids[i],
                             t->bpe.vocab.count);
    if (t->algorithm == TOKENIZER_SENTENCEPIECE) {
        spm_decode(t, ids, count, flags, out);
        return 0;
    }
    if (t->algorithm == TOKENIZER_TEXT) {
        decoder_run(t, ids, count, flags, out);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct bpe_piece *piece = &t->bpe.vocab.pieces[ids[i]];
        if (piece->type != BPE_PIECE_CONTROL || (flags & TOKENIZER_PARSE_SPECIAL))
            str_append(out, bpe_vocab_bytes(&t->bpe.vocab, ids[i]), piece->size);
    }
    return 0;
}
