/* text_corpus.c: cuts files into documents.
 *
 * One buffer holds the part of the file that is being looked at; a document is handed out as a
 * pointer into it, so a byte is copied once (from the file or the decompressor into the buffer).
 * The buffer grows with what a document needs and never beyond one piece, or one record of JSON:
 * that is the bound on memory, whatever the size of the input. Records are read in
 * text_corpus_records.c.
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

enum { CORPUS_MAX_LINE = 64 << 20 }; /* bytes of a JSON record, where the options name no limit */

const char *const corpus_bad_names[CORPUS_BAD_KINDS] = {
    [CORPUS_BAD_MISSING] = "no such field",
    [CORPUS_BAD_TYPE] = "not a string",
    [CORPUS_BAD_JSON] = "not JSON",
    [CORPUS_BAD_UTF8] = "invalid UTF-8",
    [CORPUS_BAD_SURROGATE] = "half a surrogate pair",
    [CORPUS_BAD_NUMBER] = "NaN or Infinity",
    [CORPUS_BAD_TWICE] = "field twice",
    [CORPUS_BAD_BOM] = "byte-order mark inside",
    [CORPUS_BAD_CUT] = "cut off",
    [CORPUS_BAD_LONG] = "too long",
    [CORPUS_BAD_DEEP] = "nested too deep",
    [CORPUS_BAD_FILE] = "file of another kind",
};

/* ------------------------------------------------------------------ looking at files */

static const char *display_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* A kind of content that is no text. What was asked for in so many words is done, with a
 * warning. Returns 1 and an error where the file is refused. */
static int refuse_kind(const struct corpus *c, const struct corpus_head *h, const char **kind,
                       struct error *e)
{
    const char *cure;
    *kind = corpus_kind_find(h, &cure);
    if (!*kind) return 0;
    if (c->o.format != CORPUS_AUTO && c->o.format != CORPUS_JSONL && c->o.format != CORPUS_JSON) {
        if (!c->o.quiet)
            log_warn("'%s' is %s; --format %s takes its bytes as text", display_name(h->path),
                     *kind, corpus_format_names[c->o.format]);
        return 0;
    }
    error_set(e, "'%s' is %s, which is not read", display_name(h->path), *kind);
    error_hint(e, "%s", cure);
    return 1;
}

/* Decides the format of a file whose first bytes are h. Returns 1 and an error where it is of a
 * kind that is not read. */
static int decide_format(struct corpus *c, const struct corpus_head *h, enum corpus_format *format,
                         const char **kind, struct error *e)
{
    int rc = refuse_kind(c, h, kind, e);
    *format = c->o.format;
    if (rc != 0 || c->o.format != CORPUS_AUTO) return rc;
    return corpus_format_find(h, &c->field, format, e);
}

/* Looks at the first bytes of a file; those of a packed one are what was packed. */
static int look_at(struct corpus *c, struct corpus_file *f, char *room, const char **kind,
                   struct error *e)
{
    struct corpus_head h = {.path = f->path, .bytes = room};
    struct corpus_source *s;
    /* A magic number needs little; an object of JSON may be long. */
    size_t most = c->o.format == CORPUS_AUTO ? CORPUS_FIRST_BUFFER : 4096;
    int64_t n = 1;
    TRY(corpus_source_open(f->path, &s, e));
    h.packed = corpus_source_is_packed(s);
    while (n > 0 && h.size < most) {
        n = corpus_source_read(s, room + h.size, most - h.size, e);
        h.size += (size_t)MAX(n, 0);
    }
    h.whole = n == 0;
    corpus_source_close(s);
    return n < 0 ? (int)n : decide_format(c, &h, &f->format, kind, e);
}

/* What is refused is named: the first with what to do, some of the others. */
static int refuse_files(const struct error *first, size_t n, const struct str *others,
                        struct error *e)
{
    if (!e) return ERROR_FAILED;
    *e = *first;
    if (n == 1) return first->code;
    error_set(e, "%s; nor are %s", first->text, others->data);
    return error_hint(e, "%s; --skip-bad leaves such files of a folder out", first->hint);
}

