/* test_feed_read.c: records of every service become changes; what is not understood is named. The
 * posts are made up. */
#include "feed/feed.h"
#include "test_cmocka.h"

struct got {
    struct arena a;
    struct feed_change changes[64];
    size_t n, n_bad;
    char why[160];
    uint64_t bad_record;
};

static struct feed_slice keep(struct got *g, struct feed_slice s)
{
    return (struct feed_slice){arena_strndup(&g->a, s.n ? s.s : "", s.n), s.n};
}

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    struct got *g = ctx;
    if (g->n == ARRAY_LEN(g->changes))
        return error_set(e, "more changes than the test has room for");
    struct feed_change *to = &g->changes[g->n++];
    *to = *c;
    struct feed_slice *s[] = {&to->post.id,       &to->post.author_id, &to->post.author,
                              &to->post.name,     &to->post.lang,      &to->post.text,
                              &to->post.reply_to, &to->post.repost_of, &to->post.quote_of,
                              &to->post.urls,     &to->post.older,     &to->post.reply_user};
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        *s[i] = keep(g, *s[i]);
    return 0;
}

static void bad(void *ctx, const struct feed_bad *b)
{
    struct got *g = ctx;
    g->n_bad++;
    g->bad_record = b->record;
    snprintf(g->why, sizeof(g->why), "%s", b->why);
}

/* The changes of lines, each as it stands. */
static void read_lines(struct got *g, const char *text)
{
    struct feed_counts counts = {0};
    struct feed_map map = {0};
    const struct feed_read_options o = {.sink = take, .ctx = g, .map = &map, .on_bad = bad};
    struct error e = {0};
    memset(g, 0, sizeof(*g));
    feed_reader_t *r = feed_reader_new(&o, &counts);
    while (*text) {
        size_t n = strcspn(text, "\n");
        char *exact = mem_alloc(n + 1); /* a read past its end is past the allocation's end */
        memcpy(exact, text, n);
        assert_ok(feed_reader_line(r, exact, n, NULL, &e), e);
        mem_free(exact);
        text += n + (text[n] == '\n');
    }
    feed_reader_free(r);
}

static void read_file(struct got *g, const char *text, size_t size, const char *map_text)
{
    struct feed_counts counts = {0};
    struct feed_map map = {0};
    struct error e = {0};
    const struct feed_read_options o = {.sink = take, .ctx = g, .map = &map, .on_bad = bad};
    memset(g, 0, sizeof(*g));
    char *folder = test_folder(&g->a), *path = file_join(&g->a, folder, "posts");
    assert_ok(feed_map_parse(map_text, &g->a, &map, &e), e);
    assert_ok(file_write(path, text, size, &e), e);
    assert_ok(feed_read_file(path, &o, &counts, &e), e);
    assert_ok(file_remove_tree(folder, &e), e);
    assert_int_equal(counts.bad, g->n_bad);
}

static void test_v2(void **state)
{
    (void)state;
    struct got g;
    read_lines(
        &g, "{\"matching_rules\":[{\"id\":\"1\",\"tag\":\"t\"}],\"includes\":{\"users\":[{\"id\":"
            "\"7\",\"name\":\"Ada \\u00c9\",\"username\":\"ada\",\"public_metrics\":{"
            "\"followers_count\":12},\"verified\":true}],\"media\":[{\"media_key\":\"3_1\","
            "\"type\":\"photo\"}]},\"data\":{\"new_field\":{\"a\":[1,2,{\"b\":null}]},\"text\":"
            "\"one &amp; two \\ud83d\\ude80 \\ud83d!\",\"id\":\"2072678342456246272\","
            "\"author_id\":\"7\",\"lang\":\"en\",\"created_at\":\"2026-07-02T13:46:40.000Z\","
            "\"public_metrics\":{\"like_count\":3,\"retweet_count\":2},\"referenced_tweets\":[{"
            "\"type\":\"quoted\",\"id\":\"5\"}],\"attachments\":{\"media_keys\":[\"3_1\"]},"
            "\"entities\":{\"urls\":[{\"url\":\"u\",\"expanded_url\":\"https://example.org/a\"}]},"
            "\"edit_history_tweet_ids\":[\"4\",\"2072678342456246272\"]}}\n\n");
    assert_int_equal(g.n_bad, 0);
    assert_int_equal(g.n, 1);
    const struct feed_post *p = &g.changes[0].post;
    assert_int_equal(g.changes[0].kind, FEED_POST);
    assert_string_equal(p->text.s, "one & two \xF0\x9F\x9A\x80 \xEF\xBF\xBD!");
    assert_string_equal(p->author.s, "ada");
    assert_string_equal(p->name.s, "Ada \xC3\x89");
    assert_string_equal(p->older.s, "4");
    assert_string_equal(p->quote_of.s, "5");
    assert_string_equal(p->urls.s, "https://example.org/a");
    assert_int_equal(p->created_ms, 1783000000000LL);
    assert_int_equal(p->likes, 3);
    assert_int_equal(p->reposts, 2);
    assert_int_equal(p->followers, 12);
    assert_int_equal(p->flags, FEED_QUOTE | FEED_LINKS | FEED_IMAGES | FEED_VERIFIED | FEED_EDITED);
    arena_fini(&g.a);
}

