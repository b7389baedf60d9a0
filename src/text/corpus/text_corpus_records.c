/* text_corpus_records.c: documents from JSON, one object a line (JSONL) or in any layout (JSON).
 *
 * A record is one object. In JSONL it is a line, so that whatever is wrong with one, the next begins
 * behind the line end. In JSON records follow each other, inside an array or not, over any number of
 * lines; where one ends is found by its brackets and quotes (corpus_json_extent), and it is then read
 * by the same scanner. So a huge array takes no more memory than its largest object.
 *
 * A bad record is an error that names file, line and column, or, where the options ask for it,
 * skipped and counted by its reason. What cannot be skipped is damage after which nobody knows where
 * the next record begins: an array whose commas are missing, a bracket that closes another kind. */
#include "text/corpus/text_corpus_internal.h"

enum { SHARE_RECORDS = 10000 }; /* before so many a share says little */

/* One record as it stands in the buffer, or the part of it that was read. */
struct record {
    const char *text;
    size_t size;
    bool last; /* the file ends behind it, without a line end */
};

/* ------------------------------------------------------------------ what is wrong */

/* "a.jsonl:12:7" of the byte `at` of a record, which begins at c->line and c->column. */
static char *place_of(struct corpus *c, const struct record *r, size_t at)
{
    const char *nl = memrchr(r->text, '\n', MIN(at, r->size));
    uint64_t line = c->line + corpus_count_lines(r->text, MIN(at, r->size));
    size_t column = nl ? at - (size_t)(nl - r->text) - 1 : c->column + at;
    return arena_printf(&c->arena, "%s:%llu:%zu", c->file->path, (unsigned long long)line,
                        column + 1);
}

/* The object in the record that the path leads to as far as it does, and the level reached. */
static json_t *deepest(const struct corpus *c, json_t *root, struct str *prefix, int *level)
{
    const struct corpus_json_path *path = &c->field;
    for (*level = 0; *level + 1 < path->n_levels; ++*level) {
        json_t *next = json_object_getn(root, path->names[*level], path->sizes[*level]);
        if (!json_is_object(next)) break;
        str_append(prefix, path->names[*level], path->sizes[*level]);
        str_append_char(prefix, '.');
        root = next;
    }
    return root;
}

/* What the record does have, for the message. */
static void describe_fields(struct corpus *c, const struct record *r, struct error *e)
{
    json_t *root = json_loadb(r->text, r->size, JSON_ALLOW_NUL, NULL), *value;
    const char *strings[32], *key;
    struct str list = {0}, prefix = {0};
    size_t n = 0, n_strings = 0;
    int level;
    json_t *inner = deepest(c, root, &prefix, &level);
    const char *name = arena_strndup(&c->arena, c->field.names[level], c->field.sizes[level]);

    json_object_foreach(inner, key, value)
    {
        const char *quoted = corpus_json_path_quote(key, &c->arena);
        if (n++ == ARRAY_LEN(strings)) break;
        if (json_is_string(value)) strings[n_strings++] = key;
        str_printf(&list, "%s%s%s", n > 1 ? ", " : "", prefix.data ? prefix.data : "", quoted);
    }
    const char *near = name_nearest(name, strings, n_strings);
    if (json_is_null(json_object_get(inner, name)) ||
        json_is_null(json_object_get(root, c->field.text)))
        error_hint(e, "it is null there; --skip-missing skips such records");
    else if (near)
        error_hint(e, "did you mean --field %s%s? (--skip-missing skips such records)",
                   prefix.data ? prefix.data : "", corpus_json_path_quote(near, &c->arena));
    else if (n > 0)
        error_hint(e,
                   "it has: %.200s; --field names another one, a.b is b in a, "
                   "--skip-missing skips such records",
                   list.data);
    str_fini(&list);
    str_fini(&prefix);
    json_decref(root);
}

/* What to do about a record that is not JSON as it should be. */
static int hint_record(const struct corpus *c, enum corpus_bad bad, struct error *e)
{
    if (c->o.objects)
        return error_hint(e, "a task's file holds one JSON object a line, or an array of them");
    if (bad == CORPUS_BAD_CUT)
        return error_hint(e, "the file was cut off; --skip-bad skips what is left of the record");
    if (bad == CORPUS_BAD_LONG)
        return error_hint(e, "raise --max-line-bytes if that is right; --skip-bad skips it");
    if (bad == CORPUS_BAD_JSON && c->format == CORPUS_JSONL)
        return error_hint(e, "every line must be one JSON object; --format json reads objects over "
                             "several lines, text or lines plain text; --skip-bad skips bad lines");
    return error_hint(e, "%s--skip-bad skips such records and counts them",
                      bad == CORPUS_BAD_TYPE ? "--field names another one; " : "");
}

