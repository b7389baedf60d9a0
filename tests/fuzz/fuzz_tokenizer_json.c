/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json, a tokenizer.tok.json or a tiktoken rank
 * file, up to a NUL; what stands behind the NUL, or where there is none the end of the file, is
 * text, of 512 bytes at most so that an execution stays short.
 *
 * What loads must encode any text and give back its bytes, with the same ids a second time (out of
 * the cache) and on another scratch; normalizers, prefixes and added tokens that take white space
 * change text, and so do decoders, so there only the ids of two runs are compared. */
#include "text/tokenizer/text_tokenizer_internal.h"

#define TEXT_MAX ((size_t)512)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct token_array *a, const struct token_array *b)
{
    CHECK(a->count == b->count);
    CHECK(!a->count || memcmp(a->ids, b->ids, a->count * sizeof(*a->ids)) == 0);
}

/* Without TOKENIZER_PARSE_SPECIAL a control token stands for unknown text only, or for its byte. */
static bool may_be_text(const tokenizer_t *t, uint32_t id)
{
    const struct bpe_piece *piece = &t->bpe.vocab.pieces[id];
    return piece->type != BPE_PIECE_CONTROL || id == t->bpe.unknown_id || piece->size == 1;
}

static bool takes_spaces(const tokenizer_t *t)
{
    for (size_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].left || t->specials[i].right) return true;
    return false;
}

/* Does no stage add to the text or remove from it? */
static bool keeps_text(const struct pretoken *p)
{
    for (int i = 0; i < p->n_stages; i++) {
        enum pretoken_scanner scanner = p->stages[i].scanner;
        bool cuts = scanner == PRETOKEN_PATTERN || scanner == PRETOKEN_CHARACTERS;
        if (scanner == PRETOKEN_PREFIX || scanner == PRETOKEN_METASPACE ||
            (cuts && p->stages[i].behavior == PRETOKEN_REMOVED))
            return false;
    }
    return true;
}

static void check_text(const tokenizer_t *t, const char *text, size_t size, unsigned flags)
{
    struct error e = {0};
    struct token_array ids = {0}, again = {0};
    struct str back = {0};
    tokenizer_scratch_t *s = tokenizer_scratch_new(t), *other = tokenizer_scratch_new(t);
    tokenizer_encode(t, s, text, size, flags, &ids);
    tokenizer_encode(t, s, text, size, flags, &again);
    check_same(&ids, &again);
    again.count = 0;
    tokenizer_encode(t, other, text, size, flags, &again);
    check_same(&ids, &again);
    CHECK(tokenizer_decode(t, ids.ids, ids.count, flags, &back, &e) == 0);
    if (t->algorithm != TOKENIZER_TEXT && !t->normalizer.count && keeps_text(&t->pretoken) &&
        !takes_spaces(t))
        CHECK(back.len == size && (!size || memcmp(back.data, text, size) == 0));
    for (size_t i = 0; i < ids.count; i++) {
        size_t n;
        CHECK(tokenizer_piece(t, ids.ids[i], &n));
        CHECK(flags || may_be_text(t, ids.ids[i]));
    }
    tokenizer_scratch_free(s);
    tokenizer_scratch_free(other);
    token_array_fini(&ids);
    token_array_fini(&again);
    str_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    tokenizer_t *t;
    const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
    size_t file_size = end ? (size_t)(end - data) : size;
    struct tokenizer_options ranks = {.pattern = "cl100k"};
    if (tokenizer_parse(data, file_size, "fuzz", &t, &e) < 0) {
        CHECK(!t && e.text[0]);
        if (tokenizer_parse_with(data, file_size, "fuzz", &ranks, &t, &e) < 0) return 0;
    }
    size_t rest = end ? size - file_size - 1 : size, text_size = MIN(rest, TEXT_MAX);
    const char *text = (const char *)data + size - text_size;
    check_text(t, text, text_size, text_size % 2 ? TOKENIZER_PARSE_SPECIAL : 0);
    tokenizer_free(t);
    return 0;
}
