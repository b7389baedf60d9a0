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
    assert_ok(feed_store_verify(f->dir, false, &v, &f->e), f->e);
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
    c.post.edited_ms = 20;
    add(&f, c);
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    struct feed_change late = post(&f, 3, "an older text"); /* edits out of order */
    late.kind = FEED_UPDATE;
    late.post.edited_ms = 10;
    add(&f, late);
    assert_int_equal(count(&f, "older"), 0);
    assert_int_equal(count(&f, "changed"), 1);
    c.post.edited_ms = 0;
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

/* The same posts in the same order from the index and from a scan. */
static void compare(struct fixture *f, const char *query)
{
    struct feed_answer x = find(f, query, false), y = find(f, query, true);
    if (x.n_hits != y.n_hits || x.cut != y.cut)
        fail_msg("'%s': %zu and %zu posts", query, x.n_hits, y.n_hits);
    for (size_t k = 0; k < x.n_hits; k++) {
        struct feed_slice a = x.hits[k].post.id, b = y.hits[k].post.id;
        assert_true(a.n == b.n && memcmp(a.s, b.s, a.n) == 0);
        assert_true(x.hits[k].order == y.hits[k].order && x.hits[k].score == y.hits[k].score);
    }
}

/* Texts of few characters in any order, so that words, tags, apostrophes and addresses meet in every
 * way: a glance at them says what their terms do. */
static void test_glances(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "B", "_",  "'",  "#",        "http://", "://", " ",
                                         " ", ".", "@a", "$b", "\xc3\xa9", "7",       "'",   "#"};
    static const char *const queries[] = {
        "a",         "ab",      "b",     "a b",  "#a",     "#ab",       "\"a b\"",      "a -b",
        "\"b a a\"", "$b",      "@a",    "#a b", "é",      "a lang:en", "a -#b",        "a7",
        "\"a 7\"",   "a OR #b", "ba -a", "_a",   "url:ab", "\"#a b\"",  "aa from:user3"};
    struct fixture f;
    begin(&f, &(struct feed_write_options){.segment_posts = 900});
    for (int i = 0; i < 4000; i++) {
        struct str s = {0};
        for (uint64_t k = 1; k < 2 + rng_u64(5, (uint64_t)i, 0) % 14; k++)
            str_puts(&s, pieces[rng_u64(5, (uint64_t)i, k) % ARRAY_LEN(pieces)]);
        struct feed_change c = post(&f, i, s.data);
        if (i % 50 == 0) { /* longer than a word or a tag is kept */
            str_clear(&s);
            for (int k = 0; k < 60 + i / 50; k++)
                str_puts(&s, k % 9 == 8 && i % 100 ? "'" : "a");
            c = post(&f, i, arena_printf(&f.a, "#%s a#%s b", s.data, s.data));
        }
        c.post.likes = i % 13;
        add(&f, c);
        str_fini(&s);
    }
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        compare(&f, queries[i]);
    for (size_t n = 60; n < 140; n++) { /* words and tags cut at their bounds */
        char word[160] = "#";
        memset(word + 1, 'a', n);
        word[n + 1] = '\0';
        compare(&f, word);
        compare(&f, word + 1);
    }
    check(&f);
    finish(&f);
}

/* Of a word that all posts have and one that few have, the index is asked for the rare one alone;
 * what that names beside counts as no look. */
static void test_rare_and_common(void **state)
{
    (void)state;
    struct fixture f;
    feed_store_t *s;
    feed_query_t *q;
    struct feed_answer x;
    begin(&f, &(struct feed_write_options){.segment_posts = 1500});
    for (int i = 0; i < 5000; i++) {
        const char *text = i % 10 ? "alpha common words" : "nothing of it";
        if (i % 100 == 0) text = i > 2000 ? "rare" : i > 500 ? "rare alpha" : "an alpha rare";
        add(&f, post(&f, i, text));
    }
    compare(&f, "alpha rare");
    compare(&f, "\"alpha rare\"");
    compare(&f, "rare alpha min_faves:0 since_time:1783000001");
    compare(&f, "rare -alpha");
    assert_int_equal(count(&f, "alpha rare"), 21);
    assert_ok(feed_store_open(f.dir, &s, &f.e), f.e);
    assert_ok(feed_query_parse("\"alpha rare\"", &q, &f.e), f.e);
    const struct feed_search_options o = {.limit = 3, .depth = 10};
    assert_ok(feed_search(s, q, &o, &f.a, &x, &f.e), f.e);
    assert_contains(x.plan.data, "index: \"rare\"\n");
    assert_int_equal(x.matches, 5); /* behind 29 without alpha and 15 the other way round */
    assert_true(x.cut);
    str_fini(&x.plan);
    feed_query_free(q);
    feed_store_close(s);
    finish(&f);
}

