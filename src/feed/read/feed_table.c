/* feed_table.c: posts in CSV, and in JSON lines of somebody's own making: which column, or which
 * member, is what. */
#include "feed/read/feed_read_internal.h"

#include <strings.h>

static const char *const field_names[FEED_N_FIELDS + 1] = {
    "id",    "text",    "time",    "author",    "author_id", "name", "lang",
    "likes", "reposts", "replies", "followers", "reply_to",  NULL};

/* What such columns are usually called; the first that is there is taken. */
static const char *const usual[FEED_N_FIELDS][8] = {
    [FEED_FIELD_ID] = {"id", "tweet_id", "post_id", "id_str", "status_id"},
    [FEED_FIELD_TEXT] = {"text", "full_text", "tweet", "body", "content", "message"},
    [FEED_FIELD_TIME] = {"created_at", "time", "date", "timestamp", "datetime", "created"},
    [FEED_FIELD_AUTHOR] = {"screen_name", "username", "author", "user", "user_name", "handle"},
    [FEED_FIELD_AUTHOR_ID] = {"author_id", "user_id"},
    [FEED_FIELD_NAME] = {"name", "display_name"},
    [FEED_FIELD_LANG] = {"lang", "language"},
    [FEED_FIELD_LIKES] = {"favorite_count", "likes", "like_count", "favorites", "likes_count"},
    [FEED_FIELD_REPOSTS] = {"retweet_count", "retweets", "reposts", "repost_count"},
    [FEED_FIELD_REPLIES] = {"reply_count", "replies", "replies_count"},
    [FEED_FIELD_FOLLOWERS] = {"followers_count", "followers", "user_followers"},
    [FEED_FIELD_REPLY_TO] = {"in_reply_to_status_id", "reply_to"},
};

int feed_map_parse(const char *text, struct arena *a, struct feed_map *m, struct error *e)
{
    while (text && *text) {
        size_t n = strcspn(text, ",");
        const char *equals = memchr(text, '=', n);
        char *name = arena_strndup(a, text, equals ? (size_t)(equals - text) : n);
        int field = -1;
        for (int i = 0; i < FEED_N_FIELDS; i++)
            if (strcmp(field_names[i], name) == 0) field = i;
        if (field < 0) {
            error_set_code(e, ERROR_USAGE, "a post has no '%s'", name);
            const char *near = name_nearest(name, field_names, FEED_N_FIELDS);
            return error_hint(e, "%s%s%s--map text=body,id=number,time=date names columns",
                              near ? "did you mean '" : "", near ? near : "", near ? "'? " : "");
        }
        if (!equals || equals + 1 == text + n) {
            error_set_code(e, ERROR_USAGE, "'%s' is given no column", name);
            return error_hint(e, "for example --map %s=column", name);
        }
        if (m->names[field]) {
            error_set_code(e, ERROR_USAGE, "'%s' is given two columns, '%s' and '%.*s'", name,
                           m->names[field], (int)(text + n - equals - 1), equals + 1);
            return error_hint(e, "a field of a post is one column, or one member, of the input");
        }
        m->names[field] = arena_strndup(a, equals + 1, (size_t)(text + n - equals - 1));
        m->given = true;
        text += n + (text[n] == ',');
    }
    return 0;
}

/* Whether a column of this name holds the field: by the map, or by what is usual. */
static int rank_of(const struct feed_map *m, int field, struct feed_slice name)
{
    if (m && m->names[field]) return feed_is(name, m->names[field]) ? 0 : -1;
    for (int i = 0; i < 8 && usual[field][i]; i++)
        if (name.n == strlen(usual[field][i]) && strncasecmp(name.s, usual[field][i], name.n) == 0)
            return i;
    return -1;
}

