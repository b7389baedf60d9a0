/* base_json.c: JSON in (jansson) and out (jansson for whole files, a writer of our own for lines).
 *
 * What comes in is checked at the border: duplicate keys are refused, and each error says which
 * file, which key and what was found instead. What goes out on a hot path (a line of metrics every
 * step) is appended to a string that keeps its memory, so that no step allocates. Numbers take the
 * shortest form that reads back to the same bits, because a loss curve is compared bit for bit. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define JSON_OPEN_MAX ((size_t)1 << 30)

int json_parse(const char *text, size_t size, const char *name, json_t **root, struct error *e)
{
    json_error_t problem;
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (*root) return 0;
    /* jansson says "... near '<the rest of the line>'": keep the part that is short */
    return error_set_code(e, ERROR_CONFIG, "%s:%d:%d: %s", name, MAX(problem.line, 1),
                          MAX(problem.column, 1), problem.text);
}

int json_load_path(const char *path, size_t max_size, json_t **root, struct error *e)
{
    char *text;
    size_t size;
    TRY(file_read(path, MIN(max_size, JSON_OPEN_MAX), &text, &size, e));
    int rc = json_parse(text, size, path, root, e);
    mem_free(text);
    return rc;
}

/* ------------------------------------------------------------------ members */

static const char *type_name(const json_t *value)
{
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

/* A missing member has an error of its own, as it is the more common mistake. */
static int wrong_type(const char *name, const char *key, const char *wanted, const json_t *found,
                      struct error *e)
{
    if (!found) return error_set_code(e, ERROR_CONFIG, "%s: '%s' is missing", name, key);
    return error_set_code(e, ERROR_CONFIG, "%s: '%s' should be %s, but is %s", name, key, wanted,
                          type_name(found));
}

int json_get_string(const json_t *o, const char *key, const char **value, const char *name,
                    struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) return wrong_type(name, key, "a string", v, e);
    if (strlen(json_string_value(v)) != json_string_length(v))
        return error_set_code(e, ERROR_CONFIG, "%s: '%s' has a NUL character in it", name, key);
    *value = json_string_value(v);
    return 0;
}

int json_get_int(const json_t *o, const char *key, int64_t *value, const char *name,
                 struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v)) return wrong_type(name, key, "a whole number", v, e);
    *value = json_integer_value(v);
    return 0;
}

int json_get_real(const json_t *o, const char *key, double *value, const char *name,
                  struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) return wrong_type(name, key, "a number", v, e);
    *value = json_number_value(v);
    return 0;
}

/* ------------------------------------------------------------------ whole files */

static int dump_to_str(const char *buffer, size_t size, void *data)
{
    str_append(data, buffer, size);
    return 0;
}

/* Keys are sorted, so that equal contents are equal files. */
int json_save_path(const json_t *root, const char *path, struct error *e)
{
    struct str text = {0};
    size_t flags = JSON_SORT_KEYS | JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY;
    int rc = json_dump_callback(root, dump_to_str, &text, flags);
    CHECK_MSG(rc == 0, "json_save_path('%s') of something that is not JSON", path);
    str_append_char(&text, '\n');
    rc = file_write(path, text.data, text.len, e);
    str_fini(&text);
    return rc;
}

/* ------------------------------------------------------------------ lines */

void jsonw_begin(struct json_writer *w, struct str *out)
{
    w->out = out;
    w->comma = false;
}

static void put_escaped(struct str *out, unsigned char c)
{
    static const char letters[] = "btnvfr"; /* from 8; JSON has no \v */
    if (c == '"' || c == '\\')
        str_printf(out, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        str_printf(out, "\\%c", letters[c - 8]);
    else
        str_printf(out, "\\u%04x", c);
}

/* Quotes text; bytes that are not UTF-8 become U+FFFD, since JSON cannot hold them. */
static void put_string(struct str *out, const char *value, size_t n)
{
    const unsigned char *s = (const unsigned char *)value;
    str_append_char(out, '"');
    for (size_t i = 0; i < n;) {
        size_t run = i;
        while (run < n && s[run] >= 0x20 && s[run] < 0x7F && s[run] != '"' && s[run] != '\\')
            run++;
        str_append(out, s + i, run - i);
        i = run;
        if (i == n) break;
        utf8proc_int32_t c;
        utf8proc_ssize_t length = utf8proc_iterate(s + i, (utf8proc_ssize_t)(n - i), &c);
        if (s[i] < 0x80)
            put_escaped(out, s[i]);
        else if (length > 0)
            str_append(out, s + i, (size_t)length);
        else
            str_puts(out, "\xEF\xBF\xBD");
        i += (size_t)MAX(length, 1);
    }
    str_append_char(out, '"');
}

/* The comma is put before a member and not behind it: nobody has to know which one is the last. */
static void put_key(struct json_writer *w, const char *key)
{
    if (w->comma) str_append_char(w->out, ',');
    w->comma = true;
    if (key) {
        put_string(w->out, key, strlen(key));
        str_append_char(w->out, ':');
    }
}

void jsonw_open(struct json_writer *w, const char *key, char bracket)
{
    CHECK(bracket == '{' || bracket == '[');
    put_key(w, key);
    str_append_char(w->out, bracket);
    w->comma = false;
}

void jsonw_close(struct json_writer *w, char bracket)
{
    CHECK(bracket == '}' || bracket == ']');
    str_append_char(w->out, bracket);
    w->comma = true;
}

void jsonw_string_n(struct json_writer *w, const char *key, const char *value, size_t n)
{
    put_key(w, key);
    put_string(w->out, value, n);
}

void jsonw_string(struct json_writer *w, const char *key, const char *value)
{
    if (value) {
        jsonw_string_n(w, key, value, strlen(value));
        return;
    }
    put_key(w, key);
    str_puts(w->out, "null");
}

void jsonw_int(struct json_writer *w, const char *key, int64_t value)
{
    put_key(w, key);
    str_printf(w->out, "%lld", (long long)value);
}

/* 15 digits always survive the way there and back for a normal double, and %g drops the zeros
 * behind them, so the first of 15, 16, 17 that reads back the same is the shortest. A subnormal
 * has fewer digits to begin with: look from one up. */
const char *json_real_text(char text[40], double value)
{
    if (!isfinite(value)) return "null";
    for (int digits = fabs(value) < 2.2250738585072014e-308 ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return text;
}

void jsonw_real(struct json_writer *w, const char *key, double value)
{
    char text[40];
    put_key(w, key);
    str_puts(w->out, json_real_text(text, value));
}

void jsonw_bool(struct json_writer *w, const char *key, bool value)
{
    put_key(w, key);
    str_puts(w->out, value ? "true" : "false");
}