static void compare_common(struct fixture *f)
{
    static const char *const queries[] = {"alpha beta",
                                          "beta alpha gamma",
                                          "\"alpha beta\"",
                                          "\"beta gamma\" alpha",
                                          "alpha beta min_faves:2",
                                          "alpha beta -gamma",
                                          "alpha beta lang:en",
                                          "alpha beta since_time:1783000001 until_time:1783000004",
                                          "beta alpha until_time:1783000002",
                                          "gamma alpha rare"};
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        compare(f, queries[i]);
}

/* Words that were counted when their segment was sealed; of the posts some are deleted, some edited,
 * and a vacuum counts anew. */
static void test_common(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t touched;
    begin(&f, &(struct feed_write_options){.segment_posts = 1500});
    for (int i = 0; i < 6000; i++) {
        struct feed_change c =
            post(&f, i,
                 arena_printf(&f.a, "%s%s%s%s", i % 2 ? "alpha " : "", i % 9 ? "beta " : "",
                              i % 10 ? "gamma alpha" : "", i % 501 ? "" : " rare"));
        c.post.likes = i % 11;
        add(&f, c);
    }
    check(&f); /* all that are full are sealed now */
    compare_common(&f);
    for (int i = 0; i < 6000; i += 4) {
        struct feed_change c = post(&f, i, "alpha beta edited");
        c.kind = i % 8 ? FEED_UPDATE : FEED_DELETE;
        if (i % 5) add(&f, c);
    }
    compare_common(&f);
    assert_ok(feed_writer_close(f.w, &f.e), f.e);
    assert_ok(feed_store_vacuum(f.dir, false, &touched, &f.e), f.e);
    assert_true(touched >= 4);
    assert_ok(feed_writer_open(f.dir, &(struct feed_write_options){0}, &f.w, &f.e), f.e);
    compare_common(&f);
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

/* A page belongs to its query and to how that was ranked. */
static void test_page_of_another(void **state)
{
    (void)state;
    static const char *const queries[] = {"alpha", "beta"};
    struct fixture f;
    feed_store_t *s;
    begin(&f, &(struct feed_write_options){0});
    fill_random(&f, 300);
    assert_ok(feed_writer_flush(f.w, &f.e), f.e);
    assert_ok(feed_store_open(f.dir, &s, &f.e), f.e);
    const struct feed_search_options first = {.limit = 3},
                                     others[] = {{.limit = 3, .newest = true},
                                                 {.limit = 3, .depth = 50},
                                                 {.limit = 3, .half_life_s = 60},
                                                 {.limit = 3, .now_ms = 1783000050000LL}};
    for (int newest = 0; newest < 2; newest++) {
        feed_query_t *q[2];
        struct feed_answer x, y;
        struct feed_search_options o = {.limit = 3, .newest = newest};
        for (int i = 0; i < 2; i++)
            assert_ok(feed_query_parse(queries[i], &q[i], &f.e), f.e);
        assert_ok(feed_search(s, q[0], &o, &f.a, &x, &f.e), f.e);
        assert_non_null(x.next);
        str_fini(&x.plan);
        o.page = x.next;
        o.limit = 5; /* a page may have another size */
        assert_ok(feed_search(s, q[0], &o, &f.a, &y, &f.e), f.e);
        str_fini(&y.plan);
        assert_int_equal(feed_search(s, q[1], &o, &f.a, &y, &f.e), ERROR_USAGE);
        assert_contains(f.e.text, "is no page of this search");
        str_fini(&y.plan);
        const char *const wrong[] = {"",
                                     "n",
                                     "r1.2.3",
                                     "n5.0.0",
                                     arena_printf(&f.a, "%s0", x.next),
                                     arena_printf(&f.a, " %s", x.next),
                                     arena_printf(&f.a, "%.*s", (int)strlen(x.next) - 1, x.next)};
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
            o.page = wrong[i];
            assert_int_equal(feed_search(s, q[0], &o, &f.a, &y, &f.e), ERROR_USAGE);
            str_fini(&y.plan);
        }
        for (size_t i = 0; i < ARRAY_LEN(others) && !newest; i++) {
            struct feed_search_options other = others[i];
            other.page = x.next;
            assert_int_equal(feed_search(s, q[0], &other, &f.a, &y, &f.e), ERROR_USAGE);
            str_fini(&y.plan);
        }
        for (int i = 0; i < 2; i++)
            feed_query_free(q[i]);
    }
    /* half-lives by the thousand: the score is nothing, its logarithm still orders */
    struct feed_search_options old = first;
    old.now_ms = 1783000100000LL + 4000LL * 3600000;
    old.half_life_s = 3600;
    feed_query_t *q;
    struct feed_answer x;
    assert_ok(feed_query_parse("alpha", &q, &f.e), f.e);
    assert_ok(feed_search(s, q, &old, &f.a, &x, &f.e), f.e);
    assert_true(x.hits[0].recency == 0 && x.hits[0].half_lives > 3999);
    assert_true(isfinite(x.hits[0].order) && x.hits[0].order > x.hits[1].order);
    str_fini(&x.plan);
    feed_query_free(q);
    feed_store_close(s);
    finish(&f);
}

