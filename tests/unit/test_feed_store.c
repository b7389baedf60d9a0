/* test_feed_store.c: what a store keeps and lets go, how it is found again, and that the index says
 * what a scan of all posts says. Posts are made up, from a seed. */
#include "feed/feed.h"
#include "test_cmocka.h"

struct fixture {
    struct arena a;
    char *dir;
    feed_writer_t *w;
    struct error e;
};

static void begin(struct fixture *f, const struct feed_write_options *o)
{
    memset(f, 0, sizeof(*f));
    f->dir = test_folder(&f->a);
    assert_ok(feed_writer_open(f->dir, o, &f->w, &f->e), f->e);
}

static void finish(struct fixture *f)
{
    assert_ok(feed_writer_close(f->w, &f->e), f->e);
    assert_ok(file_remove_tree(f->dir, &f->e), f->e);
    arena_fini(&f->a);
}

static struct feed_slice slice(struct fixture *f, const char *s)
{
    return (struct feed_slice){arena_strdup(&f->a, s), strlen(s)};
}

static struct feed_change post(struct fixture *f, int id, const char *text)
{
    struct feed_change c = {.kind = FEED_POST,
                            .post = {.service = FEED_X, .created_ms = 1783000000000LL + id}};
    c.post.id = slice(f, arena_printf(&f->a, "%d", id));
    c.post.text = slice(f, text);
    c.post.author = slice(f, arena_printf(&f->a, "user%d", id % 7));
    c.post.author_id = slice(f, arena_printf(&f->a, "%d", 1000 + id % 7));
    c.post.lang = slice(f, "en");
    return c;
}

static void add(struct fixture *f, struct feed_change c)
{
    assert_ok(feed_writer_add(f->w, &c, &f->e), f->e);
}

static struct feed_answer find(struct fixture *f, const char *query, bool scan)
{
    const struct feed_search_options o = {.limit = 10000, .now_ms = 1783000100000LL};
    struct feed_answer x;
    feed_store_t *s;
    feed_query_t *q;
    assert_ok(feed_writer_flush(f->w, &f->e), f->e);
    assert_ok(feed_store_open(f->dir, &s, &f->e), f->e);
    assert_ok(feed_query_parse(query, &q, &f->e), f->e);
    assert_ok((scan ? feed_search_scan : feed_search)(s, q, &o, &f->a, &x, &f->e), f->e);
    str_fini(&x.plan);
    feed_query_free(q);
    feed_store_close(s);
    return x;
}

static size_t count(struct fixture *f, const char *query)
{
    return find(f, query, false).n_hits;
}

/* The writer gives its turn away, the store is held against itself, and taken up again. */
static void check(struct fixture *f)
{
    const struct feed_write_options o = {0};
    struct feed_verify v;
    assert_ok(feed_writer_close(f->w, &f->e), f->e);
    assert_ok(feed_store_verify(f->dir, &v, &f->e), f->e);
    if (v.wrong) fail_msg("%s", v.report.data);
    assert_true(v.posts == 0 || v.terms > 0);
    str_fini(&v.report);
    assert_ok(feed_writer_open(f->dir, &o, &f->w, &f->e), f->e);
}

static void test_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, &(struct feed_write_options){0});
    add(&f, post(&f, 1, "red fox"));
    add(&f, post(&f, 1, "red fox"));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    struct feed_change liked = post(&f, 1, "red fox");
    liked.post.likes = 5;
    add(&f, liked);
    assert_int_equal(count(&f, "fox"), 1);
    assert_int_equal(count(&f, "fox min_faves:5"), 1); /* seen again, liked meanwhile */
    struct feed_write_counts c = feed_writer_counts(f.w);
    assert_int_equal(c.added, 1);
    assert_int_equal(c.duplicates, 2);
    assert_int_equal(feed_writer_done(f.w), 3);
    struct feed_change other = post(&f, 1, "red fox");
    other.post.service = FEED_MASTODON; /* the same id elsewhere is another post */
    add(&f, other);
    assert_int_equal(count(&f, "fox"), 2);
    check(&f);
    finish(&f);
}

