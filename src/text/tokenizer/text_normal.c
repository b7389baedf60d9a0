/* text_normal.c: the normalizer of a tokenizer.json: what happens to text before it is cut.
 *
 * A chain of steps, each from one string to the next, as Hugging Face's `tokenizers` defines them:
 * NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, Nmt, BertNormalizer and
 * Precompiled (SentencePiece's character map, text_charsmap.c); a Sequence of them is laid flat. A
 * byte that is not UTF-8 stays where it is: no step knows it. */
#include "text/tokenizer/text_tokenizer_internal.h"

enum normal_kind {
    NORMAL_NFC,
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD,
    NORMAL_LOWERCASE,
    NORMAL_STRIP_ACCENTS,
    NORMAL_NMT,
    NORMAL_CHARSMAP,
    NORMAL_CLEAN,   /* of BertNormalizer: no control characters, every white space a space */
    NORMAL_CHINESE, /* of BertNormalizer: spaces around ideographs */
    NORMAL_DROP_MN, /* of BertNormalizer: no non-spacing marks */
    NORMAL_STRIP,   /* white space off the ends */
    NORMAL_PREPEND, /* in front of text that is not empty */
    NORMAL_REPLACE, /* each occurrence of a string, each match of a pattern */
};

struct normal_step {
    enum normal_kind kind;
    bool left, right; /* STRIP: which ends */
    struct str what;  /* PREPEND */
    struct replacement replacement;
    struct charsmap map;
};

void normal_fini(struct normal *n)
{
    for (size_t i = 0; i < n->count; i++) {
        str_fini(&n->steps[i].what);
        replacement_fini(&n->steps[i].replacement);
        charsmap_fini(&n->steps[i].map);
    }
    mem_free(n->steps);
    *n = (struct normal){0};
}

/* ------------------------------------------------------------------ characters */

static bool in_ranges(uint32_t cp, const uint32_t (*ranges)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1]) return true;
    return false;
}

