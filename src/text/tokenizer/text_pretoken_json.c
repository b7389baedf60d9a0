/* text_pretoken_json.c: the pre_tokenizer of a tokenizer.json, which names the stages that cut text
 * into words. What is not followed is refused with a message that names it. */
#include "text/tokenizer/text_tokenizer_internal.h"

static int add_split(struct tokenizer *t, const json_t *split, struct error *e)
{
    const char *behavior = form_text(split, "behavior");
    const json_t *pattern = json_object_get(json_object_get(split, "pattern"), "Regex");
    if (!json_is_string(pattern))
        return error_set(e, "pre_tokenizer Split by anything but a Regex is not supported");
    const char *text = json_string_value(pattern);
    size_t size = json_string_length(pattern);
    /* Inverted and removed: words are kept, what lies between them goes; fine where nothing does. */
    bool keeps_words = strcmp(behavior, "Removed") == 0 && form_true(split, "invert") &&
                       pretoken_covers(text, size);
    if (strcmp(behavior, "Isolated") != 0 && !keeps_words)
        return form_refused("pre_tokenizer Split with behavior", behavior, e);
    if (pretoken_add(&t->pretoken, text, size, e) < 0)
        return error_context(e, "pre_tokenizer Split");
    return 0;
}

static int add_byte_level(struct tokenizer *t, const json_t *level, bool first, struct error *e)
{
    const json_t *use_regex = json_object_get(level, "use_regex");
    if (form_true(level, "add_prefix_space")) {
        if (!first)
            return error_set(e, "pre_tokenizer ByteLevel with add_prefix_space behind another one "
                                "is not supported");
        t->prefix_space = true;
    }
    if (json_is_false(use_regex)) return 0;
    return pretoken_add(&t->pretoken, PRETOKEN_PATTERN_GPT2, strlen(PRETOKEN_PATTERN_GPT2), e);
}

/* Stages in their order; none: the text is one word. ByteLevel ends them, because it turns text into byte characters, which
 * here are bytes all along. */
int pretoken_read(struct tokenizer *t, const json_t *pre, struct error *e)
{
    size_t n = 1;
    const json_t *list = NULL;
    if (!pre || json_is_null(pre)) return 0;
    if (strcmp(form_text(pre, "type"), "Sequence") == 0) {
        list = json_object_get(pre, "pretokenizers");
        n = json_array_size(list);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *stage = list ? json_array_get(list, i) : pre;
        const char *type = form_text(stage, "type");
        if (strcmp(type, "ByteLevel") == 0) {
            if (i + 1 < n) return error_set(e, "pre_tokenizer ByteLevel is not the last");
            t->byte_level = true;
            return add_byte_level(t, stage, i == 0, e);
        }
        if (strcmp(type, "Split") == 0) {
            TRY(add_split(t, stage, e));
        } else if (strcmp(type, "Digits") == 0) {
            const char *pattern = form_true(stage, "individual_digits") ? "\\p{N}" : "\\p{N}+";
            TRY(pretoken_add(&t->pretoken, pattern, strlen(pattern), e));
        } else {
            return form_refused("pre_tokenizer", type, e);
        }
    }
    return 0;
}