static void test_compliance(void **state)
{
    (void)state;
    struct got g;
    read_lines(&g,
               "{\"data\":{\"delete\":{\"tweet\":{\"id\":\"1\",\"author_id\":\"9\"},\"event_at\":"
               "\"2026-07-02T13:46:40.000Z\"}}}\n"
               "{\"delete\":{\"status\":{\"id\":2,\"id_str\":\"2\",\"user_id\":9}}}\n"
               "{\"withheld\":{\"tweet\":{\"id\":\"3\"},\"withheld_in_countries\":[\"XX\"]}}\n"
               "{\"undrop\":{\"tweet\":{\"id\":\"3\"}}}\n"
               "{\"user_suspend\":{\"user\":{\"id\":\"8\"}}}\n"
               "{\"user_unsuspend\":{\"user\":{\"id\":\"8\"}}}\n"
               "{\"tweet_edit\":{\"tweet\":{\"id\":\"12\"},\"initial_tweet_id\":\"10\","
               "\"edit_tweet_ids\":[\"10\",\"11\",\"12\"]}}\n"
               "{\"data\":{\"id\":\"4\",\"text\":\"x\",\"author_id\":\"1\",\"created_at\":"
               "\"2026-07-02T13:46:40.000Z\",\"withheld\":{\"country_codes\":[\"XX\"]}}}\n"
               "{\"errors\":[{\"title\":\"operational-disconnect\",\"detail\":\"bye\"}]}\n"
               "{\"limit\":{\"track\":5}}\n");
    static const struct {
        enum feed_change_kind kind;
        const char *id;
    } expected[] = {{FEED_DELETE, "1"},  {FEED_DELETE, "2"},   {FEED_WITHHELD, "3"},
                    {FEED_RESTORE, "3"}, {FEED_USER_GONE, ""}, {FEED_USER_BACK, ""},
                    {FEED_DELETE, "10"}, {FEED_DELETE, "11"},  {FEED_WITHHELD, "4"}};
    assert_int_equal(g.n_bad, 0);
    assert_int_equal(g.n, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(g.changes[i].kind, expected[i].kind);
        assert_string_equal(g.changes[i].post.id.s, expected[i].id);
    }
    assert_string_equal(g.changes[4].post.author_id.s, "8");
    arena_fini(&g.a);
}

static void test_v1(void **state)
{
    (void)state;
    struct got g;
    read_lines(
        &g, "{\"created_at\":\"Wed Jan 01 03:59:03 +0000 2014\",\"id\":418229860210057216,"
            "\"text\":\"short\\u2026\",\"extended_tweet\":{\"full_text\":\"the whole $AAPL text\"},"
            "\"user\":{\"id_str\":\"77\",\"screen_name\":\"ben\",\"followers_count\":5,"
            "\"description\":\"a \\\"quoted\\\" one\"},\"in_reply_to_screen_name\":\"ada\","
            "\"favorite_count\":4,\"entities\":{\"urls\":[]},\"geo\":null}\n");
    assert_int_equal(g.n, 1);
    const struct feed_post *p = &g.changes[0].post;
    assert_string_equal(p->id.s, "418229860210057216");
    assert_string_equal(p->text.s, "the whole $AAPL text");
    assert_string_equal(p->author_id.s, "77");
    assert_string_equal(p->reply_user.s, "ada");
    assert_int_equal(p->created_ms, 1388548743000LL);
    assert_int_equal(p->flags, FEED_REPLY);
    arena_fini(&g.a);
}

