/* text_tokenizer_ranks.c: tiktoken's rank files: a line per piece, "base64 rank".
 *
 * Two neighbours join if their bytes together are a piece; the piece with the lowest rank is
 * first; the rank is the id. The file holds neither the pre-tokenizer's pattern nor special tokens,
 * and another pattern gives other ids, so neither is ever assumed: a vocabulary that is known (by a
 * hash over its ranks and bytes) brings its own, any other needs them said.
 *
 * What was said is kept: the tokenizer's `converted` text is the same vocabulary as a
 * tokenizer.tok.json, the form in which Grok-2's comes, with pattern and special tokens in it. It
 * is what a dataset keeps and what the tokenizer's hash is of, so that nothing needs to be said
 * again when it is read. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ base64 */

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

/* ------------------------------------------------------------------ what is known */

/* tiktoken's `\s++$`, where $ is the end of the text, is written `\s++(?![\s\S])`. GPT-2's pattern
 * cuts like the faster one that tiktoken has for r50k and p50k. */
#define PATTERN_CL100K                                                    \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+"                                     \
    "|\\s++(?![\\s\\S])|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"
#define O200K_UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define O200K_LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define O200K_WORD(upper, lower)                                              \
    "[^\\r\\n\\p{L}\\p{N}]?[" O200K_UPPER "]" upper "[" O200K_LOWER "]" lower \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define PATTERN_O200K                                                       \
    O200K_WORD("*", "+")                                                    \
    "|" O200K_WORD("+", "*") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" \
                             "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *name, *pattern;
} patterns[] = {{"gpt2", PRETOKEN_PATTERN_GPT2},
                {"r50k", PRETOKEN_PATTERN_GPT2},
                {"p50k", PRETOKEN_PATTERN_GPT2},
                {"cl100k", PATTERN_CL100K},
                {"o200k", PATTERN_O200K},
                {"llama3", PRETOKEN_PATTERN_LLAMA3},
                {"qwen2", PRETOKEN_PATTERN_GPT4("")},
                {"grok2", PRETOKEN_PATTERN_GROK2}};

struct known_special {
    const char *name;
    uint32_t id;
};

/* Vocabularies by XXH3 over their regular_tokens as written below. */
static const struct known {
    const char *name, *pattern;
    uint64_t hash;
    struct known_special specials[5];
} known_files[] = {
    {"r50k_base", PRETOKEN_PATTERN_GPT2, 0xfb0b9c198c0b96d1u, {{"<|endoftext|>", 50256}}},
    {"p50k_base", PRETOKEN_PATTERN_GPT2, 0x26ecbb42b7634081u, {{"<|endoftext|>", 50256}}},
    {"cl100k_base",
     PATTERN_CL100K,
     0xc82ba58b66887cc7u,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}}},
    {"o200k_base",
     PATTERN_O200K,
     0xb670f97b31055371u,
     {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
};

static const struct known *find_known(uint64_t hash)
{
    for (size_t i = 0; i < ARRAY_LEN(known_files); i++)
        if (known_files[i].hash == hash) return &known_files[i];
    return NULL;
}

/* A pattern by its name, or a regular expression, which is more than a word. */
static int find_pattern(const char *said, const char **pattern, struct error *e)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    *pattern = said;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        if (strcmp(patterns[i].name, said) == 0) {
            *pattern = patterns[i].pattern;
            return 0;
        }
    if (said[strspn(said, letters)]) return 0;
    error_set(e, "'%s' is no pattern that is known", said);
    return error_hint(e, "known are gpt2 (also r50k, p50k), cl100k, o200k, llama3, qwen2 and "
                         "grok2; anything but a word is a regular expression");
}

/* ------------------------------------------------------------------ lines */

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

static int read_lines(struct tokenizer *t, const char *data, size_t size, struct error *e)
{
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
    return rc;
}

/* ------------------------------------------------------------------ as tokenizer.tok.json */

static void write_piece(struct str *out, const char *bytes, size_t size, uint32_t id)
{
    str_puts(out, "{\"bytes\":[");
    for (size_t i = 0; i < size; i++)
        str_printf(out, "%s%u", i ? "," : "", (uint8_t)bytes[i]);
    str_printf(out, "],\"token\":%u}", id);
}

static void write_ranks(struct str *out, const struct bpe_vocab *v)
{
    str_puts(out, "{\"regular_tokens\":[");
    bool first = true;
    for (uint32_t id = 0; id < v->count; id++) {
        if (v->pieces[id].type == BPE_PIECE_NONE) continue;
        str_puts(out, first ? "\n" : ",\n");
        write_piece(out, bpe_vocab_bytes(v, id), v->pieces[id].size, id);
        first = false;
    }
}