static void test_edits_and_deletes(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, &(struct feed_write_options){.segment_posts = 10});
    for (int i = 1; i <= 35; i++)
        add(&f, post(&f, i, "common word"));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_int_equal(feed_writer_counts(f.w).segments, 4);
    struct feed_change c = post(&f, 3, "changed text");
    c.kind = FEED_UPDATE;
    add(&f, c);
    assert_int_equal(count(&f, "common"), 34);
    assert_int_equal(count(&f, "changed"), 1);
    c = post(&f, 100, "version two"); /* of X: an edit has an id of its own */
    c.post.older = slice(&f, "4 5");
    add(&f, c);
    assert_int_equal(count(&f, "common"), 32);
    add(&f, post(&f, 4, "common word")); /* the older version comes late, and is not wanted */
    assert_int_equal(count(&f, "common"), 32);
    c.kind = FEED_DELETE;
    c.post = (struct feed_post){.service = FEED_X, .id = slice(&f, "6")};
    add(&f, c);
    c.post.id = slice(&f, "999");
    add(&f, c);
    add(&f, post(&f, 999, "common late")); /* deleted before it came */
    assert_int_equal(count(&f, "common"), 31);
    c.kind = FEED_RESTORE;
    add(&f, c);
    add(&f, post(&f, 999, "common late"));
    assert_int_equal(count(&f, "late"), 1);
    c.kind = FEED_USER_GONE; /* ids 1, 8, 15, 22, 29 */
    c.post = (struct feed_post){.service = FEED_X, .author_id = slice(&f, "1001")};
    add(&f, c);
    assert_int_equal(count(&f, "from:user1"), 0);
    add(&f, post(&f, 36, "common word")); /* of that author */
    assert_int_equal(count(&f, "common"), 27);
    assert_int_equal(feed_writer_counts(f.w).refused, 3);
    check(&f);
    finish(&f);
}

static bool folder_has(struct fixture *f, const char *word)
{
    char **names;
    size_t n;
    bool found = false;
    assert_ok(file_list_dir(f->dir, &f->a, &names, &n, &f->e), f->e);
    for (size_t i = 0; i < n; i++) {
        char *data;
        size_t size;
        assert_ok(file_read(file_join(&f->a, f->dir, names[i]), 1 << 28, &data, &size, &f->e),
                  f->e);
        found |= memmem(data, size, word, strlen(word)) != NULL;
        mem_free(data);
    }
    return found;
}

static void test_vacuum(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t touched;
    begin(&f, &(struct feed_write_options){.segment_posts = 1000});
    for (int i = 0; i < 3000; i++)
        add(&f, post(&f, i, i % 3 ? "stays here" : arena_printf(&f.a, "Secretword%d vanishes", i)));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_true(folder_has(&f, "ecretword"));
    for (int i = 0; i < 3000; i += 3) {
        struct feed_change c = post(&f, i, "");
        c.kind = FEED_DELETE;
        add(&f, c);
    }
    assert_int_equal(count(&f, "vanishes"), 0);
    assert_int_equal(count(&f, "stays"), 2000);
    assert_ok(feed_writer_close(f.w, &f.e), f.e);
    assert_ok(feed_store_vacuum(f.dir, false, &touched, &f.e), f.e);
    assert_int_equal(touched, 3);
    assert_false(folder_has(&f, "ecretword"));
    assert_ok(feed_store_vacuum(f.dir, false, &touched, &f.e), f.e);
    assert_int_equal(touched, 0);
    assert_ok(feed_writer_open(f.dir, &(struct feed_write_options){0}, &f.w, &f.e), f.e);
    check(&f);
    finish(&f);
}

static void test_retention(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, &(struct feed_write_options){.segment_posts = 10, .keep_s = 3600});
    int64_t now = feed_now_ms();
    for (int i = 0; i < 30; i++) {
        struct feed_change c = post(&f, i, "kept or not");
        c.post.created_ms = i < 5 ? now - 7200000 : now - 1000;
        add(&f, c);
    }
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_int_equal(feed_writer_counts(f.w).expired, 5);
    assert_int_equal(count(&f, "kept"), 25);
    assert_ok(feed_writer_close(f.w, &f.e), f.e); /* by size: the oldest sealed segments go */
    assert_ok(feed_writer_open(f.dir, &(struct feed_write_options){.keep_bytes = 1}, &f.w, &f.e),
              f.e);
    uint64_t touched;
    assert_ok(feed_writer_close(f.w, &f.e), f.e);
    assert_ok(feed_store_vacuum(f.dir, false, &touched, &f.e), f.e);
    assert_ok(feed_writer_open(f.dir, &(struct feed_write_options){0}, &f.w, &f.e), f.e);
    assert_int_equal(count(&f, "kept"), 5); /* of the open one */
    finish(&f);
}

