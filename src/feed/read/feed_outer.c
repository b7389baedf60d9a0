/* feed_outer.c: what a record of JSON is, told by the keys of its outermost object, and who reads
 * it. Services add keys and change their order, so all of them are looked at before anything is
 * decided; values are passed over here and read by their reader. */
#include "feed/read/feed_read_internal.h"

/* Compliance events of X, by name, of both APIs. */
static const struct {
    const char *key;
    enum feed_change_kind kind;
    bool user;
} events[] = {
    {"delete", FEED_DELETE, false},
    {"withheld", FEED_WITHHELD, false},
    {"status_withheld", FEED_WITHHELD, false},
    {"drop", FEED_WITHHELD, false},
    {"undrop", FEED_RESTORE, false},
    {"user_delete", FEED_USER_GONE, true},
    {"user_undelete", FEED_USER_BACK, true},
    {"user_protect", FEED_USER_GONE, true},
    {"user_unprotect", FEED_USER_BACK, true},
    {"user_withheld", FEED_USER_GONE, true},
    {"user_suspend", FEED_USER_GONE, true},
    {"user_unsuspend", FEED_USER_BACK, true},
};

/* An event that X has and that changes nothing here. */
static bool is_idle_event(struct feed_slice key)
{
    return feed_is(key, "scrub_geo") || feed_is(key, "user_profile_modification") ||
           feed_is(key, "warning") || feed_is(key, "disconnect") || feed_is(key, "friends");
}

struct look {
    struct feed_outer o;
    bool idle;
};

static bool take_event(struct feed_json *j, struct feed_slice key, struct look *l)
{
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!feed_is(key, events[i].key)) continue;
        struct feed_json *to = events[i].user ? &l->o.user_event : &l->o.deleted;
        if (events[i].user)
            l->o.user_kind = events[i].kind;
        else
            l->o.tweet_kind = events[i].kind;
        return feed_json_value(j, to);
    }
    l->idle |= is_idle_event(key);
    return feed_json_skip(j);
}

static bool take(struct feed_json *j, struct feed_slice key, struct look *l)
{
    struct feed_outer *o = &l->o;
    char c = feed_json_peek(j);
    if (c == '{' || c == '[') {
        struct feed_json *to = feed_is(key, "data")         ? &o->data
                               : feed_is(key, "includes")   ? &o->includes
                               : feed_is(key, "errors")     ? &o->errors
                               : feed_is(key, "commit")     ? &o->commit
                               : feed_is(key, "identity")   ? &o->identity
                               : feed_is(key, "account")    ? &o->account
                               : feed_is(key, "limit")      ? &o->limit
                               : feed_is(key, "tweet_edit") ? &o->edit
                                                            : NULL;
        if (feed_is(key, "user")) o->has_user = true;
        if (feed_is(key, "meta")) o->has_meta = true;
        if (feed_is(key, "public_metrics") || feed_is(key, "edit_history_tweet_ids"))
            o->metrics = true;
        return to && c == (to == &o->errors ? '[' : c) ? feed_json_value(j, to)
                                                       : take_event(j, key, l);
    }
    if (feed_is(key, "payload")) return feed_json_value(j, &o->payload);
    if (feed_is(key, "content")) return feed_json_value(j, &o->content);
    struct feed_slice *text = feed_is(key, "did")      ? &o->did
                              : feed_is(key, "kind")   ? &o->kind
                              : feed_is(key, "event")  ? &o->event
                              : feed_is(key, "id_str") ? &o->id_str
                                                       : NULL;
    if (feed_is(key, "text") || feed_is(key, "full_text")) o->has_text = true;
    if (feed_is(key, "author_id")) o->has_author_id = true;
    if (feed_is(key, "created_ms")) o->own = true;
    if (feed_is(key, "time_us")) return feed_json_int(j, &o->time_us);
    return text && c == '"' ? feed_json_text(j, text) : feed_json_skip(j);
}

/* {"errors": [{"title", "detail", "message"}]}: the service's own words, for the log. */
static void report_errors(struct feed_parser *p, const struct feed_outer *o)
{
    struct feed_json j = o->errors;
    int item, rc;
    for (bool f = true; (item = feed_json_item(&j, &f)) > 0;) {
        struct feed_slice key, title = {0}, detail = {0};
        if (feed_json_peek(&j) != '{') break;
        for (bool first = true; (rc = feed_json_member(&j, &first, &key)) > 0;)
            if (!(feed_is(key, "title")                               ? feed_json_text(&j, &title)
                  : feed_is(key, "detail") || feed_is(key, "message") ? feed_json_text(&j, &detail)
                                                                      : feed_json_skip(&j)))
                return;
        if (rc < 0) return;
        if (p->counts->errors++ < 10)
            log_warn("the service says: %.*s: %.*s", (int)MIN(title.n, 100), title.n ? title.s : "",
                     (int)MIN(detail.n, 300), detail.n ? detail.s : "");
    }
}

