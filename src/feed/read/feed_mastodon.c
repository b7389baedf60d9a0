/* feed_mastodon.c: statuses of Mastodon, alone, in lists, or as server-sent events: "event: update",
 * "event: status.update" (an edit), "event: delete" with "data:" behind each; a line that begins
 * with ':' keeps the connection alive (Mastodon's documentation, "Streaming"). Texts are HTML. Ids
 * are the server's own: a store holds what one server says. */
#include "feed/read/feed_read_internal.h"

struct status {
    struct feed_parser *p;
    struct feed_post *post;
    struct feed_slice created, edited, acct, username, url;
    bool sensitive;
};

static bool read_account(struct feed_json *j, struct status *s)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        struct feed_slice *to = feed_is(key, "id")             ? &s->post->author_id
                                : feed_is(key, "acct")         ? &s->acct
                                : feed_is(key, "username")     ? &s->username
                                : feed_is(key, "display_name") ? &s->post->name
                                                               : NULL;
        if (!(to                                ? feed_json_text(j, to)
              : feed_is(key, "followers_count") ? feed_json_int(j, &s->post->followers)
                                                : feed_json_skip(j)))
            return false;
    }
    return rc == 0;
}

/* "card": the page that a link leads to. */
static bool read_card(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    struct feed_slice key, url = {0};
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!(feed_is(key, "url") ? feed_json_text(j, &url) : feed_json_skip(j))) return false;
    if (url.n) {
        post->flags |= FEED_LINKS;
        feed_list_add(p, &post->urls, url);
    }
    return rc == 0;
}

/* The status that this one passes on: its id and its text, which the outer one does not have. */
static bool read_reblog(struct feed_json *j, struct feed_post *post)
{
    struct feed_slice key;
    int rc;
    post->flags |= FEED_REPOST;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!(feed_is(key, "id")        ? feed_json_text(j, &post->repost_of)
              : feed_is(key, "content") ? feed_json_text(j, &post->text)
                                        : feed_json_skip(j)))
            return false;
    return rc == 0;
}

static bool read_member(struct feed_json *j, struct feed_slice key, struct status *s)
{
    struct feed_post *post = s->post;
    char c = feed_json_peek(j);
    if (c == '{' && feed_is(key, "account")) return read_account(j, s);
    if (c == '{' && feed_is(key, "reblog")) return read_reblog(j, post);
    if (c == '{' && feed_is(key, "card")) return read_card(s->p, j, post);
    if (c == '[' && feed_is(key, "media_attachments")) return feed_read_media(j, "image", post);
    if (feed_is(key, "content")) {
        struct feed_slice text;
        if (!feed_json_text(j, &text)) return false;
        if (text.n) post->text = text;
        return true;
    }
    struct feed_slice *to = feed_is(key, "id")               ? &post->id
                            : feed_is(key, "created_at")     ? &s->created
                            : feed_is(key, "edited_at")      ? &s->edited
                            : feed_is(key, "language")       ? &post->lang
                            : feed_is(key, "in_reply_to_id") ? &post->reply_to
                                                             : NULL;
    if (to) return feed_json_text(j, to);
    int64_t *number = feed_is(key, "favourites_count") ? &post->likes
                      : feed_is(key, "reblogs_count")  ? &post->reposts
                      : feed_is(key, "replies_count")  ? &post->replies
                      : feed_is(key, "quotes_count")   ? &post->quotes
                                                       : NULL;
    if (number) return feed_json_int(j, number);
    return feed_is(key, "sensitive") ? feed_json_bool(j, &s->sensitive) : feed_json_skip(j);
}

enum feed_outcome feed_read_mastodon(struct feed_parser *p, struct feed_json *j, bool edited,
                                     const char **why)
{
    struct feed_change c = {.kind = edited ? FEED_UPDATE : FEED_POST,
                            .post = {.service = FEED_MASTODON}};
    struct status s = {.p = p, .post = &c.post};
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!read_member(j, key, &s)) break;
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    struct feed_post *post = &c.post;
    feed_strip_html(&post->text);
    post->author = s.acct.n ? s.acct : s.username;
    if (post->reply_to.n) post->flags |= FEED_REPLY;
    if (s.sensitive) post->flags |= FEED_SENSITIVE;
    if (s.edited.n && feed_time_parse(s.edited, &post->edited_ms)) {
        post->flags |= FEED_EDITED;
        c.kind = FEED_UPDATE;
    }
    if (!feed_time_parse(s.created, &post->created_ms)) {
        *why = "'created_at' is no time";
        return FEED_BAD;
    }
    return feed_emit(p, &c, why);
}

enum feed_outcome feed_read_mastodon_delete(struct feed_parser *p, struct feed_slice id,
                                            const char **why)
{
    struct feed_change c = {.kind = FEED_DELETE, .post = {.service = FEED_MASTODON, .id = id}};
    for (size_t i = 0; i < id.n; i++) {
        if (id.s[i] >= '0' && id.s[i] <= '9') continue;
        *why = "a deletion without an id";
        return FEED_BAD;
    }
    return feed_emit(p, &c, why);
}

enum feed_outcome feed_read_event_line(struct feed_parser *p, char *line, size_t n,
                                       const char **why)
{
    char *colon = memchr(line, ':', n), *end = line + n;
    if (line[0] == ':') { /* ":thump" */
        p->counts->others++;
        return FEED_GOOD;
    }
    char *value = colon + 1 < end && colon[1] == ' ' ? colon + 2 : colon + 1;
    size_t size = (size_t)(end - value);
    if (colon - line == 5 && memcmp(line, "event", 5) == 0) {
        snprintf(p->event, sizeof(p->event), "%.*s", (int)MIN(size, sizeof(p->event) - 1), value);
        return FEED_GOOD;
    }
    struct feed_json j = {value, end, NULL};
    bool edited = strcmp(p->event, "status.update") == 0;
    if (strcmp(p->event, "delete") == 0)
        return feed_read_mastodon_delete(p, (struct feed_slice){value, size}, why);
    if (p->event[0] && !edited && strcmp(p->event, "update") != 0) {
        p->counts->others++; /* notifications, filters, announcements */
        return FEED_GOOD;
    }
    if (feed_json_peek(&j) != '{') {
        *why = "'data:' is no status";
        return FEED_BAD;
    }
    enum feed_outcome out = feed_read_mastodon(p, &j, edited, why);
    if (out != FEED_GOOD || feed_json_end(&j)) return out;
    *why = j.why;
    return FEED_BAD;
}