/* Texts of a small vocabulary, so that every kind of query finds some. */
static char *random_text(struct fixture *f, uint64_t i)
{
    static const char *const words[] = {
        "alpha",  "beta", "gamma", "delta", "#tag", "$AAPL",   "@someone",
        "東京都", "大阪", "京",    "don't", "Été",  "ภาษาไทย", "https://news.example.org/a"};
    struct str s = {0};
    size_t n = 1 + (size_t)(rng_u64(1, i, 0) % 8);
    for (size_t k = 1; k <= n; k++)
        str_printf(&s, "%s%s", k > 1 ? " " : "", words[rng_u64(1, i, k) % ARRAY_LEN(words)]);
    char *text = arena_strdup(&f->a, s.data);
    str_fini(&s);
    return text;
}

static void fill_random(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++) {
        struct feed_change c = post(f, i, random_text(f, (uint64_t)i));
        c.post.created_ms = 1783000000000LL + (int64_t)(rng_u64(2, (uint64_t)i, 0) % 100000);
        c.post.likes = (int64_t)(rng_u64(3, (uint64_t)i, 0) % 20);
        c.post.followers = i % 100;
        if (i % 4 == 0) c.post.flags = FEED_REPOST;
        if (i % 5 == 0) c.post.lang = slice(f, "ja");
        add(f, c);
    }
}

static void test_scan_agrees(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "alpha",
        "alpha beta",
        "\"alpha beta\"",
        "alpha -beta",
        "alpha -\"beta gamma\"",
        "(alpha OR beta) gamma",
        "alpha OR (beta -gamma)",
        "#tag -is:retweet",
        "$aapl lang:ja",
        "@SOMEONE min_faves:10",
        "from:user3 delta",
        "東京",
        "京",
        "東京都 -大阪",
        "ภาษา",
        "dont",
        "ete",
        "url:example.org",
        "url:news.example.org/a alpha",
        "alpha since_time:1783000040 until:2026-07-02T13:47:30Z",
        "beta min_followers:50 sample:30",
        "gamma -(alpha OR delta)",
        "has:links -has:cashtags",
        "\"京 alpha\"",
        "alpha -min_faves:3 max_id:1500",
    };
    struct fixture f;
    begin(&f, &(struct feed_write_options){.segment_posts = 700, .batch_posts = 97});
    fill_random(&f, 3000);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct feed_answer x = find(&f, queries[i], false), y = find(&f, queries[i], true);
        if (x.n_hits == 0) fail_msg("'%s' finds nothing", queries[i]);
        if (x.n_hits != y.n_hits || x.cut != y.cut)
            fail_msg("'%s': %zu and %zu posts", queries[i], x.n_hits, y.n_hits);
        for (size_t k = 0; k < x.n_hits; k++) {
            assert_int_equal(x.hits[k].post.id.n, y.hits[k].post.id.n);
            assert_memory_equal(x.hits[k].post.id.s, y.hits[k].post.id.s, y.hits[k].post.id.n);
            assert_true(x.hits[k].score == y.hits[k].score);
        }
    }
    check(&f);
    finish(&f);
}

static void test_pages(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, &(struct feed_write_options){.segment_posts = 300});
    fill_random(&f, 1000);
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    for (int newest = 0; newest < 2; newest++) {
        struct feed_search_options o = {.limit = 37, .newest = newest};
        size_t total = 0, whole = count(&f, "alpha");
        feed_store_t *s;
        feed_query_t *q;
        bool seen[5000] = {false};
        assert_ok(feed_store_open(f.dir, &s, &f.e), f.e);
        assert_ok(feed_query_parse("alpha", &q, &f.e), f.e);
        for (int page = 0;; page++) {
            struct feed_answer x;
            assert_ok(feed_search(s, q, &o, &f.a, &x, &f.e), f.e);
            str_fini(&x.plan);
            for (size_t i = 0; i < x.n_hits; i++) {
                int64_t id;
                assert_int_equal(parse_int(x.hits[i].post.id.s, &id), 0);
                assert_false(seen[id]);
                seen[id] = true;
            }
            total += x.n_hits;
            /* what comes meanwhile does not move the pages */
            struct feed_change c = post(&f, 4000 + 100 * newest + page, "alpha");
            c.post.created_ms = 1783000200000LL + page;
            add(&f, c);
            assert_ok(feed_writer_flush(f.w, &f.e), f.e);
            if (!x.next) break;
            o.page = x.next;
            assert_true(page < 100);
        }
        assert_int_equal(total, whole);
        feed_query_free(q);
        feed_store_close(s);
    }
    finish(&f);
}