static int write_rest(struct str *out, const struct tokenizer *t, const char *pattern,
                      struct error *e)
{
    str_puts(out, "],\n\"special_tokens\":[");
    for (size_t i = 0; i < t->n_specials; i++) {
        const struct tokenizer_special *s = &t->specials[i];
        str_puts(out, i ? ",\n" : "\n");
        write_piece(out, t->names.data + s->name_at, s->name_size, s->id);
    }
    json_t *value = json_string(pattern);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (!text) return error_set(e, "the pattern is not valid UTF-8");
    str_printf(out, "],\n\"pat_str\":%s}\n", text);
    mem_free(text);
    return 0;
}

/* ------------------------------------------------------------------ the whole */

static int add_special(struct tokenizer *t, const char *name, size_t size, uint32_t id,
                       struct error *e)
{
    struct tokenizer_special s = {.id = id, .control = true, .raw = true};
    TRY(bpe_vocab_set(&t->bpe.vocab, id, name, size, BPE_PIECE_CONTROL, e));
    tokenizer_special_add(t, s, name, size);
    return 0;
}

/* "NAME=ID": the name may hold '=' itself. */
static int add_said_special(struct tokenizer *t, const char *said, struct error *e)
{
    const char *sign = strrchr(said, '=');
    uint64_t id;
    size_t digits = sign ? strlen(sign + 1) : 0;
    if (!sign || sign == said || !digits || digits_parse(sign + 1, digits, &id) != digits ||
        id >= TOKENIZER_MAX_IDS)
        return error_set(e, "special token '%s' is not NAME=ID", said);
    if (tokenizer_special_find(t, said, (size_t)(sign - said), true) != TOKENIZER_NONE)
        return error_set(e, "special token '%.*s' is given twice", (int)(sign - said), said);
    if (add_special(t, said, (size_t)(sign - said), (uint32_t)id, e) < 0)
        return error_context(e, "special token '%s'", said);
    return 0;
}

/* A file of such, one a line. */
static int add_special_file(struct tokenizer *t, const char *path, struct error *e)
{
    enum { MOST = 16 << 20 };
    char *text;
    size_t size;
    int rc = 0;
    unsigned line = 1;
    TRY(file_read(path, MOST, &text, &size, e));
    for (char *p = text, *end; rc == 0 && p < text + size; p = end + 1, line++) {
        end = memchr(p, '\n', (size_t)(text + size - p));
        if (!end) end = text + size;
        *end = '\0'; /* file_read puts one behind the last byte */
        if (end > p && end[-1] == '\r') end[-1] = '\0';
        if (!*p) continue;
        if (strlen(p) + 1 < (size_t)(end - p)) rc = error_set(e, "a NUL byte");
        if (rc == 0) rc = add_said_special(t, p, e);
        if (rc < 0) error_context(e, "%s:%u", path, line);
    }
    mem_free(text);
    return rc;
}

static int add_specials(struct tokenizer *t, const struct known *known,
                        const struct tokenizer_options *o, struct error *e)
{
    for (size_t i = 0; i < o->n_specials; i++)
        TRY(o->specials[i][0] == '@' ? add_special_file(t, o->specials[i] + 1, e)
                                     : add_said_special(t, o->specials[i], e));
    for (size_t i = 0; known && i < ARRAY_LEN(known->specials) && known->specials[i].name; i++) {
        const struct known_special *s = &known->specials[i];
        if (tokenizer_special_find(t, s->name, strlen(s->name), true) == TOKENIZER_NONE)
            TRY(add_special(t, s->name, strlen(s->name), s->id, e));
    }
    return 0;
}

static int no_pattern(struct error *e)
{
    error_set(e, "a rank file does not say how text is cut into words, and this one is none of "
                 "r50k_base, p50k_base, cl100k_base and o200k_base");
    return error_hint(e, "--pattern NAME|REGEX says it, and --special-token NAME=ID its special "
                         "tokens; 'data convert-tokenizer' writes both into a file");
}

int tokenizer_parse_ranks(struct tokenizer *t, const char *data, size_t size,
                          const struct tokenizer_options *o, struct error *e)
{
    const char *pattern = NULL;
    t->algorithm = TOKENIZER_TIKTOKEN;
    t->bpe.rule = BPE_JOIN_STRINGS;
    t->bpe.whole_words = true;
    if (o->pattern) TRY(find_pattern(o->pattern, &pattern, e));
    bpe_vocab_limit_ids(&t->bpe.vocab, size / 7); /* the shortest line is "IQ== 0" */
    TRY(read_lines(t, data, size, e));
    write_ranks(&t->converted, &t->bpe.vocab);
    const struct known *known = find_known(hash_xxh3(t->converted.data, t->converted.len));
    if (!pattern && known) pattern = known->pattern;
    if (!pattern) return no_pattern(e);
    TRY(add_specials(t, known, o, e));
    TRY(bpe_vocab_index(&t->bpe.vocab, e));
    TRY(pretoken_add_tiktoken(&t->pretoken, pattern, strlen(pattern), e));
    TRY(tokenizer_bytes_check(t, e));
    tokenizer_match_sets(t);
    tokenizer_specials_by_name(t);
    return write_rest(&t->converted, t, pattern, e);
}
