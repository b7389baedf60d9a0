/* text_corpus.c: cuts files into documents.
 *
 * One buffer holds the part of the file that is being looked at; a document is handed out as a
 * pointer into it, so a byte is copied once (from the file or the decompressor into the buffer).
 * The buffer grows with what a document needs and never beyond one piece, or one JSONL line:
 * that is the bound on memory, whatever the size of the input.
 *
 * Pieces. A document larger than a piece (16 MiB unless the options say otherwise) is handed out
 * in several, so that a 100 GB file of plain text needs no 100 GB of memory. A piece ends behind
 * the last line end that lets it keep within its size, else before a character of UTF-8. Where the
 * cuts fall depends on the bytes alone, never on how much a read returned, because tokens depend
 * on the cuts.
 *
 * Line ends. LINES and FORTUNE take line ends as separators: the '\n' (or "\r\n") that ends a line
 * document, or the last line of a fortune, is not part of the document. TEXT keeps every byte. */
#include "text/corpus/text_corpus_internal.h"

enum {
    CORPUS_FIRST_BUFFER = 256 << 10,
    CORPUS_MAX_LINE = 64 << 20, /* bytes of a JSONL line, where the options name no other limit */
    CORPUS_SLACK = 64           /* bytes read beyond a piece, to see what follows */
};

struct corpus {
    struct arena arena;
    struct corpus_file_list files;
    size_t next_file;
    uint64_t stored_before; /* bytes of the files that are done */
    uint64_t stored_total;  /* 0: unknown */
    uint64_t lines_skipped;
    uint64_t max_line;
    size_t piece_bytes;
    bool skip_missing;
    struct corpus_json_path field;
    const char *field_name;

    struct corpus_source *source; /* NULL: between two files */
    const struct corpus_file *file;
    uint64_t line;     /* of buf[start] */
    bool in_document;  /* the piece handed out last was not the last of its document */
    bool any_document; /* TEXT: handed something out; an empty file is one document */
    bool mid_line;     /* FORTUNE: the last cut was not at a line end, so no line begins here */

    char *buf; /* bytes [start, end) are read and not handed out yet */
    size_t start, end, cap;
    bool eof; /* of the file: nothing comes behind `end` */

    struct str scratch;    /* of the JSONL scanner */
    const char *json_text; /* what is left of a string larger than a piece */
    size_t json_size;
};

/* ------------------------------------------------------------------ opening */

int corpus_open(const struct corpus_options *o, struct corpus **out, struct error *e)
{
    struct corpus *c = mem_calloc(1, sizeof(*c));

    c->piece_bytes = o->piece_bytes ? o->piece_bytes : CORPUS_PIECE_BYTES;
    CHECK(c->piece_bytes >= 16);
    c->cap = MIN((size_t)CORPUS_FIRST_BUFFER, c->piece_bytes + CORPUS_SLACK);
    c->buf = mem_alloc(c->cap);
    c->max_line = o->max_line_bytes ? o->max_line_bytes : CORPUS_MAX_LINE;
    c->skip_missing = o->skip_missing;
    c->field_name = arena_strdup(&c->arena, o->field ? o->field : "text");
    *out = NULL;
    int rc = corpus_json_path_parse(c->field_name, &c->field, e);
    if (rc >= 0) rc = corpus_files_find(o, &c->arena, &c->files, e);
    if (rc < 0) {
        corpus_close(c);
        return rc;
    }
    for (size_t i = 0; i < c->files.count && !c->files.unsized; i++)
        c->stored_total += c->files.items[i].stored_bytes;
    *out = c;
    return 0;
}

void corpus_close(struct corpus *c)
{
    if (!c) return;
    corpus_source_close(c->source);
    mem_free(c->files.items);
    mem_free(c->buf);
    str_fini(&c->scratch);
    arena_fini(&c->arena);
    mem_free(c);
}

uint64_t corpus_bytes_total(const struct corpus *c)
{
    return c->stored_total;
}

uint64_t corpus_bytes_read(const struct corpus *c)
{
    return c->stored_before + (c->source ? corpus_source_stored(c->source) : 0);
}

uint64_t corpus_lines_skipped(const struct corpus *c)
{
    return c->lines_skipped;
}

size_t corpus_file_count(const struct corpus *c)
{
    return c->files.count;
}

