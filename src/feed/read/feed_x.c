/* feed_x.c: X's API v2: posts with their authors and media beside them, and compliance events.
 *
 * {"data": {...} or [...], "includes": {"users": [...], "media": [...]}, "matching_rules": [...]},
 * ids as strings, members in any order, new ones at any time (X's documentation, "Consuming
 * streaming data"). An edit makes a new id, and edit_history_tweet_ids lists those before it. */
#include "feed/read/feed_read_internal.h"

struct user {
    struct feed_slice id, username, name;
    int64_t followers;
    bool verified;
    struct user *next;
};
struct media {
    struct feed_slice key;
    bool video;
    struct media *next;
};
struct includes {
    struct user *users;
    struct media *media;
};

static bool read_user(struct feed_json *j, struct user *u)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        bool ok;
        if (feed_is(key, "id"))
            ok = feed_json_text(j, &u->id);
        else if (feed_is(key, "username"))
            ok = feed_json_text(j, &u->username);
        else if (feed_is(key, "name"))
            ok = feed_json_text(j, &u->name);
        else if (feed_is(key, "verified"))
            ok = feed_json_bool(j, &u->verified);
        else if (feed_is(key, "public_metrics") && feed_json_peek(j) == '{') {
            struct feed_slice metric;
            int in;
            ok = true;
            for (bool f = true; ok && (in = feed_json_member(j, &f, &metric)) != 0;)
                ok = in > 0 && (feed_is(metric, "followers_count") ? feed_json_int(j, &u->followers)
                                                                   : feed_json_skip(j));
        } else
            ok = feed_json_skip(j);
        if (!ok) return false;
    }
    return rc == 0;
}

static bool read_media(struct feed_json *j, struct media *m)
{
    struct feed_slice key, type;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        if (feed_is(key, "media_key")) {
            if (!feed_json_text(j, &m->key)) return false;
        } else if (feed_is(key, "type")) {
            if (!feed_json_text(j, &type)) return false;
            m->video = !feed_is(type, "photo");
        } else if (!feed_json_skip(j)) {
            return false;
        }
    }
    return rc == 0;
}

static bool read_includes(struct feed_parser *p, struct feed_json j, struct includes *in,
                          const char **why)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(&j, &first, &key)) > 0;) {
        bool users = feed_is(key, "users"), media = feed_is(key, "media");
        if ((!users && !media) || feed_json_peek(&j) != '[') {
            if (!feed_json_skip(&j)) break;
            continue;
        }
        int item;
        for (bool f = true; (item = feed_json_item(&j, &f)) > 0;) {
            if (users) {
                struct user *u = arena_alloc(&p->arena, sizeof(*u));
                if (!read_user(&j, u)) break;
                u->next = in->users;
                in->users = u;
            } else {
                struct media *m = arena_alloc(&p->arena, sizeof(*m));
                if (!read_media(&j, m)) break;
                m->next = in->media;
                in->media = m;
            }
        }
        if (item != 0) break;
    }
    if (j.why) *why = j.why;
    return !j.why && rc == 0;
}

static bool same(struct feed_slice a, struct feed_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

static bool read_metrics(struct feed_json *j, struct feed_post *post)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        int64_t *to = feed_is(key, "like_count") ? &post->likes
                      : feed_is(key, "retweet_count") || feed_is(key, "repost_count")
                          ? &post->reposts
                      : feed_is(key, "reply_count") ? &post->replies
                      : feed_is(key, "quote_count") ? &post->quotes
                                                    : NULL;
        if (!(to ? feed_json_int(j, to) : feed_json_skip(j))) return false;
    }
    return rc == 0;
}

static bool read_referenced(struct feed_json *j, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key, type = {0}, id = {0};
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
            if (!(feed_is(key, "type") ? feed_json_text(j, &type)
                  : feed_is(key, "id") ? feed_json_text(j, &id)
                                       : feed_json_skip(j)))
                return false;
        }
        if (rc < 0) return false;
        if (feed_is(type, "retweeted")) {
            post->repost_of = id;
            post->flags |= FEED_REPOST;
        } else if (feed_is(type, "quoted")) {
            post->quote_of = id;
            post->flags |= FEED_QUOTE;
        } else if (feed_is(type, "replied_to")) {
            post->reply_to = id;
            post->flags |= FEED_REPLY;
        }
    }
    return item == 0;
}

/* entities.urls[]: the address behind the short one. */
static bool read_urls(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key, expanded = {0}, unwound = {0};
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
            if (!(feed_is(key, "expanded_url")  ? feed_json_text(j, &expanded)
                  : feed_is(key, "unwound_url") ? feed_json_text(j, &unwound)
                                                : feed_json_skip(j)))
                return false;
        }
        if (rc < 0) return false;
        post->flags |= FEED_LINKS;
        feed_list_add(p, &post->urls, unwound.n ? unwound : expanded);
    }
    return item == 0;
}

