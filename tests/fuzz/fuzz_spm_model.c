/* fuzz_spm_model.c: any bytes as a SentencePiece .model or llama2.c's tok.bin, whose beginning and
 * end, 512 bytes at most, are also text; the last byte says how long the end is.
 *
 * What loads must encode any text and decode any ids; a line merged without being cut at spaces and
 * without the cache gives the same ids. */
#include "text/tokenizer/text_tokenizer_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(tokenizer_t *t, tokenizer_scratch_t *s, const char *text, size_t size)
{
    struct error e = {0};
    struct token_array ids = {0}, whole = {0};
    struct str back = {0};
    bool cut = t->cut_at_spaces;
    tokenizer_encode(t, s, text, size, 0, &ids);
    t->cut_at_spaces = false;
    tokenizer_encode(t, s, text, size, 0, &whole);
    t->cut_at_spaces = cut;
    CHECK(ids.count == whole.count);
    CHECK(!ids.count || memcmp(ids.ids, whole.ids, ids.count * sizeof(*ids.ids)) == 0);
    CHECK(tokenizer_decode(t, ids.ids, ids.count, 0, &back, &e) == 0);
    token_array_fini(&ids);
    token_array_fini(&whole);
    str_fini(&back);
}

/* Every id, forwards and backwards, with control tokens as text and without. */
static void check_ids(const tokenizer_t *t)
{
    struct error e = {0};
    struct token_array ids = {0};
    struct str out = {0};
    uint32_t n = MIN(tokenizer_vocab_size(t), 500);
    for (uint32_t i = 0; i < 2 * n; i++) {
        size_t size;
        uint32_t id = i < n ? i : 2 * n - 1 - i;
        if (tokenizer_piece(t, id, &size)) token_array_push(&ids, id);
    }
    CHECK(tokenizer_decode(t, ids.ids, ids.count, 0, &out, &e) == 0);
    CHECK(tokenizer_decode(t, ids.ids, ids.count, TOKENIZER_PARSE_SPECIAL, &out, &e) == 0);
    CHECK(tokenizer_decode(t, &(uint32_t){tokenizer_vocab_size(t)}, 1, 0, &out, &e) < 0);
    token_array_fini(&ids);
    str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    tokenizer_t *t;
    if (tokenizer_parse(data, size, "fuzz", &t, &e) < 0) {
        CHECK(!t && e.text[0]);
        return 0;
    }
    if (t->algorithm == TOKENIZER_SENTENCEPIECE) {
        tokenizer_scratch_t *s = tokenizer_scratch_new(t);
        size_t tail = MIN(data[size - 1], size - 1);
        check_text(t, s, (const char *)data, MIN(size, 512));
        check_text(t, s, (const char *)data + size - 1 - tail, tail);
        check_ids(t);
        tokenizer_scratch_free(s);
    }
    tokenizer_free(t);
    return 0;
}
