/* text_pretoken_json.c: the pre_tokenizer of a tokenizer.json, which names the stages that cut text
 * into words. What is not followed is refused with a message that names it.
 *
 *   Sequence            the stages one after the other, laid flat
 *   ByteLevel           a space in front, GPT-2's pattern, then bytes as characters: what stands
 *                       behind it sees these
 *   Split               by a Regex or a String, with every behaviour, inverted or not
 *   Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit,
 *   FixedLength, Metaspace
 *
 * A pattern is Oniguruma's, but that of Whitespace, which is Rust's. */
#include "text/tokenizer/text_tokenizer_internal.h"

struct reader {
    struct tokenizer *t;
    bool mapped; /* stages see characters that stand for bytes */
    int depth;
};

enum { MAX_SEQUENCES = 8 };

static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};

/* The behaviour, `fallback` where there is none. */
static int read_behavior(const json_t *o, const char *stage, enum pretoken_behavior fallback,
                         enum pretoken_behavior *behavior, struct error *e)
{
    char what[64];
    *behavior = fallback;
    if (!form_has(o, "behavior")) return 0;
    for (size_t i = 0; i < ARRAY_LEN(behaviors); i++)
        if (strcmp(form_text(o, "behavior"), behaviors[i]) == 0) {
            *behavior = (enum pretoken_behavior)i;
            return 0;
        }
    snprintf(what, sizeof(what), "pre_tokenizer %s with behavior", stage);
    return form_refused(what, form_text(o, "behavior"), e);
}

/* ------------------------------------------------------------------ stages */

/* A string as a pattern: whatever is no letter or digit stands for itself behind a backslash. */
static void escape_string(const char *text, size_t size, struct str *out)
{
    str_reserve(out, 1);
    for (size_t i = 0; i < size; i++) {
        if (strchr("\\.+*?()|[]{}^$#&-~", text[i]) && text[i]) str_append_char(out, '\\');
        str_append_char(out, text[i]);
    }
}