static bool read_entities(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!(feed_is(key, "urls") && feed_json_peek(j) == '[' ? read_urls(p, j, post)
                                                               : feed_json_skip(j)))
            return false;
    return rc == 0;
}

static bool read_attachments(struct feed_json *j, const struct includes *in, struct feed_post *post)
{
    struct feed_slice key, media_key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        if (!feed_is(key, "media_keys") || feed_json_peek(j) != '[') {
            if (!feed_json_skip(j)) return false;
            continue;
        }
        int item;
        for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
            if (!feed_json_text(j, &media_key)) return false;
            const struct media *m = in->media;
            while (m && !same(m->key, media_key))
                m = m->next;
            post->flags |= m && m->video ? FEED_VIDEO : FEED_IMAGES;
        }
        if (item < 0) return false;
    }
    return rc == 0;
}

static bool read_history(struct feed_parser *p, struct feed_json *j, struct feed_slice *ids)
{
    struct feed_slice id;
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        if (!feed_json_text(j, &id)) return false;
        feed_list_add(p, ids, id);
    }
    return item == 0;
}

static bool read_note(struct feed_json *j, struct feed_slice *text)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!(feed_is(key, "text") ? feed_json_text(j, text) : feed_json_skip(j))) return false;
    return rc == 0;
}

struct v2 {
    struct feed_post *post;
    const struct includes *in;
    struct feed_slice note, created, text;
    bool withheld, sensitive, timed;
};

static bool read_nested(struct feed_parser *p, struct feed_json *j, struct feed_slice key,
                        struct v2 *v)
{
    char c = feed_json_peek(j);
    if (c == '{' && feed_is(key, "public_metrics")) return read_metrics(j, v->post);
    if (c == '{' && feed_is(key, "entities")) return read_entities(p, j, v->post);
    if (c == '{' && feed_is(key, "attachments")) return read_attachments(j, v->in, v->post);
    if (c == '{' && feed_is(key, "note_tweet")) return read_note(j, &v->note);
    if (c == '[' && feed_is(key, "referenced_tweets")) return read_referenced(j, v->post);
    if (c == '[' && feed_is(key, "edit_history_tweet_ids"))
        return read_history(p, j, &v->post->older);
    if (feed_is(key, "withheld")) v->withheld = c == '{';
    return feed_json_skip(j);
}

static bool read_member(struct feed_parser *p, struct feed_json *j, struct feed_slice key,
                        struct v2 *v)
{
    struct feed_post *post = v->post;
    struct feed_slice *to = feed_is(key, "id")                ? &post->id
                            : feed_is(key, "text")            ? &v->text
                            : feed_is(key, "author_id")       ? &post->author_id
                            : feed_is(key, "created_at")      ? &v->created
                            : feed_is(key, "lang")            ? &post->lang
                            : feed_is(key, "conversation_id") ? &post->conversation
                            : feed_is(key, "username")        ? &post->author
                                                              : NULL;
    if (to) return feed_json_text(j, to);
    if (feed_is(key, "possibly_sensitive")) return feed_json_bool(j, &v->sensitive);
    return read_nested(p, j, key, v);
}

/* Ids of X carry their time since 4 November 2010: milliseconds above 22 bits. */
static int64_t snowflake_ms(struct feed_slice id)
{
    uint64_t v = 0;
    if (id.n < 15 || id.n > 19) return 0;
    for (size_t i = 0; i < id.n; i++) {
        if (id.s[i] < '0' || id.s[i] > '9') return 0;
        v = v * 10 + (uint64_t)(id.s[i] - '0');
    }
    return (int64_t)(v >> 22) + 1288834974657LL;
}

static void take_author(const struct includes *in, struct feed_post *post)
{
    const struct user *u = in->users;
    while (u && !same(u->id, post->author_id))
        u = u->next;
    if (!u) return;
    post->author = u->username;
    post->name = u->name;
    post->followers = u->followers;
    if (u->verified) post->flags |= FEED_VERIFIED;
}

/* The ids before this one: its own is the last of the list. */
static void drop_own_id(struct feed_post *post)
{
    struct feed_slice *s = &post->older;
    size_t n = post->id.n;
    if (n == 0 || s->n < n || memcmp(s->s + s->n - n, post->id.s, n) != 0) return;
    s->n -= n;
    if (s->n && s->s[s->n - 1] == ' ') s->n--;
    if (s->n) post->flags |= FEED_EDITED;
}