static void test_bluesky(void **state)
{
    (void)state;
    struct got g;
    read_lines(
        &g,
        "{\"did\":\"did:plc:a\",\"time_us\":1783000001000000,\"kind\":\"commit\",\"commit\":{"
        "\"operation\":\"create\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"3k\",\"record\":"
        "{\"text\":\"hello\",\"langs\":[\"en\",\"de\"],\"createdAt\":\"2126-07-04T14:38:06.240Z\","
        "\"reply\":{\"root\":{\"uri\":\"at://did:plc:r/app.bsky.feed.post/0\"},\"parent\":{\"cid\":"
        "\"c\",\"uri\":\"at://did:plc:b/app.bsky.feed.post/9\"}},\"embed\":{\"$type\":"
        "\"app.bsky.embed.images\"}}}}\n"
        "{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"commit\",\"commit\":{\"operation\":"
        "\"delete\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"3k\"}}\n"
        "{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"commit\",\"commit\":{\"operation\":"
        "\"create\",\"collection\":\"app.bsky.feed.like\",\"rkey\":\"3k\",\"record\":{}}}\n"
        "{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"account\",\"account\":{\"active\":false}}"
        "\n"
        "{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"identity\",\"identity\":{}}\n");
    assert_int_equal(g.n_bad, 0);
    assert_int_equal(g.n, 3);
    assert_string_equal(g.changes[0].post.id.s, "did:plc:a/3k");
    assert_string_equal(g.changes[0].post.reply_to.s, "did:plc:b/9");
    assert_string_equal(g.changes[0].post.lang.s, "en");
    /* a time in the future of the stream is not believed */
    assert_int_equal(g.changes[0].post.created_ms, 1783000001000LL);
    assert_int_equal(g.changes[0].post.flags, FEED_REPLY | FEED_IMAGES);
    assert_int_equal(g.changes[1].kind, FEED_DELETE);
    assert_string_equal(g.changes[1].post.id.s, "did:plc:a/3k");
    assert_int_equal(g.changes[2].kind, FEED_USER_GONE);
    arena_fini(&g.a);
}

#define STATUS                                                                                     \
    "{\"id\":\"11\",\"created_at\":\"2026-07-02T13:46:40.000Z\",\"content\":\"<p>Go<br>there: <a " \
    "href=\\\"x\\\"><span class=\\\"invisible\\\">https://</span>example.org</a> &lt;3</p>\","     \
    "\"account\":{\"id\":\"5\",\"acct\":\"cy@example.social\"},\"language\":\"en\"}"

static void test_mastodon(void **state)
{
    (void)state;
    struct got g;
    read_lines(&g, ":thump\nevent: update\ndata: " STATUS "\n\nevent: delete\ndata: 11\n\n" STATUS
                   "\nevent: status.update\ndata: " STATUS
                   "\n\nevent: notification\ndata: {}\n\n[" STATUS "," STATUS
                   "]\n{\"stream\":[\"public\"],\"event\":\"delete\",\"payload\":\"12\"}\n");
    static const enum feed_change_kind kinds[] = {FEED_POST, FEED_DELETE, FEED_POST,  FEED_UPDATE,
                                                  FEED_POST, FEED_POST,   FEED_DELETE};
    assert_int_equal(g.n_bad, 0);
    assert_int_equal(g.n, ARRAY_LEN(kinds));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        assert_int_equal(g.changes[i].kind, kinds[i]);
    assert_string_equal(g.changes[0].post.text.s, "Go\nthere: https://example.org <3");
    assert_string_equal(g.changes[0].post.author.s, "cy@example.social");
    assert_string_equal(g.changes[6].post.id.s, "12");
    arena_fini(&g.a);
}

static void test_tables(void **state)
{
    (void)state;
    struct got g;
    static const char csv[] = "created_at,id,screen_name,text\r\n"
                              "\"2017-08-27 00:05:34\",901,ada,\"two\nlines, \"\"so\"\"\"\r\n"
                              "2017-08-27,902,ben,plain\r\n"
                              "2017-08-27,903,ben\r\n"
                              "never,904,ben,x\r\n"
                              "2017-08-27,905,cy,last";
    read_file(&g, csv, sizeof(csv) - 1, NULL);
    assert_int_equal(g.n, 3);
    assert_string_equal(g.changes[0].post.text.s, "two\nlines, \"so\"");
    assert_string_equal(g.changes[2].post.author.s, "cy");
    assert_int_equal(g.n_bad, 2);
    assert_int_equal(g.bad_record, 6);
    assert_contains(g.why, "no time");
    arena_fini(&g.a);
    static const char lines[] = "{\"n\":1,\"body\":\"b\",\"when\":1783000000}\nnonsense\n";
    read_file(&g, lines, sizeof(lines) - 1, "id=n,text=body,time=when");
    assert_int_equal(g.n, 1);
    assert_int_equal(g.changes[0].post.created_ms, 1783000000000LL);
    assert_int_equal(g.n_bad, 1);
    assert_int_equal(g.bad_record, 2);
    arena_fini(&g.a);
}

