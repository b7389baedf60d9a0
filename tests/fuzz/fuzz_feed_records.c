/* fuzz_feed_records.c: any bytes as records of a stream of posts, a line each. What comes out is
 * UTF-8 without NUL, has an id and a time that a store can hold, and is read back the same from the
 * form that it is exported in. */
#include "feed/feed.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    struct feed_reader *again;
    struct feed_post expected;
    size_t n;
};

static void check_slice(struct feed_slice s)
{
    json_t *j = s.n ? json_stringn(s.s, s.n) : NULL; /* jansson refuses what is not UTF-8 */
    CHECK(s.n == 0 || j);
    json_decref(j);
}

static void check_post(const struct feed_post *p)
{
    const struct feed_slice all[] = {p->id,        p->author_id, p->author,   p->name,
                                     p->lang,      p->text,      p->reply_to, p->reply_user,
                                     p->repost_of, p->quote_of,  p->urls,     p->older};
    CHECK(p->id.n > 0 && p->id.n <= 512);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        check_slice(all[i]);
}

static int take_again(void *ctx, const struct feed_change *c, struct error *e)
{
    struct state *s = ctx;
    const struct feed_post *x = &s->expected;
    (void)e;
    CHECK(c->post.created_ms == x->created_ms && c->post.service == x->service);
    CHECK(c->post.text.n == x->text.n);
    CHECK(x->text.n == 0 || memcmp(c->post.text.s, x->text.s, x->text.n) == 0);
    CHECK(c->post.id.n == x->id.n && memcmp(c->post.id.s, x->id.s, x->id.n) == 0);
    s->n++;
    return 0;
}

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    struct state *s = ctx;
    if (c->kind != FEED_POST && c->kind != FEED_UPDATE) return 0;
    check_post(&c->post);
    struct str line = {0};
    feed_post_json(&c->post, &line);
    s->expected = c->post;
    size_t before = s->n;
    CHECK(feed_reader_line(s->again, line.data, line.len, NULL, e) == 0);
    CHECK_MSG(s->n == before + 1, "%s", line.data);
    str_fini(&line);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state s = {0};
    struct feed_counts counts = {0}, counts_again = {0};
    const struct feed_map map = {0};
    const struct feed_read_options o = {.sink = take, .ctx = &s, .map = &map},
                                   o2 = {.sink = take_again, .ctx = &s, .map = &map};
    struct error e = {0};
    counts.errors = 1000; /* what a service says is not logged */
    s.again = feed_reader_new(&o2, &counts_again);
    feed_reader_t *r = feed_reader_new(&o, &counts);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - data) - at : size - at;
        CHECK(feed_reader_line(r, (const char *)data + at, n, NULL, &e) == 0);
        at += n + 1;
    }
    feed_reader_free(r);
    feed_reader_free(s.again);
    return 0;
}