/* Before anything is read, so that hours of work do not end at the last file. */
static int look_at_all(struct corpus *c, struct error *e)
{
    size_t kept = 0, refused = 0;
    struct error first = {0};
    struct str others = {0};
    char *room = mem_alloc(CORPUS_FIRST_BUFFER);
    int rc = 0;
    for (size_t i = 0; i < c->files.count && rc >= 0; i++) {
        struct corpus_file f = c->files.items[i];
        struct error why = {0};
        const char *kind = NULL;
        rc = f.pipe ? 0 : look_at(c, &f, room, &kind, &why);
        if (rc == 0) {
            c->files.items[kept++] = f;
        } else if (rc == 1 && c->o.skip_bad && f.in_folder) {
            c->skipped[CORPUS_BAD_FILE]++;
            corpus_files_leave(&c->files, f.path, kind);
        } else if (rc == 1) {
            if (refused == 0) first = why;
            if (refused > 0 && refused < 4)
                str_printf(&others, "%s'%s' (%s)", refused > 1 ? ", " : "", f.path, kind);
            refused++;
        } else if (e) {
            *e = why;
        }
    }
    if (rc >= 0 && refused > 4) str_printf(&others, " and %zu more", refused - 4);
    if (rc >= 0 && refused > 0) rc = refuse_files(&first, refused, &others, e);
    c->files.count = kept;
    mem_free(room);
    str_fini(&others);
    return MIN(rc, 0);
}

/* One line for the person who watches: nothing vanishes without a word. */
static void log_left(const struct corpus *c)
{
    struct str text = {0};
    size_t n = c->files.n_left;
    for (size_t i = 0; i < n && i < 6; i++)
        str_printf(&text, "%s'%s' (%s)", i ? ", " : "", c->files.left[i].path,
                   c->files.left[i].why);
    if (n > 6) str_printf(&text, " and %zu more, which --dry-run lists", n - 6);
    if (n > 0) log_info("left out: %s", text.data);
    str_fini(&text);
}

/* ------------------------------------------------------------------ opening */

static int open_files(struct corpus *c, const struct corpus_options *o, struct error *e)
{
    const char *field = o->field ? o->field : "text";
    TRY(corpus_json_path_parse(field, &c->arena, &c->field, e));
    c->field.asked = strcmp(field, "text") != 0 || o->skip_missing;
    c->o.field = arena_strdup(&c->arena, field);
    TRY(corpus_files_find(o, &c->arena, &c->files, e));
    TRY(look_at_all(c, e));
    for (size_t i = 0; i < c->files.count && !c->files.unsized; i++)
        c->stored_total += c->files.items[i].stored_bytes;
    if (c->files.count > 0) return 0;
    error_set(e, "no files to read in '%s'", o->paths[0]);
    if (c->files.n_left == 0) return ERROR_FAILED;
    return error_hint(e, "'%s' is left out (%s)", c->files.left[0].path, c->files.left[0].why);
}

int corpus_open(const struct corpus_options *o, struct corpus **out, struct error *e)
{
    struct corpus *c = mem_calloc(1, sizeof(*c));

    c->o = *o;
    c->o.paths = c->o.not_read = NULL;
    c->piece_bytes = o->piece_bytes ? o->piece_bytes : CORPUS_PIECE_BYTES;
    CHECK(c->piece_bytes >= 16);
    c->cap = MIN((size_t)CORPUS_FIRST_BUFFER, c->piece_bytes + CORPUS_SLACK);
    c->buf = mem_alloc(c->cap);
    c->max_line = o->max_line_bytes ? o->max_line_bytes : CORPUS_MAX_LINE;
    *out = NULL;
    int rc = open_files(c, o, e);
    if (rc < 0) {
        corpus_close(c);
        return rc;
    }
    if (!o->quiet) log_left(c);
    *out = c;
    return 0;
}

