/* feed_reader.c: files and streams cut into records, and each handed to whoever reads its form.
 *
 * A file's first record decides how it is cut: into lines, of JSON or of server-sent events; into
 * rows of a table, which may hold line breaks; or, where the first line opens a bracket that it does
 * not close, into documents of JSON of any number of lines. Within lines each record's form is told
 * by itself, so that one file may mix them. A record has at most 16 MiB; a longer one is bad, and
 * what follows its end is read again.
 *
 * A bad record is counted and handed to on_bad with its line; nothing after it is lost. A post must
 * have an id of at most 512 bytes and a time from 1930 to 2068, which its place in the store is made
 * of. */
#include "feed/read/feed_read_internal.h"

#include <time.h>

#define MAX_RECORD ((size_t)16 << 20)
#define MAX_ID     512

const char *const feed_service_names[] = {"other", "x", "bluesky", "mastodon", NULL};

enum cut { CUT_UNKNOWN, CUT_LINES, CUT_TABLE, CUT_DOCUMENTS };

struct feed_reader {
    struct feed_parser parser;
    const struct feed_read_options *o;
    struct feed_counts *counts;
    int columns[FEED_N_FIELDS];
    struct str line; /* of feed_reader_line */
};

int64_t feed_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum feed_outcome feed_emit(struct feed_parser *p, struct feed_change *c, const char **why)
{
    struct feed_post *post = &c->post;
    bool user = c->kind == FEED_USER_GONE || c->kind == FEED_USER_BACK;
    bool whole = c->kind == FEED_POST || c->kind == FEED_UPDATE;
    struct feed_slice id = user ? post->author_id : post->id;
    if (id.n == 0 || id.n > MAX_ID) {
        *why = id.n ? "an id of more than 512 bytes" : "no id";
        return FEED_BAD;
    }
    if (whole && (post->created_ms < -1262304000000LL || post->created_ms > 3124137600000LL)) {
        *why = "a time before 1930 or after 2068, or none";
        return FEED_BAD;
    }
    if (whole)
        p->counts->posts++;
    else
        p->counts->changes++;
    return p->sink(p->ctx, c, p->e) < 0 ? FEED_STOP : FEED_GOOD;
}

void feed_list_add(struct feed_parser *p, struct feed_slice *list, struct feed_slice item)
{
    if (item.n == 0 || item.n > 2048 || list->n > 8192) return;
    char *s = arena_alloc(&p->arena, list->n + item.n + 2);
    memcpy(s, list->s ? list->s : "", list->n);
    size_t n = list->n;
    if (n) s[n++] = ' ';
    for (size_t i = 0; i < item.n; i++)
        s[n++] = item.s[i] == ' ' ? '+' : item.s[i];
    *list = (struct feed_slice){s, n};
}

feed_reader_t *feed_reader_new(const struct feed_read_options *o, struct feed_counts *counts)
{
    feed_reader_t *r = mem_calloc(1, sizeof(*r));
    r->o = o;
    r->counts = counts;
    r->parser = (struct feed_parser){
        .sink = o->sink, .ctx = o->ctx, .counts = counts, .map = o->map, .columns = r->columns};
    return r;
}

void feed_reader_free(feed_reader_t *r)
{
    if (!r) return;
    arena_fini(&r->parser.arena);
    str_fini(&r->line);
    mem_free(r);
}

static bool is_event_line(const char *s, size_t n)
{
    static const char *const names[] = {"event:", "data:", "id:", "retry:"};
    if (n && s[0] == ':') return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t k = strlen(names[i]);
        if (n >= k && memcmp(s, names[i], k) == 0) return true;
    }
    return false;
}

/* A line or a document of JSON, in a buffer that may be written and has FEED_PAD bytes behind it. */
static enum feed_outcome read_record(feed_reader_t *r, char *s, size_t n, const char **why)
{
    struct feed_parser *p = &r->parser;
    while (n && (s[n - 1] == '\r' || s[n - 1] == '\n' || s[n - 1] == ' '))
        n--;
    if (n >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0) {
        s += 3;
        n -= 3;
    }
    if (n == 0) {
        p->event[0] = '\0'; /* ends an event; a heartbeat of X */
        return FEED_GOOD;
    }
    if (is_event_line(s, n)) return feed_read_event_line(p, s, n, why);
    struct feed_json j = {s, s + n, NULL};
    char c = feed_json_peek(&j);
    if (c != '{' && c != '[') {
        *why = "no record of JSON";
        return FEED_BAD;
    }
    return feed_read_json(p, &j, why);
}

/* Counts what came out; negative only where the sink failed. */
static int settle(feed_reader_t *r, enum feed_outcome out, struct feed_bad bad)
{
    arena_reset(&r->parser.arena);
    r->counts->records++;
    if (out == FEED_STOP) return r->parser.e ? r->parser.e->code : ERROR_FAILED;
    if (out == FEED_GOOD) return 0;
    r->counts->bad++;
    if (r->o->on_bad) r->o->on_bad(r->o->ctx, &bad);
    return 0;
}