static bool is_ideograph(uint32_t cp)
{
    static const uint32_t ranges[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
                                         {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                         {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    return in_ranges(cp, ranges, ARRAY_LEN(ranges));
}

/* Control, format and private characters but for those that are white space to BERT. */
static bool is_bert_control(uint32_t cp)
{
    if (cp == '\t' || cp == '\n' || cp == '\r') return false;
    return unicode_is_control(cp);
}

/* What becomes of one character: none to three of them in to[]. */
static size_t map_character(enum normal_kind kind, uint32_t cp, uint32_t to[3])
{
    static const uint32_t nmt_gone[][2] = {{0x01, 0x08}, {0x0b, 0x0b}, {0x0e, 0x1f},
                                           {0x7f, 0x7f}, {0x8f, 0x8f}, {0x9f, 0x9f}};
    static const uint32_t nmt_space[][2] = {{0x09, 0x0a},     {0x0c, 0x0d},     {0x1680, 0x1680},
                                            {0x200b, 0x200f}, {0x2028, 0x2029}, {0x2581, 0x2581},
                                            {0xfeff, 0xfeff}, {0xfffd, 0xfffd}};
    to[0] = cp;
    switch (kind) {
    case NORMAL_LOWERCASE: return unicode_lower(cp, to);
    case NORMAL_STRIP_ACCENTS: return !unicode_is_mark(cp);
    case NORMAL_DROP_MN: return !unicode_is_nonspacing(cp);
    case NORMAL_NMT:
        if (in_ranges(cp, nmt_space, ARRAY_LEN(nmt_space))) to[0] = ' ';
        return !in_ranges(cp, nmt_gone, ARRAY_LEN(nmt_gone));
    case NORMAL_CLEAN:
        if (cp == 0 || cp == 0xfffd || is_bert_control(cp)) return 0;
        if (char_is_space(cp)) to[0] = ' ';
        return 1;
    case NORMAL_CHINESE:
        if (!is_ideograph(cp)) return 1;
        to[0] = to[2] = ' ';
        to[1] = cp;
        return 3;
    default: return 1;
    }
}

static void map_characters(enum normal_kind kind, const char *text, size_t size, struct str *out)
{
    str_reserve(out, out->len + size);
    for (size_t at = 0; at < size;) {
        uint32_t cp, to[3];
        char bytes[4];
        size_t n = utf8_decode(text + at, size - at, &cp);
        if (!n) {
            str_append_char(out, text[at++]);
            continue;
        }
        size_t count = map_character(kind, cp, to);
        for (size_t i = 0; i < count; i++)
            str_append(out, bytes, utf8_encode(to[i], bytes));
        at += n;
    }
}

static void strip(const struct normal_step *step, const char *text, size_t size, struct str *out)
{
    const char *end = text + size;
    if (step->left) text += text_spaces_at_start(text, (size_t)(end - text));
    if (step->right) end -= text_spaces_at_end(text, (size_t)(end - text));
    str_append(out, text, (size_t)(end - text));
}

/* ------------------------------------------------------------------ the chain */

static void apply(const struct normal_step *step, const char *text, size_t size, struct str *out)
{
    switch (step->kind) {
    case NORMAL_NFC: unicode_normalize(UNICODE_NFC, text, size, out); break;
    case NORMAL_NFD: unicode_normalize(UNICODE_NFD, text, size, out); break;
    case NORMAL_NFKC: unicode_normalize(UNICODE_NFKC, text, size, out); break;
    case NORMAL_NFKD: unicode_normalize(UNICODE_NFKD, text, size, out); break;
    case NORMAL_CHARSMAP: charsmap_apply_graphemes(&step->map, text, size, out); break;
    case NORMAL_STRIP: strip(step, text, size, out); break;
    case NORMAL_REPLACE: replacement_apply(&step->replacement, text, size, out); break;
    case NORMAL_PREPEND:
        if (size) str_append(out, step->what.data, step->what.len);
        str_append(out, text, size);
        break;
    default: map_characters(step->kind, text, size, out);
    }
}

/* Whether a step takes the first character away, with nothing in its place. */
static bool takes_first(const struct normal_step *step, const char *text, size_t size)
{
    uint32_t cp, to[3];
    struct str out = {0};
    const size_t n = size ? utf8_decode(text, size, &cp) : 0;
    if (!n) return false;
    switch (step->kind) {
    case NORMAL_NFC:
    case NORMAL_NFD:
    case NORMAL_NFKC:
    case NORMAL_NFKD:
    case NORMAL_PREPEND: return false;
    case NORMAL_STRIP: return step->left && text_spaces_at_start(text, size) > 0;
    case NORMAL_REPLACE: return replacement_takes_first(&step->replacement, text, size);
    case NORMAL_CHARSMAP: {
        charsmap_apply_graphemes(&step->map, text, n, &out);
        const bool gone = out.len == 0;
        str_fini(&out);
        return gone;
    }
    default: return map_character(step->kind, cp, to) == 0;
    }
}

/* The last step writes to out, those before it to two strings in turn. */
bool normal_apply(const struct normal *n, struct str work[2], const char *text, size_t size,
                  struct str *out)
{
    bool whole = true;
    for (size_t i = 0; i < n->count; i++) {
        whole = whole && !takes_first(&n->steps[i], text, size);
        struct str *to = i + 1 == n->count ? out : &work[i % 2];
        if (to != out) str_clear(to);
        str_reserve(to, to->len + size + 1);
        apply(&n->steps[i], text, size, to);
        text = to->data;
        size = to->len;
    }
    if (!n->count) str_append(out, text, size);
    return whole;
}

/* ------------------------------------------------------------------ reading */

static struct normal_step *add(struct normal *n, enum normal_kind kind)
{
    n->steps = mem_realloc(n->steps, (n->count + 1) * sizeof(*n->steps));
    struct normal_step *step = &n->steps[n->count++];
    *step = (struct normal_step){.kind = kind};
    return step;
}

static void copy_string(struct str *to, const json_t *from)
{
    str_append(to, json_string_value(from), json_string_length(from));
}

/* strip_accents is lowercase's value where it is null. */
static int read_bert(struct normal *n, const json_t *o)
{
    bool lowercase = form_true(o, "lowercase");
    if (form_true(o, "clean_text")) add(n, NORMAL_CLEAN);
    if (form_true(o, "handle_chinese_chars")) add(n, NORMAL_CHINESE);
    if (form_has(o, "strip_accents") ? form_true(o, "strip_accents") : lowercase) {
        add(n, NORMAL_NFD);
        add(n, NORMAL_DROP_MN);
    }
    if (lowercase) add(n, NORMAL_LOWERCASE);
    return 0;
}

static int read_precompiled(struct normal *n, const json_t *o, struct error *e)
{
    const json_t *map = json_object_get(o, "precompiled_charsmap");
    struct str bytes = {0};
    struct normal_step *step = add(n, NORMAL_CHARSMAP);
    int rc = 0;
    if (!json_is_string(map) ||
        !base64_decode(json_string_value(map), json_string_length(map), &bytes))
        rc = error_set(e, "precompiled_charsmap is not base64");
    if (rc == 0) rc = charsmap_load(&step->map, bytes.data, bytes.len, e);
    str_fini(&bytes);
    return rc < 0 ? error_context(e, "normalizer Precompiled") : 0;
}

static int read_step(struct normal *n, const json_t *o, const char *type, struct error *e)
{
    static const struct {
        const char *type;
        enum normal_kind kind;
    } plain[] = {{"NFC", NORMAL_NFC},
                 {"NFD", NORMAL_NFD},
                 {"NFKC", NORMAL_NFKC},
                 {"NFKD", NORMAL_NFKD},
                 {"Lowercase", NORMAL_LOWERCASE},
                 {"StripAccents", NORMAL_STRIP_ACCENTS},
                 {"Nmt", NORMAL_NMT}};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (strcmp(type, plain[i].type) == 0) {
            add(n, plain[i].kind);
            return 0;
        }
    if (strcmp(type, "Replace") == 0)
        return replacement_read(&add(n, NORMAL_REPLACE)->replacement, o, e) < 0
                   ? error_context(e, "normalizer")
                   : 0;
    if (strcmp(type, "BertNormalizer") == 0) return read_bert(n, o);
    if (strcmp(type, "Precompiled") == 0) return read_precompiled(n, o, e);
    if (strcmp(type, "Strip") == 0) {
        struct normal_step *step = add(n, NORMAL_STRIP);
        step->left = form_true(o, "strip_left");
        step->right = form_true(o, "strip_right");
        return 0;
    }
    if (strcmp(type, "Prepend") == 0) {
        const json_t *prepend = json_object_get(o, "prepend");
        if (!json_is_string(prepend)) return error_set(e, "normalizer Prepend without 'prepend'");
        copy_string(&add(n, NORMAL_PREPEND)->what, prepend);
        return 0;
    }
    return form_refused("normalizer", type, e);
}

/* depth: of Sequences within each other, which is limited because this recurses. */
static int read_nested(struct normal *n, const json_t *o, int depth, struct error *e)
{
    enum { MAX_DEPTH = 8, MAX_STEPS = 64 };
    if (!o || json_is_null(o)) return 0;
    const char *type = form_text(o, "type");
    if (n->count >= MAX_STEPS) return error_set(e, "more than %d normalizers", MAX_STEPS);
    if (strcmp(type, "Sequence") != 0) return read_step(n, o, type, e);
    if (depth == MAX_DEPTH) return error_set(e, "normalizers in more than %d Sequences", MAX_DEPTH);
    const json_t *list = json_object_get(o, "normalizers");
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(read_nested(n, json_array_get(list, i), depth + 1, e));
    return 0;
}

/* How many times as long a step can make a text, or a character of one byte. */
static double growth(const struct normal_step *step)
{
    enum { NORMAL_FORM_GROWTH = 12 }; /* U+FDFA: 3 bytes to 33 */
    double longest = 1;
    switch (step->kind) {
    case NORMAL_NFC:
    case NORMAL_NFD:
    case NORMAL_NFKC:
    case NORMAL_NFKD: return NORMAL_FORM_GROWTH;
    case NORMAL_CHINESE:
    case NORMAL_LOWERCASE: return 2;
    case NORMAL_PREPEND: return 1 + (double)step->what.len;
    case NORMAL_REPLACE: return replacement_growth(&step->replacement);
    case NORMAL_CHARSMAP:
        for (size_t at = 0, n; at < step->map.strings.len; at += n + 1) {
            n = strlen(step->map.strings.data + at);
            longest = MAX(longest, (double)n);
        }
        return longest;
    default: return 1;
    }
}

/* A chain that doubles a text 40 times must not be run. */
static int check_growth(const struct normal *n, struct error *e)
{
    double factor = 1;
    for (size_t i = 0; i < n->count; i++)
        factor *= growth(&n->steps[i]);
    if (factor <= 1e6) return 0;
    return error_set(e, "normalizer: a text could become %.0f times as long", factor);
}

int normal_read(struct normal *n, const json_t *normalizer, struct error *e)
{
    TRY(read_nested(n, normalizer, 0, e));
    return check_growth(n, e);
}