static struct feed_slice *text_of(struct feed_post *p, int field)
{
    switch (field) {
    case FEED_FIELD_ID: return &p->id;
    case FEED_FIELD_TEXT: return &p->text;
    case FEED_FIELD_AUTHOR: return &p->author;
    case FEED_FIELD_AUTHOR_ID: return &p->author_id;
    case FEED_FIELD_NAME: return &p->name;
    case FEED_FIELD_LANG: return &p->lang;
    case FEED_FIELD_REPLY_TO: return &p->reply_to;
    default: return NULL;
    }
}

static int64_t *number_of(struct feed_post *p, int field)
{
    switch (field) {
    case FEED_FIELD_LIKES: return &p->likes;
    case FEED_FIELD_REPOSTS: return &p->reposts;
    case FEED_FIELD_REPLIES: return &p->replies;
    case FEED_FIELD_FOLLOWERS: return &p->followers;
    default: return NULL;
    }
}

/* A whole number, as "12", or "12.0", which tables with gaps are written with. */
static bool count_of(struct feed_slice s, int64_t *out)
{
    struct feed_json j = {s.s, s.s + s.n, NULL};
    size_t i = 0;
    while (i < s.n && s.s[i] >= '0' && s.s[i] <= '9')
        i++;
    bool whole = i > 0 && i <= 18;
    if (i < s.n && s.s[i] == '.')
        for (i++; i < s.n && s.s[i] == '0';)
            i++;
    return whole && i == s.n && feed_json_int(&j, out);
}

/* Fields without which there is no post, and those that are there. */
static enum feed_outcome finish(struct feed_parser *p, struct feed_change *c,
                                struct feed_slice fields[FEED_N_FIELDS], const char **why)
{
    for (int f = 0; f < FEED_N_FIELDS; f++) {
        struct feed_slice *text = text_of(&c->post, f);
        int64_t *number = number_of(&c->post, f);
        if (text) *text = fields[f];
        if (!number || fields[f].n == 0) continue;
        if (count_of(fields[f], number)) continue;
        *why = "a count that is no whole number";
        return FEED_BAD;
    }
    feed_unescape_html(&c->post.text);
    if (!c->post.id.n) {
        *why = "no id";
        return FEED_BAD;
    }
    if (!feed_time_parse(fields[FEED_FIELD_TIME], &c->post.created_ms)) {
        *why = "no time, or one that is not understood";
        return FEED_BAD;
    }
    if (c->post.reply_to.n) c->post.flags |= FEED_REPLY;
    return feed_emit(p, c, why);
}

enum feed_outcome feed_read_mapped(struct feed_parser *p, struct feed_json *j, const char **why)
{
    struct feed_change c = {.kind = FEED_POST};
    struct feed_slice fields[FEED_N_FIELDS] = {{0}}, key;
    int best[FEED_N_FIELDS], rc;
    for (int f = 0; f < FEED_N_FIELDS; f++)
        best[f] = 99;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        int field = -1, rank = -1;
        for (int f = 0; f < FEED_N_FIELDS && field < 0; f++) {
            rank = rank_of(p->map, f, key);
            if (rank >= 0 && rank < best[f]) field = f;
        }
        if (!(field >= 0 ? feed_json_text(j, &fields[field]) : feed_json_skip(j))) break;
        if (field >= 0) best[field] = rank;
    }
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    if (!p->map->given && (!fields[FEED_FIELD_ID].n || !fields[FEED_FIELD_TIME].n)) {
        *why = "a record of no known form; --map names its members";
        return FEED_BAD;
    }
    return finish(p, &c, fields, why);
}

/* ------------------------------------------------------------------ CSV (RFC 4180) */

/* The next field of the row, unquoted in place; false: wrong quoting. *p is past its separator, or
 * NULL behind the last. */