const struct corpus_file *corpus_file_at(const struct corpus *c, size_t i)
{
    CHECK(i < c->files.count);
    return &c->files.items[i];
}

/* Everything that is known of a file begins anew; the buffer's memory and the scratch string
 * stay. */
static int file_start(struct corpus *c, struct error *e)
{
    c->file = &c->files.items[c->next_file++];
    TRY(corpus_source_open(c->file->path, &c->source, e));
    c->start = c->end = 0;
    c->eof = c->in_document = c->any_document = c->mid_line = false;
    c->line = 1;
    c->json_text = NULL;
    return 0;
}

static void file_end(struct corpus *c)
{
    c->stored_before += corpus_source_stored(c->source);
    corpus_source_close(c->source);
    c->source = NULL;
}

bool corpus_is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!byte_is_space(text[i])) return false;
    return true;
}

/* ------------------------------------------------------------------ the buffer */

/* Reads at least one byte more unless the file is at its end. `most` is how many bytes from
 * `start` on the caller can ever want: the buffer does not grow beyond that. */
static int buffer_more(struct corpus *c, size_t most, struct error *e)
{
    size_t have = c->end - c->start, want = MIN(MAX(2 * have, (size_t)CORPUS_FIRST_BUFFER), most);

    CHECK(have < most);
    if (c->cap - c->start < want) {
        if (c->start > 0) memmove(c->buf, c->buf + c->start, have);
        c->start = 0;
        c->end = have;
        if (c->cap < want) {
            char *grown = mem_try_realloc(c->buf, want);
            if (!grown) return error_set(e, "no memory for %zu bytes of text", want);
            c->buf = grown;
            c->cap = want;
        }
    }
    int64_t n = corpus_source_read(c->source, c->buf + c->end, c->cap - c->end, e);
    if (n < 0) return (int)n;
    c->eof = n == 0;
    c->end += (size_t)n;
    return 0;
}

/* Reads until `want` bytes are there or the file ends. */
static int buffer_want(struct corpus *c, size_t want, struct error *e)
{
    while (!c->eof && c->end - c->start < want)
        TRY(buffer_more(c, want, e));
    return 0;
}

/* Where a text of which more than `size` bytes are there is cut, if not at a line end: at most
 * `size`, before a character of UTF-8. */
static size_t cut_at_character(const char *text, size_t size)
{
    for (size_t cut = size; cut > size - 4; cut--) {
        if (((uint8_t)text[cut] & 0xc0) != 0x80) return cut;
    }
    return size; /* not UTF-8: any place is as good */
}

/* The place behind the last line end of the first `size` bytes, or else before a character. */
static size_t cut_at_line(const char *text, size_t size)
{
    const char *nl = memrchr(text, '\n', size);
    return nl ? (size_t)(nl - text) + 1 : cut_at_character(text, size);
}

static uint64_t count_lines(const char *text, size_t size)
{
    uint64_t n = 0;
    for (const char *p = text; (p = memchr(p, '\n', size - (size_t)(p - text))) != NULL; p++)
        n++;
    return n;
}

/* Hands out `size` bytes at the buffer's start and drops `taken`, which hold `lines` line ends. */
static int emit(struct corpus *c, struct corpus_document *doc, size_t size, size_t taken,
                uint64_t lines, bool last)
{
    doc->text = c->buf + c->start;
    doc->size = size;
    doc->first = !c->in_document;
    doc->last = last;
    doc->path = c->file->path;
    doc->line = c->line;
    c->in_document = !last;
    c->any_document = true;
    c->start += taken;
    c->line += lines;
    return 1;
}

/* ------------------------------------------------------------------ the formats
 * Each returns 1 with *doc filled, 0 at the end of the file, negative on an error. */

/* A file is one document. Reading CORPUS_SLACK bytes beyond a piece shows whether it is the
 * last. */
static int next_text(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    TRY(buffer_want(c, c->piece_bytes + CORPUS_SLACK, e));
    size_t have = c->end - c->start;
    if (have == 0 && c->any_document) return 0;
    if (have <= c->piece_bytes) return emit(c, doc, have, have, 0, true);
    size_t cut = cut_at_line(c->buf + c->start, c->piece_bytes);
    return emit(c, doc, cut, cut, count_lines(c->buf + c->start, cut), false);
}

