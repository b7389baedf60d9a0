/* feed_bluesky.c: events of Bluesky's Jetstream: {"did", "time_us", "kind", "commit": {"operation",
 * "collection", "rkey", "record"}}. Only posts matter here; likes, follows and the rest are counted
 * and let go. A post's id is "did/rkey", under which it is deleted too; its author is known by the
 * did alone. */
#include "feed/read/feed_read_internal.h"

struct record {
    struct feed_parser *p;
    struct feed_post *post;
    struct feed_slice created;
};

/* {"uri": ..., "cid": ...} or {"parent": {...}, "root": {...}} */
static bool read_uri(struct feed_json *j, const char *member, struct feed_slice *uri)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        bool ok = feed_is(key, "uri")                                ? feed_json_text(j, uri)
                  : feed_is(key, member) && feed_json_peek(j) == '{' ? read_uri(j, "", uri)
                                                                     : feed_json_skip(j);
        if (!ok) return false;
    }
    return rc == 0;
}

/* "did/rkey" of "at://did/app.bsky.feed.post/rkey", in place. */
static struct feed_slice id_of_uri(struct feed_slice uri)
{
    static const char head[] = "at://", middle[] = "/app.bsky.feed.post/";
    size_t h = sizeof(head) - 1, m = sizeof(middle) - 1;
    if (uri.n <= h || memcmp(uri.s, head, h) != 0) return uri;
    char *at = memmem(uri.s, uri.n, middle, m);
    if (!at) return uri;
    char *end = uri.s + uri.n, *rkey = at + m;
    memmove(at + 1, rkey, (size_t)(end - rkey));
    return (struct feed_slice){uri.s + h, (size_t)(at + 1 - uri.s) - h + (size_t)(end - rkey)};
}

/* One facet's features: links stand here. */
static bool read_features(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key, uri = {0};
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
            if (!(feed_is(key, "uri") ? feed_json_text(j, &uri) : feed_json_skip(j))) return false;
        if (rc < 0) return false;
        if (!uri.n) continue;
        post->flags |= FEED_LINKS;
        feed_list_add(p, &post->urls, uri);
    }
    return item == 0;
}

static bool read_facets(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key;
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
            bool features = feed_is(key, "features") && feed_json_peek(j) == '[';
            if (!(features ? read_features(p, j, post) : feed_json_skip(j))) return false;
        }
        if (rc < 0) return false;
    }
    return item == 0;
}

/* Of "embed": its type, the post that it quotes, the page that it shows. */
static bool read_embed(struct feed_parser *p, struct feed_json *j, struct feed_post *post,
                       int depth)
{
    struct feed_slice key, type = {0}, uri = {0};
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        bool object = feed_json_peek(j) == '{';
        bool inner = object && depth < 2 &&
                     (feed_is(key, "record") || feed_is(key, "external") || feed_is(key, "media"));
        if (!(feed_is(key, "$type") ? feed_json_text(j, &type)
              : feed_is(key, "uri") ? feed_json_text(j, &uri)
              : inner               ? read_embed(p, j, post, depth + 1)
                                    : feed_json_skip(j)))
            return false;
    }
    if (type.n && memmem(type.s, type.n, ".images", 7)) post->flags |= FEED_IMAGES;
    if (type.n && memmem(type.s, type.n, ".video", 6)) post->flags |= FEED_VIDEO;
    if (uri.n > 5 && memcmp(uri.s, "at://", 5) == 0) {
        post->quote_of = id_of_uri(uri);
        post->flags |= FEED_QUOTE;
    } else if (uri.n) {
        post->flags |= FEED_LINKS;
        feed_list_add(p, &post->urls, uri);
    }
    return rc == 0;
}

static bool read_langs(struct feed_json *j, struct feed_slice *lang)
{
    struct feed_slice one;
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        if (!feed_json_text(j, &one)) return false;
        if (!lang->n) *lang = one;
    }
    return item == 0;
}