/* ------------------------------------------------------------------ any order of changes */

#define IDS 300

/* What a store must hold, as the rules say it: feed.h, docs/feed.md. */
struct expected {
    bool there, gone;
    char *text;
    int64_t edited_ms, likes;
};
struct history {
    struct fixture *f;
    struct expected posts[IDS];
    bool user_gone[7];
    uint64_t seed, drawn;
};

static uint64_t draw(struct history *h, uint64_t n)
{
    return rng_u64(h->seed, h->drawn++, 77) % n;
}

static void expect_post(struct history *h, const struct feed_change *c, size_t id, size_t older)
{
    struct expected *x = &h->posts[id];
    bool update = c->kind == FEED_UPDATE;
    if (x->gone || h->user_gone[id % 7]) return;
    if (older < IDS) {
        h->posts[older].there = false;
        h->posts[older].gone = true;
    }
    if (x->there && !(update && c->post.edited_ms >= x->edited_ms)) {
        x->likes = MAX(x->likes, c->post.likes);
        return;
    }
    *x = (struct expected){.there = true,
                           .text = arena_strndup(&h->f->a, c->post.text.s, c->post.text.n),
                           .edited_ms = c->post.edited_ms,
                           .likes = c->post.likes};
}

static void change_post(struct history *h)
{
    size_t id = draw(h, IDS), older = IDS, kind = draw(h, 20);
    struct feed_change c = post(h->f, (int)id, random_text(h->f, draw(h, 100000)));
    c.post.likes = (int64_t)draw(h, 5);
    if (kind < 5) {
        c.kind = FEED_UPDATE;
        c.post.edited_ms = 1 + (int64_t)draw(h, 50);
    } else if (kind < 7 && (older = draw(h, IDS)) != id) {
        c.post.older = slice(h->f, arena_printf(&h->f->a, "%zu", older));
    } else {
        older = IDS;
    }
    add(h->f, c);
    expect_post(h, &c, id, older);
}

static void change_one(struct history *h)
{
    size_t what = draw(h, 100), id = draw(h, IDS);
    struct feed_change c = {.post = {.service = FEED_X}};
    if (what < 85) {
        change_post(h);
        return;
    }
    c.post.id = slice(h->f, arena_printf(&h->f->a, "%zu", id));
    if (what < 98) {
        c.kind = what < 92 ? FEED_DELETE : what < 94 ? FEED_WITHHELD : FEED_RESTORE;
        h->posts[id].gone = c.kind != FEED_RESTORE;
        h->posts[id].there &= !h->posts[id].gone;
    } else {
        c.kind = what < 99 ? FEED_USER_GONE : FEED_USER_BACK;
        c.post.author_id = slice(h->f, arena_printf(&h->f->a, "%zu", 1000 + id % 7));
        h->user_gone[id % 7] = c.kind == FEED_USER_GONE;
        for (size_t i = id % 7; i < IDS && h->user_gone[id % 7]; i += 7)
            h->posts[i].there = false;
    }
    add(h->f, c);
}