static bool next_field(char **p, char *end, struct feed_slice *out)
{
    char *s = *p;
    if (s < end && *s == '"') {
        char *to = ++s;
        out->s = s;
        for (;; s++) {
            if (s >= end) return false;
            if (*s == '"' && s + 1 < end && s[1] == '"')
                s++;
            else if (*s == '"')
                break;
            *to++ = *s;
        }
        out->n = (size_t)(to - out->s);
        s++;
        if (s < end && *s != ',') return false;
    } else {
        char *comma = memchr(s, ',', (size_t)(end - s));
        out->s = s;
        s = comma ? comma : end;
        out->n = (size_t)(s - out->s);
    }
    *p = s < end ? s + 1 : NULL;
    return true;
}

int feed_read_csv_head(struct feed_parser *p, char *row, size_t n, struct error *e)
{
    char *at = row, *end = row + n;
    int best[FEED_N_FIELDS];
    struct feed_slice name;
    if (n >= 3 && memcmp(row, "\xEF\xBB\xBF", 3) == 0) at += 3;
    p->n_columns = 0;
    for (int f = 0; f < FEED_N_FIELDS; f++) {
        p->columns[f] = -1;
        best[f] = 99;
    }
    for (; at; p->n_columns++) {
        if (!next_field(&at, end, &name))
            return error_set(e, "wrong quotes in the head of the table");
        for (int f = 0; f < FEED_N_FIELDS; f++) {
            int rank = rank_of(p->map, f, name);
            if (rank >= 0 && rank == best[f]) {
                error_set(e, "two columns are called '%.*s'", (int)MIN(name.n, (size_t)60), name.s);
                return error_hint(e, "a column that is to be read has a name of its own");
            }
            if (rank < 0 || rank >= best[f]) continue;
            best[f] = rank;
            p->columns[f] = (int)p->n_columns;
        }
    }
    for (int f = 0; f < FEED_N_FIELDS; f++) {
        bool asked = p->map && p->map->names[f];
        if (p->columns[f] >= 0 || (f > FEED_FIELD_TIME && !asked)) continue;
        error_set(e, "no column %s%s%s", asked ? "'" : "that holds the ",
                  asked ? p->map->names[f] : field_names[f], asked ? "'" : " of a post");
        return error_hint(
            e, "this is read as a table (CSV), whose first line names its columns, "
               "separated by commas; --map id=COLUMN,text=COLUMN,time=COLUMN says which is what");
    }
    return 0;
}

/* Whether the row has as many fields as the head, rightly quoted; nothing of it is changed. */
static bool is_row(const struct feed_parser *p, const char *row, size_t n, const char **why)
{
    const char *s = row, *end = row + n;
    for (size_t column = 1;; column++) {
        if (s < end && *s == '"') {
            for (s++; s < end && (*s != '"' || (s + 1 < end && s[1] == '"')); s++)
                s += *s == '"';
            if (s++ >= end || (s < end && *s != ',')) {
                *why = "wrong quotes";
                return false;
            }
        } else {
            const char *comma = memchr(s, ',', (size_t)(end - s));
            s = comma ? comma : end;
        }
        if (s < end) {
            s++;
            continue;
        }
        if (column == p->n_columns) return true;
        *why = "more or fewer fields than the head has";
        return false;
    }
}

enum feed_outcome feed_read_csv_row(struct feed_parser *p, char *row, size_t n, const char **why)
{
    struct feed_change c = {.kind = FEED_POST};
    struct feed_slice fields[FEED_N_FIELDS] = {{0}}, field;
    char *at = row, *end = row + n;
    size_t column = 0;
    if (!is_row(p, row, n, why)) {
        p->torn = true;
        return FEED_BAD;
    }
    for (; at; column++) {
        next_field(&at, end, &field);
        for (int f = 0; f < FEED_N_FIELDS; f++)
            if (p->columns[f] == (int)column) fields[f] = field;
    }
    for (int f = 0; f < FEED_N_FIELDS; f++) {
        if (fields[f].n && (!feed_utf8_valid(fields[f].s, fields[f].n) ||
                            memchr(fields[f].s, '\0', fields[f].n))) {
            *why = "not UTF-8";
            return FEED_BAD;
        }
    }
    return finish(p, &c, fields, why);
}