static bool read_record(struct record *r, struct feed_json *j)
{
    struct feed_post *post = r->post;
    struct feed_slice key, uri = {0};
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        char c = feed_json_peek(j);
        bool ok;
        if (feed_is(key, "text"))
            ok = feed_json_text(j, &post->text);
        else if (feed_is(key, "createdAt"))
            ok = feed_json_text(j, &r->created);
        else if (c == '[' && feed_is(key, "langs"))
            ok = read_langs(j, &post->lang);
        else if (c == '[' && feed_is(key, "facets"))
            ok = read_facets(r->p, j, post);
        else if (c == '{' && feed_is(key, "embed"))
            ok = read_embed(r->p, j, post, 0);
        else if (c == '{' && feed_is(key, "reply"))
            ok = read_uri(j, "parent", &uri);
        else
            ok = feed_json_skip(j);
        if (!ok) return false;
    }
    if (uri.n) {
        post->reply_to = id_of_uri(uri);
        post->flags |= FEED_REPLY;
    }
    return rc == 0;
}

/* A record's own time may be any, and is not believed where it lies in the future of the stream. */
static int64_t settle_time(struct feed_slice created, int64_t time_us)
{
    int64_t ms;
    bool good = feed_time_parse(created, &ms);
    int64_t seen = time_us / 1000;
    if (!good) return seen;
    return seen && ms > seen ? seen : ms;
}

static enum feed_outcome read_commit(struct feed_parser *p, const struct feed_outer *o,
                                     const char **why)
{
    struct feed_change c = {.kind = FEED_POST, .post = {.service = FEED_BLUESKY}};
    struct feed_json j = o->commit, body = {0};
    struct feed_slice key, operation = {0}, collection = {0}, rkey = {0};
    struct record r = {p, &c.post, {0}};
    int rc;
    for (bool first = true; (rc = feed_json_member(&j, &first, &key)) > 0;)
        if (!(feed_is(key, "operation")    ? feed_json_text(&j, &operation)
              : feed_is(key, "collection") ? feed_json_text(&j, &collection)
              : feed_is(key, "rkey")       ? feed_json_text(&j, &rkey)
              : feed_is(key, "record")     ? feed_json_value(&j, &body)
                                           : feed_json_skip(&j)))
            break;
    if (rc != 0) {
        *why = j.why;
        return FEED_BAD;
    }
    if (!feed_is(collection, "app.bsky.feed.post")) {
        p->counts->others++;
        return FEED_GOOD;
    }
    if (!o->did.n || !rkey.n) {
        *why = "a post without 'did' or 'rkey'";
        return FEED_BAD;
    }
    c.post.id.s =
        arena_printf(&p->arena, "%.*s/%.*s", (int)o->did.n, o->did.s, (int)rkey.n, rkey.s);
    c.post.id.n = strlen(c.post.id.s);
    c.post.author_id = c.post.author = o->did;
    if (feed_is(operation, "delete")) {
        c.kind = FEED_DELETE;
        return feed_emit(p, &c, why);
    }
    if (feed_is(operation, "update")) {
        c.kind = FEED_UPDATE;
        c.post.edited_ms = o->time_us / 1000;
        c.post.flags |= FEED_EDITED;
    }
    if (!body.p || !read_record(&r, &body)) {
        *why = body.p ? body.why : "a post without 'record'";
        return FEED_BAD;
    }
    c.post.created_ms = settle_time(r.created, o->time_us);
    return feed_emit(p, &c, why);
}

/* {"active": false, "status": "deleted"}: the account is gone, for now or for ever. */
static enum feed_outcome read_account(struct feed_parser *p, const struct feed_outer *o,
                                      const char **why)
{
    struct feed_change c = {.post = {.service = FEED_BLUESKY}};
    struct feed_json j = o->account;
    struct feed_slice key, did = o->did;
    bool active = true;
    int rc;
    for (bool first = true; (rc = feed_json_member(&j, &first, &key)) > 0;)
        if (!(feed_is(key, "active") ? feed_json_bool(&j, &active)
              : feed_is(key, "did")  ? feed_json_text(&j, &did)
                                     : feed_json_skip(&j)))
            break;
    if (rc != 0) {
        *why = j.why;
        return FEED_BAD;
    }
    c.kind = active ? FEED_USER_BACK : FEED_USER_GONE;
    c.post.author_id = did;
    return feed_emit(p, &c, why);
}

enum feed_outcome feed_read_bluesky(struct feed_parser *p, const struct feed_outer *o,
                                    const char **why)
{
    if (feed_is(o->kind, "commit") && o->commit.p) return read_commit(p, o, why);
    if (feed_is(o->kind, "account") && o->account.p) return read_account(p, o, why);
    p->counts->others++; /* identities, and kinds that are new */
    return FEED_GOOD;
}