/* Posts that have a phrase's words and not the phrase bound the time of a search; by time, pages go
 * on behind them. */
static void test_looks(void **state)
{
    (void)state;
    struct fixture f;
    feed_store_t *s;
    feed_query_t *q;
    struct feed_answer x;
    size_t total = 0;
    begin(&f, &(struct feed_write_options){0});
    for (int i = 0; i < 205; i++)
        add(&f, post(&f, i, i < 5 ? "alpha beta" : "beta alpha"));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_ok(feed_store_open(f.dir, &s, &f.e), f.e);
    assert_ok(feed_query_parse("\"alpha beta\"", &q, &f.e), f.e);
    struct feed_search_options o = {.limit = 3, .depth = 10};
    assert_ok(feed_search(s, q, &o, &f.a, &x, &f.e), f.e);
    str_fini(&x.plan);
    assert_int_equal(x.n_hits, 0);
    assert_true(x.cut);
    o.newest = true;
    for (int page = 0; page < 20; page++) {
        assert_ok(feed_search(s, q, &o, &f.a, &x, &f.e), f.e);
        str_fini(&x.plan);
        total += x.n_hits;
        if (!x.next) break;
        o.page = x.next;
    }
    assert_int_equal(total, 5);
    feed_query_free(q);
    feed_store_close(s);
    finish(&f);
}

static void test_tail(void **state)
{
    (void)state;
    struct fixture f;
    feed_store_t *s;
    feed_tail_t *t;
    struct feed_post *posts;
    size_t n;
    begin(&f, &(struct feed_write_options){.segment_posts = 10});
    for (int i = 0; i < 15; i++)
        add(&f, post(&f, i, "before"));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_ok(feed_store_open(f.dir, &s, &f.e), f.e);
    assert_ok(feed_tail_new(s, &t, &f.e), f.e);
    assert_ok(feed_tail_next(t, &f.a, &posts, &n, &f.e), f.e);
    assert_int_equal(n, 0);
    struct feed_change late = post(&f, 500, "late");
    late.post.created_ms = 1783000000000LL - 60000; /* a minute out of order */
    add(&f, late);
    for (int i = 15; i < 40; i++)
        add(&f, post(&f, i, "after"));
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    size_t total = 0;
    for (int i = 0; i < 10; i++) {
        assert_ok(feed_tail_next(t, &f.a, &posts, &n, &f.e), f.e);
        total += n;
    }
    assert_int_equal(total, 26);
    feed_tail_free(t);
    feed_store_close(s);
    finish(&f);
}

static void test_query_errors(void **state)
{
    (void)state;
    static const struct {
        const char *query, *error, *hint;
    } cases[] = {
        {"", "nothing is asked", ""},
        {"place:here x", "byte 1: 'place:' is an operator of X's", "not kept"},
        {"a fom:x", "byte 3: 'fom:' is no operator", "'from:'"},
        {"has:link", "does not know 'link'", "did you mean 'links'?"},
        {"\"a b\"~2", "near to each other", ""},
        {"a*bc*", "beginnings of words", "OR"},
        {"(a", "a bracket that is not closed", ""},
        {"a)", "a bracket that was not opened", ""},
        {"a OR", "nothing is asked", ""},
        {"-a", "names nothing to look up", ""},
        {"a OR min_faves:2", "names nothing to look up", ""},
        {"a since:soon", "takes a time", "since:2026-07-04"},
        {"a min_faves:many", "takes a whole number", "min_faves:10"},
        {"a from:", "is given nothing", "behind the colon"},
        {"!!!", "there is no word in '!!!'", ""},
        {"a - b", "'-' stands before nothing", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error e = {0};
        feed_query_t *q;
        if (feed_query_parse(cases[i].query, &q, &e) >= 0)
            fail_msg("'%s' is taken", cases[i].query);
        assert_int_equal(e.code, ERROR_USAGE);
        assert_contains(e.text, cases[i].error);
        assert_contains(e.hint, cases[i].hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),         cmocka_unit_test(test_edits_and_deletes),
        cmocka_unit_test(test_vacuum),       cmocka_unit_test(test_retention),
        cmocka_unit_test(test_scan_agrees),  cmocka_unit_test(test_pages),
        cmocka_unit_test(test_looks),        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_query_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