/* An error with the record's place, what is wrong there, and what to do about it. */
static int record_problem(struct corpus *c, const struct record *r,
                          const struct corpus_json_result *found, struct error *e)
{
    char *place = place_of(c, r, found->column ? found->column - 1 : 0);
    const char *what = found->problem;
    if (found->bad == CORPUS_BAD_MISSING) {
        error_set(e, "%s: no string at field '%s'", place, c->o.field);
        describe_fields(c, r, e);
        return ERROR_FAILED;
    }
    if (found->bad == CORPUS_BAD_LONG)
        error_set(e, "%s: the %s is longer than %llu bytes", place,
                  c->format == CORPUS_JSON ? "object" : "line", (unsigned long long)c->max_line);
    else if (found->bad == CORPUS_BAD_TYPE && strncmp(what, "the ", 4) != 0)
        error_set(e, "%s: field '%s' is %s, not a string", place, c->o.field, what);
    else if (found->bad == CORPUS_BAD_CUT)
        error_set(e, "%s: the file ends inside the record: %s", place, what);
    else
        error_set(e, "%s: invalid JSON: %s", place, what);
    bool no_object = found->bad == CORPUS_BAD_TYPE && strncmp(what, "the ", 4) == 0;
    return hint_record(c, no_object ? CORPUS_BAD_JSON : found->bad, e);
}

#define TOO_MANY_BAD "look at the input, or allow more with a higher --skip-bad"

/* Whether there are more bad records than the options allow. */
static bool over_limit(const struct corpus *c)
{
    if (c->o.bad_limit && c->bad > c->o.bad_limit) return true;
    return c->o.bad_share > 0 && c->records >= SHARE_RECORDS &&
           (double)c->bad > c->o.bad_share * (double)c->records;
}

int corpus_bad_add(struct corpus *c, enum corpus_bad bad, struct error *why)
{
    c->skipped[bad]++;
    c->bad++;
    if (over_limit(c)) {
        error_context(why, "%llu of %llu records are bad, more than --skip-bad allows",
                      (unsigned long long)c->bad, (unsigned long long)c->records);
        return error_hint(why, TOO_MANY_BAD);
    }
    if (c->skipped[bad] == 1 && !c->o.quiet)
        log_warn("skipped: %s (others of this kind are only counted)", why->text);
    return 0;
}

/* A bad record is an error where none may be skipped, or not one more. */
static int skip_record(struct corpus *c, const struct record *r,
                       const struct corpus_json_result *found, struct error *e)
{
    bool expected = found->bad == CORPUS_BAD_MISSING && c->o.skip_missing;
    struct error why = {0};
    if (!expected && !c->o.skip_bad) return record_problem(c, r, found, e);
    if (expected) {
        c->skipped[found->bad]++;
        return 0;
    }
    record_problem(c, r, found, &why);
    int rc = corpus_bad_add(c, found->bad, &why);
    if (rc < 0 && e) *e = why;
    return rc;
}

int corpus_records_check(const struct corpus *c, struct error *e)
{
    if (!(c->o.bad_share > 0) || (double)c->bad <= c->o.bad_share * (double)c->records) return 0;
    error_set(e, "%llu of %llu records are bad, more than --skip-bad allows",
              (unsigned long long)c->bad, (unsigned long long)c->records);
    return error_hint(e, TOO_MANY_BAD);
}

/* ------------------------------------------------------------------ one record */

/* Hands out the next piece of the string found last. */
static int emit_json(struct corpus *c, struct corpus_document *doc)
{
    size_t size = c->json_size;
    bool last = size <= c->piece_bytes;

    if (!last) size = corpus_cut(c->json_text, c->piece_bytes);
    corpus_emit(c, doc, size, 0, 0, last);
    doc->text = c->json_text;
    c->json_text = last ? NULL : c->json_text + size;
    c->json_size -= size;
    if (!last) return 1;
    c->line += c->json_lines;
    c->column = c->json_column;
    return 1;
}

/* A record that ends with its file is cut off where it is wrong only at its end: no escape and no
 * character is longer than 12 bytes. */
