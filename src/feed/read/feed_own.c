/* feed_own.c: posts as this program writes them, a line of JSON each: what `feed export` prints and
 * a search answers, and what reads it back without loss. */
#include "feed/read/feed_read_internal.h"

static const struct {
    const char *name;
    size_t offset;
} texts[] =
    {
        {"id", offsetof(struct feed_post, id)},
        {"author_id", offsetof(struct feed_post, author_id)},
        {"author", offsetof(struct feed_post, author)},
        {"name", offsetof(struct feed_post, name)},
        {"lang", offsetof(struct feed_post, lang)},
        {"text", offsetof(struct feed_post, text)},
        {"reply_to", offsetof(struct feed_post, reply_to)},
        {"reply_user", offsetof(struct feed_post, reply_user)},
        {"repost_of", offsetof(struct feed_post, repost_of)},
        {"quote_of", offsetof(struct feed_post, quote_of)},
        {"conversation", offsetof(struct feed_post, conversation)},
        {"urls", offsetof(struct feed_post, urls)},
},
  numbers[] = {
      {"created_ms", offsetof(struct feed_post, created_ms)},
      {"edited_ms", offsetof(struct feed_post, edited_ms)},
      {"likes", offsetof(struct feed_post, likes)},
      {"reposts", offsetof(struct feed_post, reposts)},
      {"replies", offsetof(struct feed_post, replies)},
      {"quotes", offsetof(struct feed_post, quotes)},
      {"followers", offsetof(struct feed_post, followers)},
};

static struct feed_slice *text_at(struct feed_post *p, size_t i)
{
    return (struct feed_slice *)(void *)((char *)p + texts[i].offset);
}

static int64_t *number_at(struct feed_post *p, size_t i)
{
    return (int64_t *)(void *)((char *)p + numbers[i].offset);
}

void feed_post_json(const struct feed_post *p, struct str *out)
{
    struct json_writer w;
    struct feed_post copy = *p;
    char when[32];
    feed_time_text(p->created_ms, when);
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_string(&w, "service", feed_service_names[p->service]);
    jsonw_string(&w, "created_at", when);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct feed_slice *s = text_at(&copy, i);
        if (s->n) jsonw_string_n(&w, texts[i].name, s->s, s->n);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (*number_at(&copy, i) || i == 0) jsonw_int(&w, numbers[i].name, *number_at(&copy, i));
    if (p->flags) jsonw_int(&w, "flags", p->flags);
    jsonw_close(&w, '}');
}

enum feed_outcome feed_read_own(struct feed_parser *p, struct feed_json *j, const char **why)
{
    struct feed_change change = {.kind = FEED_POST};
    struct feed_slice key, service = {0};
    int64_t flags = 0;
    int rc;
    for (bool first = true; (rc = feed_json_member(j, &first, &key)) > 0;) {
        struct feed_slice *text = NULL;
        int64_t *number = feed_is(key, "flags") ? &flags : NULL;
        if (feed_is(key, "service")) text = &service;
        for (size_t i = 0; i < ARRAY_LEN(texts) && !text; i++)
            if (feed_is(key, texts[i].name)) text = text_at(&change.post, i);
        for (size_t i = 0; i < ARRAY_LEN(numbers) && !number; i++)
            if (feed_is(key, numbers[i].name)) number = number_at(&change.post, i);
        const char c = number ? feed_json_peek(j) : '0';
        if (c != '-' && (c < '0' || c > '9')) {
            *why = "a count or a time that is no number";
            return FEED_BAD;
        }
        if (!(text     ? feed_json_text(j, text)
              : number ? feed_json_int(j, number)
                       : feed_json_skip(j)))
            break;
    }
    if (rc != 0) {
        *why = j->why;
        return FEED_BAD;
    }
    bool known = service.n == 0;
    for (int i = 0; i < FEED_N_SERVICES; i++) {
        if (!feed_is(service, feed_service_names[i])) continue;
        change.post.service = (enum feed_service)i;
        known = true;
    }
    if (!known) {
        *why = "a service that is neither x, bluesky, mastodon nor other";
        return FEED_BAD;
    }
    change.post.flags = (unsigned)flags & (2 * FEED_EDITED - 1);
    if (change.post.edited_ms) change.kind = FEED_UPDATE;
    return feed_emit(p, &change, why);
}