void corpus_close(struct corpus *c)
{
    if (!c) return;
    corpus_source_close(c->source);
    mem_free(c->files.items);
    mem_free(c->files.left);
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

const uint64_t *corpus_skipped(const struct corpus *c)
{
    return c->skipped;
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

size_t corpus_left_count(const struct corpus *c)
{
    return c->files.n_left;
}

const struct corpus_left *corpus_left_at(const struct corpus *c, size_t i)
{
    CHECK(i < c->files.n_left);
    return &c->files.left[i];
}

/* Reads until `want` bytes are there or the file ends. */
static int buffer_want(struct corpus *c, size_t want, struct error *e)
{
    while (!c->eof && c->end - c->start < want)
        TRY(corpus_buffer_more(c, want, e));
    return 0;
}

/* What comes through a pipe is looked at when its turn comes, in the buffer that it is read into. */
static int look_at_pipe(struct corpus *c, struct error *e)
{
    const char *kind;
    TRY(buffer_want(c, CORPUS_FIRST_BUFFER, e));
    struct corpus_head h = {.path = c->file->path,
                            .bytes = c->buf + c->start,
                            .size = c->end - c->start,
                            .whole = c->eof,
                            .packed = corpus_source_is_packed(c->source)};
    int rc = decide_format(c, &h, &c->format, &kind, e);
    return rc > 0 ? ERROR_FAILED : rc;
}

/* A byte-order mark at the beginning of a file of text is none of its text. */
static int skip_mark(struct corpus *c, struct error *e)
{
    while (!c->eof && c->end - c->start < 3)
        TRY(corpus_buffer_more(c, CORPUS_FIRST_BUFFER, e));
    if (c->end - c->start >= 3 && memcmp(c->buf + c->start, "\xef\xbb\xbf", 3) == 0) c->start += 3;
    return 0;
}

/* Everything that is known of a file begins anew; the buffer's memory and the scratch string
 * stay. */
static int file_start(struct corpus *c, struct error *e)
{
    c->file = &c->files.items[c->next_file++];
    TRY(corpus_source_open(c->file->path, &c->source, e));
    c->start = c->end = 0;
    c->eof = c->in_document = c->any_document = c->mid_line = c->is_checked = false;
    c->line = 1;
    c->column = 0;
    c->place = PLACE_TOP;
    c->json_text = NULL;
    c->format = c->file->format;
    if (c->file->pipe) TRY(look_at_pipe(c, e));
    c->is_checked =
        c->o.format == CORPUS_AUTO && c->format != CORPUS_JSONL && c->format != CORPUS_JSON;
    return c->format != CORPUS_JSONL && c->format != CORPUS_JSON ? skip_mark(c, e) : 0;
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

/* A byte that text does not have, further on than was looked at when the file was opened. */
static int refuse_nul(const struct corpus *c, const char *nul, struct error *e)
{
    const char *text = c->buf + c->start;
    error_set(e, "%s:%llu: a NUL byte: the file is not text", c->file->path,
              (unsigned long long)(c->line + corpus_count_lines(text, (size_t)(nul - text))));
    return error_hint(e, "--format text or lines takes the bytes as they are");
}

int corpus_buffer_more(struct corpus *c, size_t most, struct error *e)
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
    const char *nul = c->is_checked ? memchr(c->buf + c->end, '\0', (size_t)n) : NULL;
    c->eof = n == 0;
    c->end += (size_t)n;
    return nul ? refuse_nul(c, nul, e) : 0;
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

size_t corpus_cut(const char *text, size_t size)
{
    const char *nl = memrchr(text, '\n', size);
    return nl ? (size_t)(nl - text) + 1 : cut_at_character(text, size);
}

uint64_t corpus_count_lines(const char *text, size_t size)
{
    uint64_t n = 0;
    for (const char *p = text; (p = memchr(p, '\n', size - (size_t)(p - text))) != NULL; p++)
        n++;
    return n;
}

int corpus_emit(struct corpus *c, struct corpus_document *doc, size_t size, size_t taken,
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
    if (have <= c->piece_bytes) return corpus_emit(c, doc, have, have, 0, true);
    size_t cut = corpus_cut(c->buf + c->start, c->piece_bytes);
    return corpus_emit(c, doc, cut, cut, corpus_count_lines(c->buf + c->start, cut), false);
}

int corpus_buffer_line(struct corpus *c, size_t most, size_t *size, size_t *taken, struct error *e)
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
        TRY(corpus_buffer_more(c, most + CORPUS_SLACK, e));
    }
}

/* A line too long for one piece comes in several, the last of which ends where the line does. */
static int next_line(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    size_t size = 0, taken = 0;
    int rc = corpus_buffer_line(c, c->piece_bytes, &size, &taken, e);

    if (rc == 2) {
        size_t cut = cut_at_character(c->buf + c->start, c->piece_bytes);
        return corpus_emit(c, doc, cut, cut, 0, false);
    }
    if (rc <= 0) return rc;
    return corpus_emit(c, doc, size, taken, 1, true);
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
    return corpus_emit(c, doc, size, taken, lines, true);
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
            size_t cut = corpus_cut(text, c->piece_bytes);
            c->mid_line = text[cut - 1] != '\n';
            return corpus_emit(c, doc, cut, cut, corpus_count_lines(text, cut), false);
        }
        if (!c->eof) TRY(corpus_buffer_more(c, c->piece_bytes + CORPUS_SLACK, e));
    }
}