static bool is_cut(const struct record *r, const struct corpus_json_result *found)
{
    return r->last && found->column + 11 > r->size &&
           (found->bad == CORPUS_BAD_JSON || found->bad == CORPUS_BAD_UTF8 ||
            found->bad == CORPUS_BAD_SURROGATE);
}

/* Reads a record whose bytes are taken from the buffer but still there. 1: its string is handed
 * out; 0: it was skipped. */
static int take_record(struct corpus *c, const struct record *r, struct corpus_document *doc,
                       struct error *e)
{
    struct corpus_json_result found;
    enum corpus_json_verdict v =
        corpus_json_find(r->text, r->size, c->o.objects ? NULL : &c->field, &c->scratch, &found);
    c->records++;
    if (v == CORPUS_JSON_FOUND) { /* its bytes stay in the buffer until the next call */
        c->json_text = found.text;
        c->json_size = found.size;
        return emit_json(c, doc);
    }
    if (v == CORPUS_JSON_INVALID && is_cut(r, &found)) found.bad = CORPUS_BAD_CUT;
    return skip_record(c, r, &found, e);
}

static int take_long(struct corpus *c, struct error *e)
{
    const struct corpus_json_result found = {.bad = CORPUS_BAD_LONG};
    const struct record r = {.text = c->buf + c->start};
    c->records++;
    return skip_record(c, &r, &found, e);
}

/* ------------------------------------------------------------------ one object a line */

/* Drops the rest of a line without keeping it. */
static int drop_line(struct corpus *c, struct error *e)
{
    for (;;) {
        const char *text = c->buf + c->start;
        const char *nl = memchr(text, '\n', c->end - c->start);
        if (nl) c->start += (size_t)(nl - text) + 1;
        if (nl || c->eof) return 0;
        c->start = c->end;
        TRY(corpus_buffer_more(c, CORPUS_FIRST_BUFFER, e));
    }
}

/* Empty lines between objects are common in files that were put together by hand. */
static bool is_blank_line(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    }
    return true;
}

static int next_line(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    for (;;) {
        size_t size = 0, taken = 0;
        int rc = corpus_buffer_line(c, c->max_line, &size, &taken, e);
        if (rc <= 0) return rc;
        if (rc == 2) {
            TRY(take_long(c, e));
            TRY(drop_line(c, e));
            c->line++;
            continue;
        }
        struct record r = {.text = c->buf + c->start, .size = size};
        r.last = taken == size;
        c->start += taken;
        if (c->line == 1 && size >= 3 && memcmp(r.text, "\xef\xbb\xbf", 3) == 0) {
            r.text += 3; /* byte-order mark */
            r.size -= 3;
        }
        c->json_lines = 1;
        c->json_column = 0;
        if (!is_blank_line(r.text, r.size)) {
            rc = take_record(c, &r, doc, e);
            if (rc != 0) return rc;
        }
        c->line++;
    }
}

/* ------------------------------------------------------------------ objects in any layout */

/* Damage after which the next record cannot be found. */
static int broken(struct corpus *c, const char *what, struct error *e)
{
    const struct record r = {.text = c->buf + c->start};
    error_set(e, "%s: invalid JSON: %s", place_of(c, &r, 0), what);
    return error_hint(e, "objects stand in an array, or one behind another; --format text reads "
                         "the file as plain text");
}

/* Takes n bytes from the buffer, with their lines and columns. */
static void pass(struct corpus *c, size_t n)
{
    const char *text = c->buf + c->start, *nl = memrchr(text, '\n', n);
    c->line += corpus_count_lines(text, n);
    c->column = nl ? n - (size_t)(nl - text) - 1 : c->column + n;
    c->start += n;
}

/* Passes over white space, and a byte-order mark where the file begins. 1: *ch is the byte at the
 * buffer's start; 0: the file ends. */
static int peek(struct corpus *c, char *ch, struct error *e)
{
    bool begins = c->line == 1 && c->column == 0 && c->place == PLACE_TOP;
    while (begins && !c->eof && c->end - c->start < 3)
        TRY(corpus_buffer_more(c, CORPUS_FIRST_BUFFER, e));
    if (begins && c->end - c->start >= 3 && memcmp(c->buf + c->start, "\xef\xbb\xbf", 3) == 0)
        pass(c, 3);
    for (;;) {
        const char *text = c->buf + c->start;
        size_t have = c->end - c->start, n = 0;
        while (n < have && strchr(" \t\r\n", text[n]) && text[n])
            n++;
        pass(c, n);
        if (n < have) {
            *ch = c->buf[c->start];
            return 1;
        }
        if (c->eof) return 0;
        TRY(corpus_buffer_more(c, CORPUS_FIRST_BUFFER, e));
    }
}