/* Finds the line that begins at the buffer's start. Returns 1 with its bytes and those of its end,
 * 0 at the end of the file, 2 where it is longer than `most`. */
static int find_line(struct corpus *c, size_t most, size_t *size, size_t *taken, struct error *e)
{
    size_t scanned = 0;
    for (;;) {
        size_t have = c->end - c->start;
        const char *line = c->buf + c->start;
        const char *nl = have > scanned ? memchr(line + scanned, '\n', have - scanned) : NULL;
        if (nl || (c->eof && have > 0)) {
            *size = nl ? (size_t)(nl - line) : have;
            *taken = *size + (nl != NULL);
            if (nl && *size > 0 && line[*size - 1] == '\r') --*size;
            return *size > most ? 2 : 1;
        }
        if (c->eof) return 0;
        if (have >= most + CORPUS_SLACK) return 2;
        scanned = have;
        TRY(buffer_more(c, most + CORPUS_SLACK, e));
    }
}

/* A line too long for one piece comes in several, the last of which ends where the line does. */
static int next_line(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    size_t size = 0, taken = 0;
    int rc = find_line(c, c->piece_bytes, &size, &taken, e);

    if (rc == 2) {
        size_t cut = cut_at_character(c->buf + c->start, c->piece_bytes);
        return emit(c, doc, cut, cut, 0, false);
    }
    if (rc <= 0) return rc;
    return emit(c, doc, size, taken, 1, true);
}

/* Whether the bytes at `at` are a separator line; *taken is its length with its end. *unknown is
 * set where more bytes must be read to tell. */
static bool separator_at(const struct corpus *c, size_t at, size_t *taken, bool *unknown)
{
    const char *p = c->buf + c->start + at;
    size_t left = c->end - c->start - at;

    *unknown = left < 3 && !c->eof;
    if (*unknown || left == 0 || p[0] != '%') return false;
    *taken = left == 1 || p[1] == '\n' ? MIN(left, (size_t)2) : 3;
    return *taken < 3 || (p[1] == '\r' && (left == 2 || p[2] == '\n'));
}

/* `size` bytes are a whole document or the last piece of one: its line end goes. */
static int emit_fortune(struct corpus *c, struct corpus_document *doc, size_t size, size_t taken,
                        uint64_t lines)
{
    const char *text = c->buf + c->start;
    c->mid_line = false;
    if (size > 0 && text[size - 1] == '\n') {
        size--;
        if (size > 0 && text[size - 1] == '\r') size--;
    }
    return emit(c, doc, size, taken, lines, true);
}

/* Walks from line to line until one is a separator. Nothing is kept from call to call but the
 * buffer's place, so after buffer_more the walk goes on where it was, as `at` counts from the
 * buffer's start. */
static int next_fortune(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    size_t at = 0; /* beginning of a line */
    uint64_t lines = 0;

    for (;;) {
        size_t have = c->end - c->start, taken = 0;
        bool unknown = false;
        if (at == have && c->eof) { /* the file does not end with a separator */
            if (have == 0 && !c->in_document) return 0;
            return emit_fortune(c, doc, have, have, lines);
        }
        if ((at > 0 || !c->mid_line) && separator_at(c, at, &taken, &unknown))
            return emit_fortune(c, doc, at, MIN(at + taken, have), lines + 1);
        const char *text = c->buf + c->start;
        const char *nl = unknown ? NULL : memchr(text + at, '\n', have - at);
        if (nl)
            at = (size_t)(nl - text) + 1, lines++;
        else if (c->eof)
            at = have;
        /* Two more than a piece, because a line end there would not count. */
        if (nl && at <= c->piece_bytes + 2) continue;
        if (at > c->piece_bytes + 2 || have >= c->piece_bytes + CORPUS_SLACK) {
            size_t cut = cut_at_line(text, c->piece_bytes);
            c->mid_line = text[cut - 1] != '\n';
            return emit(c, doc, cut, cut, count_lines(text, cut), false);
        }
        if (!c->eof) TRY(buffer_more(c, c->piece_bytes + CORPUS_SLACK, e));
    }
}