int feed_reader_line(feed_reader_t *r, const char *line, size_t n, const char **why,
                     struct error *e)
{
    const char *reason = NULL;
    str_clear(&r->line);
    str_reserve(&r->line, n + FEED_PAD + 1);
    memcpy(r->line.data, line, n);
    memset(r->line.data + n, 0, FEED_PAD);
    r->parser.e = e;
    enum feed_outcome out = n > MAX_RECORD ? FEED_BAD : read_record(r, r->line.data, n, &reason);
    if (n > MAX_RECORD) reason = "longer than 16 MiB";
    if (why) *why = out == FEED_BAD ? reason : NULL;
    r->counts->bytes += n;
    return settle(r, out, (struct feed_bad){"stream", r->counts->records + 1, reason});
}

/* ------------------------------------------------------------------ files */

struct file_read {
    feed_reader_t *reader;
    feed_source_file_t *source;
    const char *path;
    struct str buf; /* bytes from `at` on are not read yet; FEED_PAD more are allocated */
    size_t at, scanned;
    uint64_t line; /* of buf.data[at], from 1 */
    enum cut cut;
    bool end, headed, skipping; /* skipping: within a record that was too long */
    int depth;                  /* of documents: brackets that are open at `scanned` */
    bool in_string, escaped;    /* the same; of a table: within quotes */
    bool in_field, closed; /* of a table: the last byte was of a field; was its closing quote */
};

/* More bytes in buf; 0 at the end. */
static int fill(struct file_read *f, struct error *e)
{
    const struct feed_read_options *o = f->reader->o;
    const size_t block = (size_t)1 << 20;
    if (f->at) {
        memmove(f->buf.data, f->buf.data + f->at, f->buf.len - f->at);
        f->buf.len -= f->at;
        f->scanned -= f->at;
        f->at = 0;
    }
    str_reserve(&f->buf, f->buf.len + block + FEED_PAD);
    for (;;) {
        int64_t got =
            feed_source_read(f->source, f->buf.data + f->buf.len, block, o->on_pause ? 100 : -1, e);
        if (got < 0 && got != ERROR_AGAIN) return (int)got;
        if (o->on_pause) TRY(o->on_pause(o->ctx, got == ERROR_AGAIN, e));
        if (got == ERROR_AGAIN) continue;
        f->buf.len += (size_t)got;
        f->reader->counts->bytes += (uint64_t)got;
        memset(f->buf.data + f->buf.len, 0, FEED_PAD);
        f->end = got == 0;
        return got > 0;
    }
}

/* Where the record that begins at `at` ends, its last byte included; 0: not within what is there. */
static size_t find_line(struct file_read *f)
{
    char *end = memchr(f->buf.data + f->scanned, '\n', f->buf.len - f->scanned);
    f->scanned = end ? (size_t)(end - f->buf.data) + 1 : f->buf.len;
    return end ? f->scanned : 0;
}

/* A quote opens a field only at its beginning, and one more behind its end goes on with it. */
static size_t find_row(struct file_read *f)
{
    for (; f->scanned < f->buf.len; f->scanned++) {
        char c = f->buf.data[f->scanned];
        bool quote = c == '"', was_closed = f->closed;
        f->closed = f->in_string && quote;
        if (f->in_string) {
            f->in_string = !quote;
            f->in_field = true;
        } else if (c == '\n') {
            f->in_field = false;
            return ++f->scanned;
        } else {
            f->in_string = quote && (!f->in_field || was_closed);
            f->in_field = c != ',';
        }
    }
    return 0;
}

/* Behind a row whose quotes or fields are wrong only its first line is given up: a quote that nothing
 * closes would take all that follows. */
static size_t end_of_first_line(struct file_read *f, size_t end)
{
    char *first = memchr(f->buf.data + f->at, '\n', end - f->at);
    if (!first || (size_t)(first - f->buf.data) + 1 == end) return end;
    f->in_string = f->in_field = f->closed = false;
    return f->scanned = (size_t)(first - f->buf.data) + 1;
}

static size_t find_document(struct file_read *f)
{
    for (; f->scanned < f->buf.len; f->scanned++) {
        char c = f->buf.data[f->scanned];
        if (f->in_string) {
            if (f->escaped)
                f->escaped = false;
            else if (c == '\\')
                f->escaped = true;
            else if (c == '"')
                f->in_string = false;
            continue;
        }
        if (c == '"') f->in_string = true;
        if (c == '{' || c == '[') f->depth++;
        if ((c == '}' || c == ']') && --f->depth <= 0) {
            f->depth = 0;
            return ++f->scanned;
        }
    }
    return 0;
}

static size_t find_end(struct file_read *f)
{
    if (f->buf.len == f->at) return 0;
    switch (f->cut) {
    case CUT_TABLE: return find_row(f);
    case CUT_DOCUMENTS: return find_document(f);
    default: return find_line(f);
    }
}

