/* text_replace.c: Replace, which normalizers and decoders have: every occurrence of a string, or
 * every match of a regular expression, becomes another string. The expression is Oniguruma's; what
 * replaces it is taken as it stands, whatever it has of backslashes and dollars. */
#include "text/tokenizer/text_tokenizer_internal.h"

void text_replace(const char *text, size_t size, const struct str *what, const struct str *with,
                  struct str *out)
{
    const char *end = text + size, *found;
    while (text < end && (found = memmem(text, (size_t)(end - text), what->data, what->len))) {
        str_append(out, text, (size_t)(found - text));
        if (with->len) str_append(out, with->data, with->len);
        text = found + what->len;
    }
    str_append(out, text, (size_t)(end - text));
}

/* Valid UTF-8, not empty. */
static void replace_matches(const struct replacement *r, struct pattern_work *work,
                            const char *text, size_t size, struct str *out)
{
    struct pattern_scan scan = {.text = text, .size = size};
    struct pattern_match m;
    size_t done = 0;
    while (pattern_next(r->pattern, work, &scan, &m) > 0) {
        str_append(out, text + done, MAX(m.first, done) - done);
        if (r->with.len) str_append(out, r->with.data, r->with.len);
        done = m.last;
    }
    str_append(out, text + done, size - done);
}

void replacement_apply(const struct replacement *r, const char *text, size_t size, struct str *out)
{
    struct pattern_work work = {0};
    if (!r->pattern) {
        text_replace(text, size, &r->what, &r->with, out);
        return;
    }
    while (size) {
        size_t valid = utf8_valid_size(text, size);
        if (valid) replace_matches(r, &work, text, valid, out);
        text += valid;
        size -= valid;
        for (; size && !utf8_decode(text, size, NULL); text++, size--)
            str_append_char(out, *text); /* a byte that is not UTF-8 matches nothing */
    }
    pattern_work_fini(&work);
}

bool replacement_takes_first(const struct replacement *r, const char *text, size_t size)
{
    struct pattern_work work = {0};
    struct pattern_match m;
    if (r->with.len || !size) return false;
    if (!r->pattern) return size >= r->what.len && memcmp(text, r->what.data, r->what.len) == 0;
    struct pattern_scan scan = {.text = text, .size = utf8_valid_size(text, size)};
    bool taken =
        scan.size && pattern_next(r->pattern, &work, &scan, &m) > 0 && m.first == 0 && m.last > 0;
    pattern_work_fini(&work);
    return taken;
}

/* Each place may be a match of no characters. */
double replacement_growth(const struct replacement *r)
{
    if (r->pattern) return 2 + (double)r->with.len;
    return MAX(1, (double)r->with.len / (double)r->what.len);
}

int replacement_read(struct replacement *r, const json_t *o, struct error *e)
{
    const json_t *pattern = json_object_get(o, "pattern"), *content = json_object_get(o, "content");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    if (!json_is_string(content)) return error_set(e, "Replace: 'content' is missing");
    str_append(&r->with, json_string_value(content), json_string_length(content));
    if (json_is_string(regex))
        return pattern_compile(json_string_value(regex), json_string_length(regex),
                               PATTERN_ONIGURUMA, &r->pattern, e) < 0
                   ? error_context(e, "Replace")
                   : 0;
    if (!json_string_length(string))
        return error_set(e, "Replace: the pattern is no Regex and no String, or empty");
    str_append(&r->what, json_string_value(string), json_string_length(string));
    return 0;
}

void replacement_fini(struct replacement *r)
{
    str_fini(&r->what);
    str_fini(&r->with);
    pattern_free(r->pattern);
}
