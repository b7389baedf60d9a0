/* base_csv.c: a table of published measurements, as spreadsheets write it (RFC 4180).
 *
 * Fields may be quoted, hold commas, line breaks and doubled quotes; lines end in LF or CRLF; a
 * UTF-8 byte-order mark and empty lines are skipped. Everything else is refused with the place:
 * these tables are put together by hand, and a shifted column would be a wrong measurement. The
 * text is read once, fields are copied into one arena. Limits: 64 MiB, 1,024 columns, 1M rows. */
#include "base/base.h"

#include <string.h>

enum { MAX_COLUMNS = 1024, MAX_ROWS = 1 << 20 };

struct csv_reader {
    const char *at, *end, *line_start;
    const char *path;
    int line;
    struct arena *a;
    struct str field;
    struct error *e;
};

static int reader_error(const struct csv_reader *r, const char *what, const char *hint)
{
    error_set_code(r->e, ERROR_CONFIG, "%s:%d:%lld: %s", r->path, r->line,
                   (long long)(r->at - r->line_start + 1), what);
    return error_hint(r->e, "%s", hint);
}

/* Only LF and CRLF end a line; a CR alone is text. */
static bool at_line_end(const struct csv_reader *r)
{
    if (r->at == r->end || *r->at == '\n') return true;
    return *r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n';
}

static void next_line(struct csv_reader *r)
{
    if (r->at < r->end && *r->at == '\r') r->at++;
    if (r->at < r->end) r->at++;
    r->line++;
    r->line_start = r->at;
}

static int read_quoted(struct csv_reader *r)
{
    const struct csv_reader first = *r;
    for (r->at++; r->at < r->end; r->at++) {
        if (*r->at == '"') {
            if (r->at + 1 == r->end || r->at[1] != '"') {
                r->at++;
                return 0;
            }
            r->at++;
        } else if (*r->at == '\n') {
            r->line++;
            r->line_start = r->at + 1;
        } else if (*r->at == 0) {
            return reader_error(r, "a NUL byte in a field", "the file must be text, UTF-8");
        }
        str_append_char(&r->field, *r->at);
    }
    return reader_error(&first, "the quote that opens here is never closed",
                        "a quote inside a quoted field is written twice: \"80\"\" rack\"");
}

static int read_field(struct csv_reader *r)
{
    str_clear(&r->field);
    if (r->at < r->end && *r->at == '"') {
        TRY(read_quoted(r));
        if (!at_line_end(r) && *r->at != ',')
            return reader_error(r, "text behind the closing quote",
                                "quote the whole field: \"a, b\"");
        return 0;
    }
    for (; !at_line_end(r) && *r->at != ','; r->at++) {
        if (*r->at == '"')
            return reader_error(r, "a quote inside a field that does not begin with one",
                                "quote the whole field and double the quote: \"80\"\" rack\"");
        if (*r->at == 0)
            return reader_error(r, "a NUL byte in a field", "the file must be text, UTF-8");
        str_append_char(&r->field, *r->at);
    }
    return 0;
}

/* One record into row[0 .. cap); a record that is longer is an error. Returns the fields. */
static int read_record(struct csv_reader *r, const char **row, size_t cap, const char *too_many)
{
    size_t n = 0;
    for (;;) {
        TRY(read_field(r));
        if (n == cap)
            return reader_error(r, too_many, "quote a field that holds a comma: \"a, b\"");
        row[n++] = arena_strndup(r->a, r->field.data ? r->field.data : "", r->field.len);
        if (at_line_end(r)) return (int)n;
        r->at++; /* the comma */
    }
}

static int read_heads(struct csv_reader *r, struct csv *out)
{
    const char *heads[MAX_COLUMNS];
    if (r->at == r->end)
        return reader_error(r, "the table is empty", "the first line names the columns");
    int n = read_record(r, heads, MAX_COLUMNS, "more than 1024 columns");
    if (n < 0) return n;
    out->n_columns = (size_t)n;
    out->heads = arena_alloc(r->a, out->n_columns * sizeof(*out->heads));
    for (size_t i = 0; i < out->n_columns; i++) {
        out->heads[i] = heads[i];
        for (size_t k = 0; k < i; k++)
            if (strcmp(heads[i], heads[k]) == 0) {
                error_set_code(r->e, ERROR_CONFIG, "%s:1: column '%s' is named twice", r->path,
                               heads[i]);
                return error_hint(r->e, "columns %zu and %zu: remove or rename one", k + 1, i + 1);
            }
    }
    next_line(r);
    return 0;
}

/* Rows grow on the heap and are copied into the arena once, when their number is known. */
static int read_rows(struct csv_reader *r, struct csv *out)
{
    size_t cap = 0;
    const char **fields = NULL;
    int *lines = NULL, rc = 0;
    while (r->at < r->end && rc >= 0) {
        if (at_line_end(r)) {
            next_line(r);
            continue;
        }
        if (out->n_rows == cap) {
            cap = cap ? 2 * cap : 64;
            fields = mem_realloc(fields, cap * out->n_columns * sizeof(*fields));
            lines = mem_realloc(lines, cap * sizeof(*lines));
        }
        lines[out->n_rows] = r->line;
        rc = read_record(r, fields + out->n_rows * out->n_columns, out->n_columns,
                         "more fields than the head has columns");
        if (rc >= 0 && (size_t)rc < out->n_columns) {
            rc = reader_error(
                r,
                arena_printf(r->a, "%d fields, but the head has %zu columns", rc, out->n_columns),
                "an empty field still needs its comma");
        } else if (rc >= 0 && ++out->n_rows > MAX_ROWS) {
            rc = reader_error(r, "more than 1048576 rows", "split the table");
        }
        if (rc >= 0) next_line(r);
    }
    if (rc >= 0 && out->n_rows) {
        size_t count = out->n_rows * out->n_columns;
        out->fields = arena_alloc(r->a, count * sizeof(*fields));
        out->lines = arena_alloc(r->a, out->n_rows * sizeof(*lines));
        memcpy(out->fields, fields, count * sizeof(*fields));
        memcpy(out->lines, lines, out->n_rows * sizeof(*lines));
    }
    mem_free(fields);
    mem_free(lines);
    return MIN(rc, 0);
}

int csv_parse(const char *text, size_t size, const char *path, struct arena *a, struct csv *out,
              struct error *e)
{
    struct csv_reader r = {.at = text, .end = text + size, .path = path, .line = 1, .a = a, .e = e};
    *out = (struct csv){.path = arena_strdup(a, path)};
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) r.at += 3;
    r.line_start = r.at;
    int rc = read_heads(&r, out);
    if (rc >= 0) rc = read_rows(&r, out);
    str_fini(&r.field);
    return rc;
}

int csv_load(const char *path, struct arena *a, struct csv *out, struct error *e)
{
    char *text;
    size_t size;
    TRY(file_read(path, CSV_MAX_BYTES, &text, &size, e));
    int rc = csv_parse(text, size, path, a, out, e);
    mem_free(text);
    return rc;
}

int csv_column(const struct csv *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->heads[i], name) == 0) return (int)i;
    return -1;
}

const char *csv_field(const struct csv *t, size_t row, int column)
{
    CHECK(row < t->n_rows && column < (int)t->n_columns);
    return column < 0 ? "" : t->fields[row * t->n_columns + (size_t)column];
}