static int unskippable(struct error *e)
{
    return error_hint(e,
                      "where the next object begins cannot be told, so it cannot be skipped: mend "
                      "the file");
}

/* Takes the value that begins at the buffer's start as a record: 1 handed out, 0 skipped. One that
 * is too long is passed over without being kept. */
static int take_value(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    struct corpus_json_extent x = {0};
    size_t size = 0;
    bool too_long = false;
    for (;;) {
        size += corpus_json_extent(&x, c->buf + c->start + size, c->end - c->start - size);
        if (x.done || x.broken || (c->eof && c->start + size == c->end)) break;
        if (size > c->max_line && !too_long) {
            TRY(take_long(c, e));
            too_long = true;
        }
        if (too_long) {
            pass(c, size);
            size = 0;
        }
        TRY(corpus_buffer_more(c, c->max_line + CORPUS_SLACK, e));
    }
    if (!too_long && size > c->max_line) {
        TRY(take_long(c, e));
        too_long = true;
    }
    struct record r = {.text = c->buf + c->start, .size = size, .last = !x.done && !x.scalar};
    if (r.last && !too_long && !x.broken && memmem(r.text, size, "\n{", 2)) {
        /* it ends nowhere, and another one seems to begin in it */
        struct corpus_json_result found;
        corpus_json_find(r.text, r.size, NULL, &c->scratch, &found);
        int rc = record_problem(c, &r, &found, e);
        return c->o.skip_bad ? unskippable(e) : rc;
    }
    if (x.broken) { /* the scanner says where and why */
        struct corpus_json_result found;
        corpus_json_find(r.text, r.size, NULL, &c->scratch, &found);
        if (too_long || !found.problem) return broken(c, "the object is not closed", e);
        int rc = record_problem(c, &r, &found, e);
        return c->o.skip_bad ? unskippable(e) : rc;
    }
    if (!too_long) {
        const char *nl = memrchr(r.text, '\n', size);
        c->json_lines = corpus_count_lines(r.text, size);
        c->json_column = nl ? size - (size_t)(nl - r.text) - 1 : c->column + size;
        c->start += size;
        int rc = take_record(c, &r, doc, e);
        if (rc != 0) return rc;
        c->start -= size;
    }
    if (r.last) c->place = PLACE_TOP; /* the file ends in it: its array is not cut off as well */
    pass(c, size);
    return 0;
}

/* What stands between two records: 1: a value comes next; 0: go on; negative: damage. */
static int take_mark(struct corpus *c, char ch, struct error *e)
{
    enum corpus_json_place at = c->place;
    bool in_array = at != PLACE_TOP;
    if (at == PLACE_ARRAY_NEXT && ch != ',' && ch != ']')
        return broken(c, "',' or ']' belongs here", e);
    if (ch == ',' && at == PLACE_ARRAY_NEXT)
        c->place = PLACE_ARRAY_VALUE;
    else if (ch == ']' && in_array && at != PLACE_ARRAY_VALUE)
        c->place = PLACE_TOP;
    else if (ch == '[' && !in_array)
        c->place = PLACE_ARRAY_BEGIN;
    else if (strchr(",]}:", ch))
        return broken(c, "an object belongs here", e);
    else
        return 1;
    pass(c, 1);
    return 0;
}

static int next_value(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    for (;;) {
        char ch;
        int rc = peek(c, &ch, e);
        if (rc < 0) return rc;
        if (rc == 0 && c->place == PLACE_TOP) return 0;
        if (rc == 0) {
            const struct corpus_json_result found = {.bad = CORPUS_BAD_CUT,
                                                     .problem = "the array is not closed"};
            const struct record r = {.text = c->buf + c->start};
            c->place = PLACE_TOP;
            return skip_record(c, &r, &found, e);
        }
        rc = take_mark(c, ch, e);
        if (rc < 0) return rc;
        if (rc == 0) continue;
        if (c->place != PLACE_TOP) c->place = PLACE_ARRAY_NEXT;
        rc = take_value(c, doc, e);
        if (rc != 0) return rc;
    }
}

int corpus_next_record(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    if (c->json_text) return emit_json(c, doc);
    return c->format == CORPUS_JSON ? next_value(c, doc, e) : next_line(c, doc, e);
}