/* The store holds what is expected, post by post. */
static void compare_posts(struct history *h)
{
    struct feed_answer x = find(h->f, "lang:en", false);
    size_t n = 0;
    for (size_t i = 0; i < IDS; i++)
        n += h->posts[i].there;
    if (x.n_hits != n) fail_msg("seed %d: %zu posts, not %zu", (int)h->seed, x.n_hits, n);
    for (size_t i = 0; i < n; i++) {
        const struct feed_post *p = &x.hits[i].post;
        int64_t id;
        assert_int_equal(parse_int(p->id.s, &id), 0);
        const struct expected *y = &h->posts[id];
        assert_true(y->there && p->edited_ms == y->edited_ms && p->likes == y->likes);
        assert_true(p->text.n == strlen(y->text) && memcmp(p->text.s, y->text, p->text.n) == 0);
    }
}

static void random_atom(struct history *h, struct str *out)
{
    static const char *const atoms[] = {"alpha",      "beta",           "gamma",
                                        "delta",      "\"alpha beta\"", "#tag",
                                        "$AAPL",      "@someone",       "東京",
                                        "京",         "dont",           "ete",
                                        "ภาษา",       "from:user3",     "lang:en",
                                        "has:links",  "min_faves:3",    "\"京 alpha\"",
                                        "max_id:150", "is:edited",      "since_time:1783000000",
                                        "sample:40",  "url:example.org"};
    str_printf(out, "%s%s", draw(h, 4) == 0 ? "-" : "", atoms[draw(h, ARRAY_LEN(atoms))]);
}

/* Whatever a query names, the index finds what a scan of all posts finds, in the same order. */
static size_t compare_queries(struct history *h, size_t queries)
{
    size_t held = 0;
    for (size_t i = 0; i < queries; i++) {
        struct str text = {0};
        struct error e = {0};
        feed_query_t *q;
        size_t groups = 1 + draw(h, 3);
        for (size_t g = 0; g < groups; g++) {
            str_puts(&text, g ? draw(h, 2) ? " OR " : " " : "");
            bool brackets = draw(h, 2);
            if (brackets) str_puts(&text, draw(h, 4) ? "(" : "-(");
            for (size_t k = 0, n = 1 + draw(h, 3); k < n; k++) {
                str_puts(&text, k ? draw(h, 3) ? " " : " OR " : "");
                random_atom(h, &text);
            }
            if (brackets) str_puts(&text, ")");
        }
        if (feed_query_parse(text.data, &q, &e) >= 0) { /* others name nothing to look up */
            feed_query_free(q);
            struct feed_answer x = find(h->f, text.data, false), y = find(h->f, text.data, true);
            if (x.n_hits != y.n_hits)
                fail_msg("seed %d, '%s': %zu and %zu", (int)h->seed, text.data, x.n_hits, y.n_hits);
            for (size_t k = 0; k < x.n_hits; k++) {
                struct feed_slice a = x.hits[k].post.id, b = y.hits[k].post.id;
                assert_true(a.n == b.n && memcmp(a.s, b.s, a.n) == 0);
                assert_true(x.hits[k].order == y.hits[k].order);
            }
            held++;
        }
        str_fini(&text);
    }
    return held;
}

static void test_any_order(void **state)
{
    (void)state;
    size_t held = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct fixture f;
        struct history *h = mem_calloc(1, sizeof(*h));
        h->f = &f;
        h->seed = seed;
        begin(&f, &(struct feed_write_options){.segment_posts = 40 + 30 * (seed % 4),
                                               .batch_posts = seed % 2 ? 1000 : 7});
        for (int step = 0; step < 1500; step++) {
            change_one(h);
            size_t what = draw(h, 100);
            if (what < 4) assert_ok(feed_writer_flush(f.w, &f.e), f.e);
            if (what == 4) {
                compare_posts(h);
                held += compare_queries(h, 4);
            }
            if (what == 5 && draw(h, 3) == 0) check(&f);
            if (what == 6 && draw(h, 4) == 0) {
                uint64_t touched;
                assert_ok(feed_writer_close(f.w, &f.e), f.e);
                assert_ok(feed_store_vacuum(f.dir, draw(h, 2), &touched, &f.e), f.e);
                assert_ok(feed_writer_open(f.dir, &(struct feed_write_options){0}, &f.w, &f.e),
                          f.e);
            }
        }
        compare_posts(h);
        held += compare_queries(h, 30);
        check(&f);
        compare_posts(h);
        mem_free(h);
        finish(&f);
    }
    assert_true(held > 300);
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
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_edits_and_deletes),
        cmocka_unit_test(test_vacuum),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_scan_agrees),
        cmocka_unit_test(test_glances),
        cmocka_unit_test(test_rare_and_common),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_looks),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_page_of_another),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_query_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