static int add_split(struct reader *r, const json_t *o, struct error *e)
{
    const json_t *pattern = json_object_get(o, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *text = regex ? regex : json_is_string(pattern) ? pattern : string;
    struct pretoken_cut cut = {PATTERN_ONIGURUMA, PRETOKEN_ISOLATED, form_true(o, "invert")};
    TRY(read_behavior(o, "Split", PRETOKEN_ISOLATED, &cut.behavior, e));
    if (!json_is_string(text))
        return error_set(e, "pre_tokenizer Split has no pattern that is a Regex or a String");
    struct str escaped = {0};
    const char *bytes = json_string_value(text);
    size_t size = json_string_length(text);
    if (text != regex) {
        escape_string(bytes, size, &escaped);
        bytes = escaped.data;
        size = escaped.len;
    }
    int rc = pretoken_add_pattern(&r->t->pretoken, bytes, size, cut, e);
    str_fini(&escaped);
    return rc < 0 ? error_context(e, "pre_tokenizer Split") : 0;
}

static int add_byte_level(struct reader *r, const json_t *o, struct error *e)
{
    struct pretoken *p = &r->t->pretoken;
    if (r->t->byte_level) return error_set(e, "a second pre_tokenizer ByteLevel is not supported");
    r->t->byte_level = true;
    if (!json_is_false(json_object_get(o, "add_prefix_space")))
        TRY(pretoken_add_stage(p, (struct pretoken_stage){.scanner = PRETOKEN_PREFIX}, e));
    if (json_is_false(json_object_get(o, "use_regex"))) return 0;
    return pretoken_add(p, PRETOKEN_PATTERN_GPT2, strlen(PRETOKEN_PATTERN_GPT2), e);
}

static int add_digits(struct reader *r, const json_t *o, struct error *e)
{
    struct unicode_set numbers = {0};
    unicode_set_add_numbers(&numbers);
    return pretoken_add_characters(
        &r->t->pretoken, &numbers,
        form_true(o, "individual_digits") ? PRETOKEN_ISOLATED : PRETOKEN_CONTIGUOUS, e);
}

static int add_punctuation(struct reader *r, const json_t *o, struct error *e)
{
    enum pretoken_behavior behavior;
    struct unicode_set marks = {0};
    TRY(read_behavior(o, "Punctuation", PRETOKEN_ISOLATED, &behavior, e));
    unicode_set_add_punctuation(&marks);
    return pretoken_add_characters(&r->t->pretoken, &marks, behavior, e);
}

static int add_whitespace(struct reader *r, const json_t *o, struct error *e)
{
    static const char pattern[] = "\\w+|[^\\w\\s]+";
    (void)o;
    return pretoken_add_pattern(&r->t->pretoken, pattern, strlen(pattern),
                                (struct pretoken_cut){PATTERN_TIKTOKEN, PRETOKEN_REMOVED, true}, e);
}

static int add_whitespace_split(struct reader *r, const json_t *o, struct error *e)
{
    struct unicode_set spaces = {0};
    (void)o;
    unicode_set_add_spaces(&spaces);
    return pretoken_add_characters(&r->t->pretoken, &spaces, PRETOKEN_REMOVED, e);
}

static int add_bert(struct reader *r, const json_t *o, struct error *e)
{
    struct unicode_set marks = {0};
    TRY(add_whitespace_split(r, o, e));
    unicode_set_add_punctuation(&marks);
    return pretoken_add_characters(&r->t->pretoken, &marks, PRETOKEN_ISOLATED, e);
}

/* A member that is one character. */
static int read_character(const json_t *o, const char *stage, const char *key, uint32_t *cp,
                          struct error *e)
{
    const json_t *v = json_object_get(o, key);
    size_t size = json_string_length(v);
    if (!size || utf8_decode(json_string_value(v), size, cp) != size)
        return error_set(e, "pre_tokenizer %s: %s is not one character", stage, key);
    return 0;
}

static int add_delimiter(struct reader *r, const json_t *o, struct error *e)
{
    struct unicode_set one = {0};
    uint32_t cp;
    TRY(read_character(o, "CharDelimiterSplit", "delimiter", &cp, e));
    unicode_set_add(&one, cp, cp);
    return pretoken_add_characters(&r->t->pretoken, &one, PRETOKEN_REMOVED, e);
}

static int add_length(struct reader *r, const json_t *o, struct error *e)
{
    const json_t *v = json_object_get(o, "length");
    json_int_t length = v ? json_integer_value(v) : 5;
    if (length < 1) return error_set(e, "pre_tokenizer FixedLength: length is not above 0");
    return pretoken_add_stage(
        &r->t->pretoken,
        (struct pretoken_stage){.scanner = PRETOKEN_LENGTH, .digits = (size_t)length}, e);
}

/* Older files have add_prefix_space in place of prepend_scheme, and no split. */
static int add_metaspace(struct reader *r, const json_t *o, struct error *e)
{
    static const char *const schemes[] = {"always", "first", "never"};
    struct pretoken_stage stage = {.scanner = PRETOKEN_METASPACE, .replacement = 0x2581};
    struct unicode_set one = {0};
    size_t i = 0;
    if (r->t->byte_level)
        return error_set(e, "pre_tokenizer Metaspace behind ByteLevel is not supported");
    if (form_has(o, "replacement"))
        TRY(read_character(o, "Metaspace", "replacement", &stage.replacement, e));
    if (form_has(o, "prepend_scheme")) {
        while (i < ARRAY_LEN(schemes) && strcmp(form_text(o, "prepend_scheme"), schemes[i]) != 0)
            i++;
        if (i == ARRAY_LEN(schemes))
            return form_refused("pre_tokenizer Metaspace with prepend_scheme",
                                form_text(o, "prepend_scheme"), e);
        stage.prepend = (enum pretoken_prepend)i;
    }
    if (json_is_false(json_object_get(o, "add_prefix_space")))
        stage.prepend = PRETOKEN_PREPEND_NEVER;
    for (i = 0; i < (size_t)r->t->pretoken.n_stages; i++)
        if (r->t->pretoken.stages[i].scanner == PRETOKEN_METASPACE)
            return error_set(e, "a second pre_tokenizer Metaspace is not supported");
    TRY(pretoken_add_stage(&r->t->pretoken, stage, e));
    if (json_is_false(json_object_get(o, "split"))) return 0;
    unicode_set_add(&one, stage.replacement, stage.replacement);
    return pretoken_add_characters(&r->t->pretoken, &one, PRETOKEN_WITH_NEXT, e);
}

static const struct stage_reader {
    const char *type;
    int (*add)(struct reader *r, const json_t *o, struct error *e);
} stage_readers[] = {
    {"ByteLevel", add_byte_level},  {"Split", add_split},
    {"Digits", add_digits},         {"Punctuation", add_punctuation},
    {"Whitespace", add_whitespace}, {"WhitespaceSplit", add_whitespace_split},
    {"BertPreTokenizer", add_bert}, {"CharDelimiterSplit", add_delimiter},
    {"FixedLength", add_length},    {"Metaspace", add_metaspace},
};

static int read_stage(struct reader *r, const json_t *o, struct error *e)
{
    const char *type = form_text(o, "type");
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(o, "pretokenizers");
        if (!json_is_array(list))
            return error_set(e, "pre_tokenizer Sequence has no list 'pretokenizers'");
        if (r->depth == MAX_SEQUENCES)
            return error_set(e, "pre_tokenizer Sequence is nested more than %d deep",
                             MAX_SEQUENCES);
        r->depth++;
        for (size_t i = 0; i < json_array_size(list); i++)
            TRY(read_stage(r, json_array_get(list, i), e));
        r->depth--;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(stage_readers); i++) {
        if (strcmp(type, stage_readers[i].type) != 0) continue;
        if (r->t->byte_level && !r->mapped) {
            r->mapped = true;
            TRY(pretoken_add_stage(&r->t->pretoken,
                                   (struct pretoken_stage){.scanner = PRETOKEN_BYTES}, e));
        }
        return stage_readers[i].add(r, o, e);
    }
    return form_refused("pre_tokenizer", type, e);
}

/* None: the text is one word. */
int pretoken_read(struct tokenizer *t, const json_t *pre, struct error *e)
{
    struct reader r = {.t = t};
    return !pre || json_is_null(pre) ? 0 : read_stage(&r, pre, e);
}