/* What is no UTF-8 is an error, or skipped and counted. 1: the document is whole; 0: it is left out. */
static int check_text(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    const size_t valid = utf8_valid_size(doc->text, doc->size);
    if (doc->first) c->records++;
    if (valid == doc->size) return 1;
    const char *nl = memrchr(doc->text, '\n', valid);
    struct error why = {0};
    error_set(&why, "%s:%llu:%zu: the byte 0x%02x is no UTF-8", display_name(doc->path),
              (unsigned long long)(doc->line + corpus_count_lines(doc->text, valid)),
              nl ? valid - (size_t)(nl - doc->text) : valid + 1, (uint8_t)doc->text[valid]);
    error_hint(&why,
               "convert the file, for example iconv -f LATIN1 -t UTF-8 FILE >OUT; --skip-bad "
               "skips such documents, --format %s takes the bytes as they are",
               corpus_format_names[c->format]);
    if (c->o.skip_bad && corpus_bad_add(c, CORPUS_BAD_UTF8, &why) >= 0) {
        if (doc->first && doc->last) return 0;
        doc->size = 0; /* of a document in several pieces this one goes */
        return 1;
    }
    if (e) *e = why;
    return ERROR_FAILED;
}

/* Said once, at the end, whoever reads. */
static void log_skipped(const struct corpus *c)
{
    struct str text = {0};
    for (int i = 0; i < CORPUS_BAD_KINDS; i++)
        if (c->skipped[i])
            str_printf(&text, "%s%llu %s", text.len ? ", " : "", (unsigned long long)c->skipped[i],
                       corpus_bad_names[i]);
    if (text.len)
        log_info("skipped of %llu records: %s", (unsigned long long)c->records, text.data);
    str_fini(&text);
}

/* Behind the last file. */
static int corpus_end(struct corpus *c, struct error *e)
{
    TRY(corpus_records_check(c, e));
    if (!c->o.quiet && !c->ended) log_skipped(c);
    c->ended = true;
    return 0;
}

int corpus_next(struct corpus *c, struct corpus_document *doc, struct error *e)
{
    for (;;) {
        int rc;
        if (!c->source) {
            if (c->next_file == c->files.count) return corpus_end(c, e);
            TRY(file_start(c, e));
        }
        switch (c->format) {
        case CORPUS_LINES: rc = next_line(c, doc, e); break;
        case CORPUS_JSONL:
        case CORPUS_JSON: rc = corpus_next_record(c, doc, e); break;
        case CORPUS_FORTUNE: rc = next_fortune(c, doc, e); break;
        default: rc = next_text(c, doc, e); break;
        }
        if (rc > 0 && c->is_checked)
            rc = check_text(c, doc, e);
        else if (rc == 0)
            file_end(c);
        if (rc != 0) return rc;
    }
}