/* How the file is cut, by its first line that is not blank. */
static void settle_cut(struct file_read *f, const char *s, size_t n)
{
    size_t i = 0;
    if (n >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0) i = 3;
    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n'))
        i++;
    if (i == n) return;
    f->cut = CUT_LINES;
    if (is_event_line(s + i, n - i)) return;
    if (s[i] != '{' && s[i] != '[') {
        f->cut = CUT_TABLE;
        return;
    }
    struct file_read probe = {.buf = {.data = f->buf.data, .len = n + (size_t)(s - f->buf.data)},
                              .scanned = (size_t)(s - f->buf.data)};
    if (find_document(&probe) > 0 || probe.in_string) return;
    /* A record that was cut off looks like the beginning of a document, but no string holds the end of
     * a line, and none begins another object where none can be. */
    while (n > i && (s[n - 1] == '\n' || s[n - 1] == '\r' || s[n - 1] == ' '))
        n--;
    const char *next = f->buf.data + probe.buf.len, *end = f->buf.data + f->buf.len;
    bool begins = next < end && *next == '{' && s[i] == '{';
    if (!begins || strchr(",:[", s[n - 1])) f->cut = CUT_DOCUMENTS;
}

/* *torn: a row of a table is not one. */
static int one_record(struct file_read *f, char *s, size_t n, bool *torn, struct error *e)
{
    feed_reader_t *r = f->reader;
    const char *why = NULL;
    enum feed_outcome out;
    r->parser.e = e;
    if (f->cut == CUT_TABLE) {
        while (n && (s[n - 1] == '\n' || s[n - 1] == '\r'))
            n--;
        if (n == 0) return 0;
        if (!f->headed) {
            f->headed = true;
            if (feed_read_csv_head(&r->parser, s, n, e) < 0)
                return error_context(e, "%s:%llu", f->path, (unsigned long long)f->line);
            return 0;
        }
        r->parser.torn = false;
        out = feed_read_csv_row(&r->parser, s, n, &why);
        *torn = r->parser.torn;
    } else {
        out = read_record(r, s, n, &why);
    }
    return settle(r, out, (struct feed_bad){f->path, f->line, why});
}

static void count_lines(struct file_read *f, size_t end)
{
    if (f->cut == CUT_LINES || f->cut == CUT_UNKNOWN) {
        f->line++;
        return;
    }
    for (const char *p = f->buf.data + f->at, *stop = f->buf.data + end;
         (p = memchr(p, '\n', (size_t)(stop - p))); p++)
        f->line++;
}

/* The bytes up to `end` are a record, or the rest of one that was too long. */
static int take(struct file_read *f, size_t end, struct error *e)
{
    int rc = 0;
    char *s = f->buf.data + f->at;
    size_t n = end - f->at;
    if (f->cut == CUT_UNKNOWN) {
        settle_cut(f, s, n);
        if (f->cut == CUT_TABLE || f->cut == CUT_DOCUMENTS) { /* found anew, as it is cut now */
            f->scanned = f->at;
            return 0;
        }
    }
    bool torn = false;
    if (!f->skipping) rc = one_record(f, s, n, &torn, e);
    f->skipping = false;
    if (torn) end = end_of_first_line(f, end);
    count_lines(f, end);
    f->at = end;
    return rc;
}

static int too_long(struct file_read *f)
{
    int rc = 0;
    if (f->cut == CUT_UNKNOWN) f->cut = CUT_LINES; /* as long as that, it is no head of a table */
    if (!f->skipping)
        rc = settle(f->reader, FEED_BAD,
                    (struct feed_bad){f->path, f->line, "a record longer than 16 MiB"});
    size_t line = f->cut == CUT_TABLE ? end_of_first_line(f, f->buf.len) : f->buf.len;
    if (line < f->buf.len) {
        f->line++;
        f->at = line;
        return rc;
    }
    f->skipping = true;
    if (f->cut != CUT_LINES) count_lines(f, f->buf.len);
    f->at = f->scanned = f->buf.len;
    return rc;
}

static int read_all(struct file_read *f, struct error *e)
{
    for (;;) {
        size_t end;
        while ((end = find_end(f)) > 0)
            TRY(take(f, end, e));
        if (f->buf.len - f->at > MAX_RECORD) TRY(too_long(f));
        if (f->end) break;
        int rc = fill(f, e);
        if (rc < 0) return rc;
    }
    while (f->buf.len > f->at) { /* the last line has no end */
        enum cut before = f->cut;
        size_t at = f->at, end = find_end(f);
        TRY(take(f, end ? end : f->buf.len, e));
        if (before == f->cut && at == f->at) break;
    }
    return 0;
}

int feed_read_file(const char *path, const struct feed_read_options *o, struct feed_counts *counts,
                   struct error *e)
{
    struct file_read f = {.path = strcmp(path, "-") == 0 ? "standard input" : path, .line = 1};
    TRY(feed_source_open(path, &f.source, e));
    f.reader = feed_reader_new(o, counts);
    int rc = read_all(&f, e);
    feed_source_close(f.source);
    feed_reader_free(f.reader);
    str_fini(&f.buf);
    return rc;
}