static void test_documents(void **state)
{
    (void)state;
    struct got g;
    static const char text[] = "{\n  \"data\": [\n    {\"id\": \"1\", \"text\": \"a } {\", "
                               "\"created_at\": \"2026-07-02T13:46:40Z\"},\n    {\"id\": \"2\", "
                               "\"text\": \"b\", \"created_at\": \"2026-07-02T13:46:40Z\"}\n  ],\n"
                               "  \"meta\": {\"result_count\": 2}\n}\n";
    read_file(&g, text, sizeof(text) - 1, NULL);
    assert_int_equal(g.n_bad, 0);
    assert_int_equal(g.n, 2);
    assert_string_equal(g.changes[0].post.text.s, "a } {");
    arena_fini(&g.a);
}

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"did\":\"x\"", "cut off"},
        {"{\"a\":01}", "begins with 0"},
        {"{\"a\":\"\\x\"}", "unknown escape"},
        {"{\"a\":tru}", "a value was expected"},
        {"{\"a\":1}", "no known form"},
        {"{\"limit\":{}} x", "something follows"},
        {"hello", "no record of JSON"},
        {"{\"id_str\":\"1\",\"text\":\"\xff\",\"user\":{},\"created_at\":\"2026-07-02T13:46:40Z\"}",
         "not UTF-8"},
        {"{\"id_str\":\"1\",\"text\":\"x\",\"user\":{},\"created_at\":\"yesterday\"}", "no time"},
        {"{\"data\":{\"text\":\"x\"}}", "no id"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got g;
        read_lines(&g, cases[i].text);
        assert_int_equal(g.n_bad, 1);
        assert_int_equal(g.n, 0);
        assert_contains(g.why, cases[i].why);
        arena_fini(&g.a);
    }
}

static void test_own_form(void **state)
{
    (void)state;
    struct got g;
    struct str line = {0};
    char text[] = "quote \" and\nline";
    struct feed_post p = {.service = FEED_MASTODON,
                          .id = {(char[]){"55"}, 2},
                          .text = {text, sizeof(text) - 1},
                          .created_ms = 1783000000001LL,
                          .likes = 9,
                          .flags = FEED_REPLY | FEED_VIDEO};
    feed_post_json(&p, &line);
    read_lines(&g, line.data);
    assert_int_equal(g.n, 1);
    assert_string_equal(g.changes[0].post.text.s, text);
    assert_int_equal(g.changes[0].post.created_ms, p.created_ms);
    assert_int_equal(g.changes[0].post.service, FEED_MASTODON);
    assert_int_equal(g.changes[0].post.flags, p.flags);
    assert_int_equal(g.changes[0].post.likes, 9);
    str_fini(&line);
    arena_fini(&g.a);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"2026-07-04T14:38:06.24Z", 1783175886240LL},
                 {"2026-07-04T16:38:06+02:00", 1783175886000LL},
                 {"Sat Jul 04 14:38:06 +0000 2026", 1783175886000LL},
                 {"1783175886", 1783175886000LL},
                 {"1783175886240", 1783175886240LL},
                 {"1783175886240999", 1783175886240LL},
                 {"1969-12-31 23:59:59", -1000},
                 {"2024-02-29", 1709164800000LL},
                 {"2026-13-04T14:38:06Z", INT64_MIN},
                 {"2026-02-29", INT64_MIN},
                 {"2026-04-31T14:38:06Z", INT64_MIN},
                 {"Mon Feb 30 14:38:06 +0000 2026", INT64_MIN},
                 {"2026-07-04T14:38:06X", INT64_MIN},
                 {"soon", INT64_MIN}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = INT64_MIN;
        struct arena a = {0};
        char *text = arena_strdup(&a, cases[i].text);
        bool ok = feed_time_parse((struct feed_slice){text, strlen(text)}, &ms);
        assert_int_equal(ok, cases[i].ms != INT64_MIN);
        if (ok) assert_int_equal(ms, cases[i].ms);
        arena_fini(&a);
    }
    char text[32];
    feed_time_text(1783175886240LL, text);
    assert_string_equal(text, "2026-07-04T14:38:06.240Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),        cmocka_unit_test(test_compliance),
        cmocka_unit_test(test_v1),        cmocka_unit_test(test_bluesky),
        cmocka_unit_test(test_mastodon),  cmocka_unit_test(test_tables),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_own_form),  cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
