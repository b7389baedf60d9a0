/* text_tokenizer_ranks.c: tiktoken's rank files: a line per piece, "base64 rank".
 *
 * Two neighbours join if their bytes together are a piece; the piece with the lowest rank is
 * first; the rank is the id. The file holds neither the pre-tokenizer's pattern nor special tokens:
 * the pattern is that of Grok-2, and there are no special tokens. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* Bits of a base64 digit; negative: none. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t size, struct str *out)
{
    if (!size || size % 4) return false;
    for (size_t i = 0; i < size; i += 4) {
        uint32_t bits = 0;
        int padding = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = base64_digit(text[i + k]);
            if (text[i + k] == '=' && i + 4 == size && k >= 2)
                padding++;
            else if (digit < 0 || padding)
                return false;
            bits = bits << 6 | (uint32_t)MAX(digit, 0);
        }
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        str_append(out, bytes, (size_t)(3 - padding));
    }
    return true;
}

/* One line without its end; an empty one is skipped. */
static int add_line(struct tokenizer *t, const char *line, size_t size, struct str *bytes,
                    struct error *e)
{
    if (size && line[size - 1] == '\r') size--;
    if (!size) return 0;
    const char *space = memchr(line, ' ', size);
    const char *end = line + size;
    uint64_t rank;
    str_clear(bytes);
    if (!space || space + 1 == end || !base64_decode(line, (size_t)(space - line), bytes))
        return error_set(e, "not 'base64 rank'");
    size_t digits = (size_t)(end - space) - 1;
    if (digits_parse(space + 1, digits, &rank) != digits || rank >= TOKENIZER_MAX_IDS)
        return error_set(e, "the rank is not a number below %u", TOKENIZER_MAX_IDS);
    TRY(bpe_vocab_set(&t->bpe.vocab, (uint32_t)rank, bytes->data, bytes->len, BPE_PIECE_NORMAL, e));
    t->bpe.vocab.pieces[rank].priority = (uint32_t)rank;
    return 0;
}

/* The pattern is taken for granted; a file of another family would load and cut words
 * differently. */
int tokenizer_parse_ranks(struct tokenizer *t, const char *data, size_t size, struct error *e)
{
    t->algorithm = TOKENIZER_TIKTOKEN;
    t->bpe.rule = BPE_JOIN_STRINGS;
    t->bpe.whole_words = true;
    bpe_vocab_limit_ids(&t->bpe.vocab, size / 7); /* the shortest line is "IQ== 0" */
    struct str bytes = {0};
    int rc = 0;
    unsigned line = 1;
    for (size_t at = 0; rc == 0 && at < size; line++) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t end = newline ? (size_t)(newline - data) : size;
        rc = add_line(t, data + at, end - at, &bytes, e);
        if (rc < 0) error_context(e, "line %u", line);
        at = end + 1;
    }
    str_fini(&bytes);
    if (rc == 0) rc = bpe_vocab_index(&t->bpe.vocab, e);
    if (rc == 0)
        rc = pretoken_add(&t->pretoken, PRETOKEN_PATTERN_GROK2, strlen(PRETOKEN_PATTERN_GROK2), e);
    if (rc == 0) rc = tokenizer_bytes_check(t, e);
    return rc;
}