static enum feed_outcome read_post(struct feed_parser *p, struct feed_json *j,
                                   const struct includes *in, const char **why)
{
    struct feed_change c = {.kind = FEED_POST, .post = {.service = FEED_X}};
    struct v2 v = {.post = &c.post, .in = in};
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!read_member(p, j, key, &v)) break;
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    c.post.text = v.note.n ? v.note : v.text;
    feed_unescape_html(&c.post.text);
    take_author(in, &c.post);
    drop_own_id(&c.post);
    if (v.sensitive) c.post.flags |= FEED_SENSITIVE;
    if (!v.created.n || !feed_time_parse(v.created, &c.post.created_ms))
        c.post.created_ms = snowflake_ms(c.post.id);
    if (c.post.created_ms == 0 && c.post.id.n && !v.withheld) {
        *why = "no time, and an id that tells none";
        return FEED_BAD;
    }
    if (v.withheld) c.kind = FEED_WITHHELD;
    return feed_emit(p, &c, why);
}

enum feed_outcome feed_read_x(struct feed_parser *p, const struct feed_outer *o, const char **why)
{
    struct includes in = {0};
    struct feed_json j = o->data;
    enum feed_outcome last = FEED_GOOD;
    if (o->includes.p &&
        feed_json_peek(&(struct feed_json){o->includes.p, o->includes.end, NULL}) == '{' &&
        !read_includes(p, o->includes, &in, why))
        return FEED_BAD;
    if (feed_json_peek(&j) != '[') return read_post(p, &j, &in, why);
    int item;
    for (bool f = true; (item = feed_json_item(&j, &f)) > 0;) {
        last = read_post(p, &j, &in, why);
        if (last != FEED_GOOD) return last;
    }
    if (item < 0) *why = j.why;
    return item < 0 ? FEED_BAD : FEED_GOOD;
}

/* The id that an event is about: of "tweet" or "user" within it, or its own. Of the older API too:
 * {"status": {"id_str", "user_id_str"}}. */
static bool read_target(struct feed_json *j, struct feed_post *post, bool user)
{
    struct feed_slice key;
    struct feed_slice *own = user ? &post->author_id : &post->id;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        bool ok;
        if ((feed_is(key, "tweet") || feed_is(key, "status") || feed_is(key, "user")) &&
            feed_json_peek(j) == '{')
            ok = read_target(j, post, user);
        else if (feed_is(key, "id") || feed_is(key, "id_str"))
            ok = feed_json_text(j, own);
        else if (feed_is(key, "author_id") || feed_is(key, "user_id") ||
                 feed_is(key, "user_id_str"))
            ok = feed_json_text(j, &post->author_id);
        else
            ok = feed_json_skip(j);
        if (!ok) return false;
    }
    return rc == 0;
}

/* tweet_edit: the ids before the last are replaced. */
static enum feed_outcome read_edit(struct feed_parser *p, struct feed_json j, const char **why)
{
    struct feed_change c = {.kind = FEED_DELETE, .post = {.service = FEED_X}};
    struct feed_slice key, ids = {0}, first_id = {0}, own = {0};
    int rc;
    for (bool first = true; (rc = feed_json_member(&j, &first, &key)) > 0;) {
        bool ok = true;
        if (feed_is(key, "edit_tweet_ids") && feed_json_peek(&j) == '[')
            ok = read_history(p, &j, &ids);
        else if (feed_is(key, "initial_tweet_id"))
            ok = feed_json_text(&j, &first_id);
        else if (feed_is(key, "tweet") && feed_json_peek(&j) == '{') {
            struct feed_post of = {0};
            ok = read_target(&j, &of, false);
            own = of.id;
        } else
            ok = feed_json_skip(&j);
        if (!ok) break;
    }
    if (rc != 0) {
        *why = j.why;
        return FEED_BAD;
    }
    if (!ids.n && first_id.n && !same(first_id, own)) ids = first_id;
    while (feed_list_next(&ids, &c.post.id)) {
        bool last = ids.n == 0;
        if ((last && !same(c.post.id, first_id)) || same(c.post.id, own)) continue;
        enum feed_outcome out = feed_emit(p, &c, why);
        if (out != FEED_GOOD) return out;
    }
    return FEED_GOOD;
}

enum feed_outcome feed_read_x_event(struct feed_parser *p, const struct feed_outer *o,
                                    const char **why)
{
    struct feed_change c = {.post = {.service = FEED_X}};
    if (o->edit.p) return read_edit(p, o->edit, why);
    bool user = o->user_event.p != NULL;
    struct feed_json j = user ? o->user_event : o->deleted;
    c.kind = user ? o->user_kind : o->tweet_kind;
    if (!read_target(&j, &c.post, user)) {
        *why = j.why;
        return FEED_BAD;
    }
    return feed_emit(p, &c, why);
}