/* The fields that the line does have, for the message. */
static void describe_fields(const char *line, size_t size, const char *field, struct error *e)
{
    json_t *root = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
    const char *names[32], *key, *near;
    struct str list = {0};
    json_t *value;
    size_t n = 0;

    json_object_foreach(root, key, value)
    {
        if (n == ARRAY_LEN(names)) break;
        names[n++] = key;
        str_printf(&list, "%s%s", n > 1 ? ", " : "", key);
    }
    near = name_nearest(field, names, n);
    if (near && strcmp(near, field) == 0)
        error_hint(e, "it is null there; --skip-missing skips such lines");
    else if (near)
        error_hint(e, "did you mean --field %s? (--skip-missing skips such lines)", near);
    else if (n > 0)
        error_hint(e,
                   "it has: %.200s; --field names another one, a.b a nested one, "
                   "--skip-missing skips such lines",
                   list.data);
    str_fini(&list);
    json_decref(root);
}

/* An error with the line's place, what is wrong there, and what to do about it. */
static int json_problem(struct corpus *c, const char *line, size_t size,
                        enum corpus_json_verdict verdict, const struct corpus_json_result *r,
                        struct error *e)
{
    const char *path = c->file->path;
    unsigned long long number = c->line;

    if (verdict == CORPUS_JSON_INVALID) {
        error_set(e, "%s:%llu: invalid JSON at column %zu: %s", path, number, r->column,
                  r->problem);
        return error_hint(e, "every line must be one JSON object; --format text or lines reads the "
                             "file as plain text");
    }
    if (verdict == CORPUS_JSON_OTHER) {
        error_set(e, "%s:%llu: field '%s' is %s, not a string", path, number, c->field_name,
                  r->problem);
        return error_hint(e, "--field names another one");
    }
    error_set(e, "%s:%llu: no string at field '%s'", path, number, c->field_name);
    describe_fields(line, size, c->field_name, e);
    return ERROR_FAILED;
}

/* Hands out the next piece of the string found last. */
static int emit_json(struct corpus *c, struct corpus_document *doc)
{
    size_t size = c->json_size;
    bool last = size <= c->piece_bytes;

    if (!last) size = cut_at_line(c->json_text, c->piece_bytes);
    emit(c, doc, size, 0, 0, last);
    doc->text = c->json_text;
    c->json_text = last ? NULL : c->json_text + size;
    c->json_size -= size;
    if (last) c->line++;
    return 1;
}

/* Empty lines between objects are common in files that were put together by hand. */
static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    }
    return true;
}

static int next_jsonl(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    if (c->json_text) return emit_json(c, doc);
    for (;;) {
        size_t size = 0, taken = 0;
        int rc = find_line(c, c->max_line, &size, &taken, e);
        if (rc == 2) {
            error_set(e, "%s:%llu: the line is longer than %llu bytes", c->file->path,
                      (unsigned long long)c->line, (unsigned long long)c->max_line);
            return error_hint(e, "raise --max-line-bytes if that is right");
        }
        if (rc <= 0) return rc;
        const char *line = c->buf + c->start;
        c->start += taken;
        if (c->line == 1 && size >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
            line += 3; /* byte-order mark */
            size -= 3;
        }
        if (!is_blank(line, size)) {
            struct corpus_json_result r;
            enum corpus_json_verdict v = corpus_json_find(line, size, &c->field, &c->scratch, &r);
            if (v == CORPUS_JSON_FOUND) { /* its bytes stay in the buffer until the next call */
                c->json_text = r.text;
                c->json_size = r.size;
                return emit_json(c, doc);
            }
            if (v != CORPUS_JSON_MISSING || !c->skip_missing)
                return json_problem(c, line, size, v, &r, e);
            c->lines_skipped++;
        }
        c->line++;
    }
}

int corpus_next(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    for (;;) {
        int rc;
        if (!c->source) {
            if (c->next_file == c->files.count) return 0;
            TRY(file_start(c, e));
        }
        switch (c->file->format) {
        case CORPUS_LINES: rc = next_line(c, doc, e); break;
        case CORPUS_JSONL: rc = next_jsonl(c, doc, e); break;
        case CORPUS_FORTUNE: rc = next_fortune(c, doc, e); break;
        default: rc = next_text(c, doc, e); break;
        }
        if (rc != 0) return rc;
        file_end(c);
    }
}