/* {"limit": {"track": 123}}: so many were left out since the connection began. */
static void note_limit(struct feed_parser *p, const struct feed_outer *o)
{
    struct feed_json j = o->limit;
    struct feed_slice key;
    int64_t n = 0;
    for (bool first = true; feed_json_member(&j, &first, &key) > 0;)
        if (!(feed_is(key, "track") ? feed_json_int(&j, &n) : feed_json_skip(&j))) return;
    if (n > (int64_t)p->counts->limited) p->counts->limited = (uint64_t)n;
}

static bool is_x_event(const struct feed_outer *o)
{
    return o->deleted.p || o->user_event.p || o->edit.p;
}

/* {"event": "update", "payload": "{...}"}: the form of Mastodon's WebSocket. */
static enum feed_outcome read_payload(struct feed_parser *p, const struct feed_outer *o,
                                      const char **why)
{
    struct feed_json j = o->payload;
    struct feed_slice text;
    snprintf(p->event, sizeof(p->event), "%.*s", (int)MIN(o->event.n, 23), o->event.s);
    if (!feed_json_text(&j, &text)) {
        *why = j.why;
        return FEED_BAD;
    }
    char *line = arena_alloc(&p->arena, text.n + 5 + FEED_PAD);
    memcpy(line, "data:", 5);
    memcpy(line + 5, text.s, text.n);
    enum feed_outcome out = feed_read_event_line(p, line, text.n + 5, why);
    p->event[0] = '\0';
    return out;
}

static enum feed_outcome read_object(struct feed_parser *p, struct feed_json *j, const char **why)
{
    struct look l = {0};
    struct feed_outer *o = &l.o;
    struct feed_slice key;
    struct feed_json whole = *j;
    int rc;
    if (p->map && p->map->given) return feed_read_mapped(p, j, why);
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!take(j, key, &l)) break;
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    whole.end = j->p;
    if (o->did.n && o->kind.n) return feed_read_bluesky(p, o, why);
    if (o->errors.p) report_errors(p, o);
    if (o->data.p) {
        struct feed_json inner = o->data; /* {"data": {"delete": {...}}}: an event, wrapped */
        if (feed_json_peek(&inner) == '{') {
            struct look in = {0};
            for (bool first = true; (rc = feed_json_member(&inner, &first, &key)) > 0;)
                if (!take(&inner, key, &in)) break;
            if (rc == 0 && is_x_event(&in.o) && !in.o.has_text)
                return feed_read_x_event(p, &in.o, why);
        }
        return feed_read_x(p, o, why);
    }
    if (is_x_event(o)) return feed_read_x_event(p, o, why);
    if (o->event.n && o->payload.p) return read_payload(p, o, why);
    if (o->own) return feed_read_own(p, &whole, why);
    if (o->has_text && o->has_author_id && o->metrics) { /* of X, without what is around it */
        o->data = whole;
        return feed_read_x(p, o, why);
    }
    if (o->has_text && o->has_user) return feed_read_v1(p, &whole, why);
    if (o->content.p && o->account.p) return feed_read_mastodon(p, &whole, false, why);
    if (o->limit.p) note_limit(p, o);
    if (o->limit.p || o->errors.p || o->has_meta || l.idle) {
        p->counts->others++;
        return FEED_GOOD;
    }
    if (p->map) return feed_read_mapped(p, &whole, why);
    *why = "a record of no known form; --map names its members";
    return FEED_BAD;
}

enum feed_outcome feed_read_json(struct feed_parser *p, struct feed_json *j, const char **why)
{
    enum feed_outcome out = FEED_GOOD;
    if (feed_json_peek(j) == '[') { /* a list of records */
        int item;
        for (bool f = true; (item = feed_json_item(j, &f)) > 0 && out == FEED_GOOD;)
            out = read_object(p, j, why);
        if (item < 0) *why = j->why;
        if (item < 0) return FEED_BAD;
    } else {
        out = read_object(p, j, why);
    }
    if (out == FEED_GOOD && !feed_json_end(j)) {
        *why = j->why;
        return FEED_BAD;
    }
    return out;
}
