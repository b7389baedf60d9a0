/* fuzz_feed_file.c: any bytes as a file of posts: lines, events, tables with line breaks, documents of
 * JSON, packed or not. Whatever it is, posts that come out have an id, a time that a store can hold
 * and texts in UTF-8; bad records are named by their lines in order; a second reading says the same. */
#include "feed/feed.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    uint64_t posts, bytes, bad, line;
};

static void check_slice(struct feed_slice s)
{
    json_t *j = s.n ? json_stringn(s.s, s.n) : NULL; /* jansson refuses what is not UTF-8 */
    CHECK(s.n == 0 || j);
    json_decref(j);
}

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    struct state *s = ctx;
    (void)e;
    if (c->kind != FEED_POST && c->kind != FEED_UPDATE) return 0;
    const struct feed_post *p = &c->post;
    CHECK(p->id.n > 0 && p->id.n <= 512);
    CHECK(p->created_ms > -1300000000000LL && p->created_ms < 3200000000000LL);
    check_slice(p->id);
    check_slice(p->text);
    check_slice(p->author);
    check_slice(p->urls);
    s->posts++;
    s->bytes += p->text.n;
    return 0;
}

static void on_bad(void *ctx, const struct feed_bad *b)
{
    struct state *s = ctx;
    CHECK(b->why && b->why[0]);
    CHECK_MSG(b->record >= s->line, "line %llu behind %llu", (unsigned long long)b->record,
              (unsigned long long)s->line);
    s->line = b->record;
    s->bad++;
}

static int read_once(const char *path, struct state *s, struct feed_counts *counts)
{
    const struct feed_map map = {0};
    const struct feed_read_options o = {.sink = take, .ctx = s, .map = &map, .on_bad = on_bad};
    struct error e = {0};
    counts->errors = 1000; /* what a service says is not logged */
    int rc = feed_read_file(path, &o, counts, &e);
    CHECK((rc < 0) == (e.code != 0));
    CHECK(counts->bad == s->bad && counts->bad <= counts->records && counts->posts == s->posts);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct state a = {0}, b = {0};
    struct feed_counts ca = {0}, cb = {0};
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    CHECK(read_once(path, &a, &ca) == read_once(path, &b, &cb));
    CHECK(a.posts == b.posts && a.bytes == b.bytes && a.bad == b.bad && ca.records == cb.records);
    return 0;
}
