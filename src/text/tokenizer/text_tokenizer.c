/* text_tokenizer.c: the public functions of tokenizers.
 *
 * A file is recognised by its content: '{' begins JSON, a line "base64 number" is tiktoken's, a
 * protobuf message with pieces is SentencePiece's, and what fits llama2.c's lengths to the byte is
 * that. Then everything is one tokenizer with one merging core; only SentencePiece has its own
 * normaliser and decoder (text_spm_encode.c).
 *
 * Byte-level encoding: special tokens that may match cut the text; what lies between is brought to
 * NFC where the file says so, cut into words, and the words are merged. Control tokens match only
 * with TOKENIZER_PARSE_SPECIAL, so text from outside cannot smuggle one in. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ loading */

void tokenizer_special_add(struct tokenizer *t, uint32_t id, bool control, bool raw)
{
    ARRAY_RESERVE(t->specials, t->special_cap, t->n_specials + 1);
    t->specials[t->n_specials++] = (struct tokenizer_special){id, control, raw};
}

uint32_t tokenizer_special_find(const struct tokenizer *t, const char *name, size_t size,
                                bool control_only)
{
    const struct bpe_vocab *v = &t->bpe.vocab;
    for (size_t i = 0; i < t->n_specials; i++) {
        uint32_t id = t->specials[i].id;
        if ((!control_only || v->pieces[id].type == BPE_PIECE_CONTROL) &&
            v->pieces[id].size == size && memcmp(bpe_vocab_bytes(v, id), name, size) == 0)
            return id;
    }
    return TOKENIZER_NONE;
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

void tokenizer_specials_guess(struct tokenizer *t)
{
    static const char *const eos[] = {"<|eos|>", "<|endoftext|>", "<|end_of_text|>", "</s>",
                                      "<eos>",   "[EOS]",         DEEPSEEK_EOS};
    static const char *const bos[] = {"<|bos|>", "<|begin_of_text|>", "<s>", "<bos>",
                                      "[BOS]",   DEEPSEEK_BOS};
    static const char *const pad[] = {"<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"};
    t->eos = find_control(t, eos, ARRAY_LEN(eos));
    t->bos = find_control(t, bos, ARRAY_LEN(bos));
    /* Ours put EOS first whatever its name is; other files put BOS or padding there. */
    uint32_t first = TOKENIZER_NONE;
    for (size_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].control) first = MIN(first, t->specials[i].id);
    if (t->eos == TOKENIZER_NONE && first == 0 && t->bos != 0 &&
        find_control(t, pad, ARRAY_LEN(pad)) != 0)
        t->eos = first;
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

/* The order matters: JSON and ranks are told by their first bytes, llama2.c's file only by its
 * lengths, and a SentencePiece model begins with the key of its first piece, which is a line
 * end. */
static int parse_any(struct tokenizer *t, const void *data, size_t size, const char *name,
                     struct error *e)
{
    int rc;
    if (looks_like_json(data, size)) return tokenizer_parse_json(t, data, size, name, e);
    if (looks_like_ranks(data, size))
        rc = tokenizer_parse_ranks(t, data, size, e);
    else if (spm_looks_like_llama2(data, size))
        rc = spm_parse_llama2(t, data, size, e);
    else if (size && *(const char *)data == '\n')
        rc = spm_parse(t, data, size, e);
    else {
        error_set(e, "'%s' is no tokenizer that is known", name);
        return error_hint(e, "known are tokenizer.json, tiktoken rank files, SentencePiece BPE "
                             ".model files and llama2.c's tok*.bin");
    }
    return rc < 0 ? error_context(e, "'%s'", name) : 0;
}

int tokenizer_parse(const void *data, size_t size, const char *name, tokenizer_t **out,
                    struct error *e)
{
    char text[32];
    *out = NULL;
    if (size > TOKENIZER_MAX_FILE)
        return error_set(e, "'%s' is too large for a tokenizer: the limit is %s", name,
                         format_bytes(text, (double)TOKENIZER_MAX_FILE));
    struct tokenizer *t = mem_calloc(1, sizeof(*t));
    t->eos = t->bos = TOKENIZER_NONE;
    int rc = parse_any(t, data, size, name, e);
    if (rc < 0) {
        tokenizer_free(t);
        return rc;
    }
    t->hash = hash_xxh3(data, size);
    *out = t;
    return 0;
}

int tokenizer_load(const char *path, tokenizer_t **out, struct error *e)
{
    struct file_map map;
    *out = NULL;
    TRY(file_map_open(&map, path, e));
    int rc = tokenizer_parse(map.data, map.size, path, out, e);
    file_map_close(&map);
    return rc;
}

void tokenizer_free(tokenizer_t *t)
{
    if (!t) return;
    bpe_model_fini(&t->bpe);
    mem_free(t->specials);
    for (int i = 0; i < 2; i++) {
        match_set_fini(&t->raw[i]);
        match_set_fini(&t->normal[i]);
    }
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
    static const char *const kinds[] = {"byte-level bpe", "tiktoken", "sentencepiece"};
    return kinds[t->algorithm];
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
    if (piece->type != BPE_PIECE_CONTROL) *size = piece->size;
    return bpe_vocab_bytes(&t->bpe.vocab, id);
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
    str_fini(&s->normal);
    str_fini(&s->prefixed);
    mem_free(s);
}

struct encoding {
    const struct tokenizer *t;
    struct tokenizer_scratch *s;
    int special; /* index of the match sets: 1 with TOKENIZER_PARSE_SPECIAL */
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
    if (c->t->prefix_space && text[0] != ' ') {
        str_clear(&c->s->prefixed);
        str_append_char(&c->s->prefixed, ' ');
        str_append(&c->s->prefixed, text, size);
        text = c->s->prefixed.data;
        size = c->s->prefixed.len;
    }
    pretoken_split(&c->t->pretoken, &c->s->pretoken, text, size, encode_word, c);
    bpe_cache_flush(&c->t->bpe, &c->s->cache, c->out);
}

/* Calls `between` for what lies between the strings of the set, and pushes their ids. */
static void encode_around(struct encoding *c, const struct match_set *set, const char *text,
                          size_t size,
                          void (*between)(struct encoding *c, const char *text, size_t size))
{
    size_t start = 0;
    for (size_t at = 0; set->any && at < size;) {
        uint32_t id;
        size_t n = match_set_longest(set, text + at, size - at, &id);
        if (!n) {
            at++;
            continue;
        }
        if (at > start) between(c, text + start, at - start);
        token_array_push(c->out, id);
        start = at += n;
    }
    if (size > start) between(c, text + start, size - start);
}

/* Text between the special tokens that match in text as it is; the others are looked for when it is
 * normalised. */
static void encode_section(struct encoding *c, const char *text, size_t size)
{
    if (c->t->nfc) {
        str_clear(&c->s->normal);
        tokenizer_nfc(text, size, &c->s->normal);
        text = c->s->normal.data;
        size = c->s->normal.len;
    }
    encode_around(c, &c->t->normal[c->special], text, size, encode_words);
}

void tokenizer_encode(const tokenizer_t *t, tokenizer_scratch_t *s, const char *text, size_t size,
                      unsigned flags, struct token_array *out)
{
    CHECK_MSG(s->tokenizer == t, "scratch of another tokenizer");
    if (t->algorithm == TOKENIZER_SENTENCEPIECE) {
        spm_encode(t, s, text, size, out);
        return;
    }
    struct encoding c = {t, s, flags & TOKENIZER_PARSE_SPECIAL ? 1 : 0, out};
    encode_around(&c, &t->raw[c.special], text, size, encode_section);
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
    for (size_t i = 0; i < count; i++) {
        const struct bpe_piece *piece = &t->bpe.vocab.pieces[ids[i]];
        if (piece->type != BPE_PIECE_CONTROL || (flags & TOKENIZER_PARSE_SPECIAL))
            str_append(out, bpe_vocab_bytes(&t->bpe.vocab, ids[i]), piece->size);
    }
    return 0;
}
