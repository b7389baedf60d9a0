/* feed_read_internal.h: what the readers of the services share: a scanner of JSON that works in
 * place, times, texts, and the record under way.
 *
 * A record is read where it lies: strings are unescaped within the buffer that they came in, so a
 * value may be read once, and skipped as often as is needed before that. Behind the end of a record
 * FEED_PAD bytes must be readable and writable. */
#ifndef COLOSSUS_FEED_READ_INTERNAL_H
#define COLOSSUS_FEED_READ_INTERNAL_H

#include "feed/feed.h"

#include <string.h>

#define FEED_PAD 32 /* readable bytes behind a record: a vector's, and a NUL */

/* ------------------------------------------------------------------ JSON (feed_json.c) */

struct feed_json {
    char *p, *end;
    const char *why; /* what was wrong; NULL: nothing yet */
};

static inline bool feed_is(struct feed_slice s, const char *word)
{
    size_t n = strlen(word); /* a constant where word is one */
    return s.n == n && memcmp(s.s, word, n) == 0;
}

/* Records what is wrong, unless something was already; false. */
bool feed_json_fail(struct feed_json *j, const char *why);
/* The first byte of the value that comes, white space passed over; 0 at the end. */
char feed_json_peek(struct feed_json *j);
/* Over a value of any kind, checked: grammar, escapes, depth. */
bool feed_json_skip(struct feed_json *j);
/* A string, unescaped in place and NUL-terminated; half a surrogate pair and U+0000 become U+FFFD.
 * Bytes that are not UTF-8 are an error. */
bool feed_json_string(struct feed_json *j, struct feed_slice *out);
/* Into an object: 1 a member's key (plain bytes; its value is next), 0 its end, negative: error.
 * *first is true before the first call, with '{' next. */
int feed_json_member(struct feed_json *j, bool *first, struct feed_slice *key);
/* The same for an array's next item. */
int feed_json_item(struct feed_json *j, bool *first);
/* A string or a number as text; null, true, false, objects and arrays are skipped and give "". */
bool feed_json_text(struct feed_json *j, struct feed_slice *out);
/* A whole number, or one within a string; whatever else is skipped and gives 0. */
bool feed_json_int(struct feed_json *j, int64_t *out);
bool feed_json_bool(struct feed_json *j, bool *out); /* what is neither true nor false is skipped */
/* Where the next value lies, which is skipped; p NULL where it is null. */
bool feed_json_value(struct feed_json *j, struct feed_json *out);
/* Nothing but white space may follow. */
bool feed_json_end(struct feed_json *j);

/* ------------------------------------------------------------------ texts (feed_text.c) */

bool feed_utf8_valid(const char *s, size_t n);
/* &amp; and its like become characters, in place. */
void feed_unescape_html(struct feed_slice *s);
/* What a person sees of HTML: tags go, <br> and </p> break lines; in place. */
void feed_strip_html(struct feed_slice *s);
/* An address's host without "www.", in place; n 0 where it is no address. */
struct feed_slice feed_host_of(struct feed_slice url);

/* ------------------------------------------------------------------ the record under way */

/* Reads one record and hands on what it says. */
struct feed_parser {
    struct arena arena; /* of one record */
    feed_sink *sink;
    void *ctx;
    struct feed_counts *counts;
    const struct feed_map *map;
    int *columns; /* [FEED_N_FIELDS] of the CSV file under way, -1: none */
    size_t n_columns;
    bool torn;      /* the last CSV row has wrong quotes, or not as many fields as the head */
    char event[24]; /* of server-sent events: the last "event:" line's word */
    struct error *e;
};

/* What a reader of a service makes of a record: it is good, it is bad (*why), or the sink failed. */
enum feed_outcome { FEED_GOOD, FEED_BAD, FEED_STOP };

/* Hands a change on, once it is complete: a post needs id and time. */
enum feed_outcome feed_emit(struct feed_parser *p, struct feed_change *c, const char **why);
/* The next piece of a list that is joined by blanks, taken off it; false: none is left. */
static inline bool feed_list_next(struct feed_slice *list, struct feed_slice *one)
{
    if (list->n == 0) return false;
    char *blank = memchr(list->s, ' ', list->n);
    *one = (struct feed_slice){list->s, blank ? (size_t)(blank - list->s) : list->n};
    size_t taken = MIN(one->n + 1, list->n);
    list->s += taken;
    list->n -= taken;
    return true;
}
/* Another piece of such a list, in the record's memory. */
void feed_list_add(struct feed_parser *p, struct feed_slice *list, struct feed_slice item);

/* The keys of a record's outermost object that tell what it is. */
struct feed_outer {
    struct feed_json data, includes, errors, commit, identity, account, payload;
    struct feed_json content, deleted, user_event, edit, limit;
    enum feed_change_kind user_kind;  /* of user_event */
    enum feed_change_kind tweet_kind; /* of deleted */
    struct feed_slice id_str, did, kind, event;
    int64_t time_us;
    bool has_text, has_user, has_meta, has_author_id;
    bool metrics, own; /* of X's v2; as feed_post_json writes it */
};

/* A list of attachments, each with its "type", which is `still` of a picture that does not move. */
bool feed_read_media(struct feed_json *j, const char *still, struct feed_post *post);
enum feed_outcome feed_read_json(struct feed_parser *p, struct feed_json *j, const char **why);
enum feed_outcome feed_read_x(struct feed_parser *p, const struct feed_outer *o, const char **why);
enum feed_outcome feed_read_x_event(struct feed_parser *p, const struct feed_outer *o,
                                    const char **why);
enum feed_outcome feed_read_v1(struct feed_parser *p, struct feed_json *j, const char **why);
enum feed_outcome feed_read_bluesky(struct feed_parser *p, const struct feed_outer *o,
                                    const char **why);
enum feed_outcome feed_read_mastodon(struct feed_parser *p, struct feed_json *j, bool edited,
                                     const char **why);
enum feed_outcome feed_read_mastodon_delete(struct feed_parser *p, struct feed_slice id,
                                            const char **why);
enum feed_outcome feed_read_mapped(struct feed_parser *p, struct feed_json *j, const char **why);
enum feed_outcome feed_read_own(struct feed_parser *p, struct feed_json *j, const char **why);
/* A line of server-sent events. */
enum feed_outcome feed_read_event_line(struct feed_parser *p, char *line, size_t n,
                                       const char **why);
/* CSV: the head, which settles the columns, and a row; records are cut in place. */
int feed_read_csv_head(struct feed_parser *p, char *row, size_t n, struct error *e);
enum feed_outcome feed_read_csv_row(struct feed_parser *p, char *row, size_t n, const char **why);

/* ------------------------------------------------------------------ bytes (feed_source.c) */

typedef struct feed_source_file feed_source_file_t;
/* "-" is standard input. gzip and zstd are told by their first bytes. */
int feed_source_open(const char *path, feed_source_file_t **out, struct error *e);
/* Up to n bytes, unpacked: how many, 0 at the end, negative: an error, or ERROR_AGAIN where nothing
 * came within wait_ms (pipes only; -1: waits). */
int64_t feed_source_read(feed_source_file_t *f, char *buf, size_t n, int wait_ms, struct error *e);
void feed_source_close(feed_source_file_t *f);

#endif
