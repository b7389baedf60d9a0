/* feed_v1.c: statuses of X's API v1.1, as archives and older streams have them. */
#include "feed/read/feed_read_internal.h"

struct v1 {
    struct feed_post *post;
    struct feed_slice text, full_text, created, id_number;
    bool withheld, sensitive;
    struct feed_slice user_id_number;
};

static bool read_user(struct feed_json *j, struct v1 *v)
{
    struct feed_post *post = v->post;
    struct feed_slice key;
    int rc;
    bool verified = false;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        struct feed_slice *to = feed_is(key, "id_str")        ? &post->author_id
                                : feed_is(key, "id")          ? &v->user_id_number
                                : feed_is(key, "screen_name") ? &post->author
                                : feed_is(key, "name")        ? &post->name
                                                              : NULL;
        if (!(to                                ? feed_json_text(j, to)
              : feed_is(key, "followers_count") ? feed_json_int(j, &post->followers)
              : feed_is(key, "verified")        ? feed_json_bool(j, &verified)
                                                : feed_json_skip(j)))
            return false;
    }
    if (verified) post->flags |= FEED_VERIFIED;
    return rc == 0;
}

static bool read_urls(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    int item;
    for (bool f = true; (item = feed_json_item(j, &f)) > 0;) {
        struct feed_slice key, url = {0};
        int rc;
        for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
            if (!(feed_is(key, "expanded_url") ? feed_json_text(j, &url) : feed_json_skip(j)))
                return false;
        if (rc < 0) return false;
        post->flags |= FEED_LINKS;
        feed_list_add(p, &post->urls, url);
    }
    return item == 0;
}

static bool read_entities(struct feed_parser *p, struct feed_json *j, struct feed_post *post)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        bool list = feed_json_peek(j) == '[';
        if (!(list && feed_is(key, "urls")    ? read_urls(p, j, post)
              : list && feed_is(key, "media") ? feed_read_media(j, "photo", post)
                                              : feed_json_skip(j)))
            return false;
    }
    return rc == 0;
}

/* Of a status within the status: its id, and whether it has a text that is whole. */
static bool read_inner(struct feed_json *j, struct feed_slice *id, struct feed_slice *full)
{
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!(feed_is(key, "id_str")              ? feed_json_text(j, id)
              : full && feed_is(key, "full_text") ? feed_json_text(j, full)
                                                  : feed_json_skip(j)))
            return false;
    return rc == 0;
}

static bool read_object(struct feed_parser *p, struct feed_json *j, struct feed_slice key,
                        struct v1 *v)
{
    struct feed_post *post = v->post;
    if (feed_is(key, "user")) return read_user(j, v);
    if (feed_is(key, "entities") || feed_is(key, "extended_entities"))
        return read_entities(p, j, post);
    if (feed_is(key, "retweeted_status")) {
        post->flags |= FEED_REPOST;
        return read_inner(j, &post->repost_of, NULL);
    }
    if (feed_is(key, "quoted_status")) {
        post->flags |= FEED_QUOTE;
        return read_inner(j, &post->quote_of, NULL);
    }
    if (feed_is(key, "extended_tweet")) {
        struct feed_slice none = {0};
        return read_inner(j, &none, &v->full_text);
    }
    return feed_json_skip(j);
}

static bool read_member(struct feed_parser *p, struct feed_json *j, struct feed_slice key,
                        struct v1 *v)
{
    struct feed_post *post = v->post;
    char c = feed_json_peek(j);
    if (c == '{') return read_object(p, j, key, v);
    struct feed_slice *to = feed_is(key, "id_str")                      ? &post->id
                            : feed_is(key, "id")                        ? &v->id_number
                            : feed_is(key, "text")                      ? &v->text
                            : feed_is(key, "full_text")                 ? &v->full_text
                            : feed_is(key, "created_at")                ? &v->created
                            : feed_is(key, "lang")                      ? &post->lang
                            : feed_is(key, "in_reply_to_status_id_str") ? &post->reply_to
                            : feed_is(key, "in_reply_to_screen_name")   ? &post->reply_user
                            : feed_is(key, "quoted_status_id_str")      ? &post->quote_of
                                                                        : NULL;
    if (to) return feed_json_text(j, to);
    int64_t *number = feed_is(key, "favorite_count")  ? &post->likes
                      : feed_is(key, "retweet_count") ? &post->reposts
                      : feed_is(key, "reply_count")   ? &post->replies
                      : feed_is(key, "quote_count")   ? &post->quotes
                                                      : NULL;
    if (number) return feed_json_int(j, number);
    if (feed_is(key, "possibly_sensitive")) return feed_json_bool(j, &v->sensitive);
    if (feed_is(key, "withheld_in_countries")) v->withheld = c == '[';
    if (feed_is(key, "withheld_copyright") && c == 't') v->withheld = true;
    return feed_json_skip(j);
}

enum feed_outcome feed_read_v1(struct feed_parser *p, struct feed_json *j, const char **why)
{
    struct feed_change c = {.kind = FEED_POST, .post = {.service = FEED_X}};
    struct v1 v = {.post = &c.post};
    struct feed_slice key;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;)
        if (!read_member(p, j, key, &v)) break;
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    struct feed_post *post = &c.post;
    if (!post->id.n) post->id = v.id_number;
    if (!post->author_id.n) post->author_id = v.user_id_number;
    post->text = v.full_text.n ? v.full_text : v.text;
    feed_unescape_html(&post->text);
    if (post->reply_to.n || post->reply_user.n) post->flags |= FEED_REPLY;
    if (post->quote_of.n && !post->repost_of.n) post->flags |= FEED_QUOTE;
    if (v.sensitive) post->flags |= FEED_SENSITIVE;
    if (!feed_time_parse(v.created, &post->created_ms)) {
        *why = "'created_at' is no time";
        return FEED_BAD;
    }
    if (v.withheld) c.kind = FEED_WITHHELD;
    return feed_emit(p, &c, why);
}
