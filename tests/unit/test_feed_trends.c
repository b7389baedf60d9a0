/* test_feed_trends.c: copies are one voice, what is always said is no story, deleted posts do not
 * count. Posts are made up. */
#include "feed/feed.h"
#include "feed/trends/feed_trends_internal.h"
#include "test_cmocka.h"

static struct feed_signature sign(const char *text)
{
    struct feed_terms t = {0};
    struct feed_signature s;
    feed_terms_of_text(&t, text, strlen(text));
    feed_signature_of(&t, &s);
    feed_terms_fini(&t);
    return s;
}

static void test_likeness(void **state)
{
    (void)state;
    static const char base[] =
        "the old mill by the river burnt down this night and nobody was hurt "
        "says the mayor of the town in a short note";
    static const char near_[] = "RT the old mill by the river burnt down this night and nobody was "
                                "hurt says the mayor of the town in a short note!!";
    static const char other[] =
        "a new bridge over the valley opens next week with a fair and music";
    struct feed_signature a = sign(base), b = sign(near_), c = sign(other);
    assert_true(feed_signature_likeness(&a, &a) == 1);
    assert_true(feed_signature_likeness(&a, &b) > 0.6);
    assert_true(feed_signature_likeness(&a, &c) < 0.2);
    struct feed_signature one = sign("hello"), same = sign("Hello!"), two = sign("goodbye");
    assert_true(feed_signature_likeness(&one, &same) == 1);
    assert_true(feed_signature_likeness(&one, &two) < 0.5);
}

static void test_folding(void **state)
{
    (void)state;
    struct feed_voice v[6] = {
        {.author = 1,
         .key = 11,
         .seq = 5,
         .signature = sign("the very same words of a campaign here")},
        {.author = 2,
         .key = 12,
         .seq = 3,
         .signature = sign("the very same words of a campaign here")},
        {.author = 3,
         .key = 13,
         .seq = 9,
         .signature = sign("something that I saw with my own eyes")},
        {.author = 4, .key = 14, .seq = 8, .original = 13, .signature = sign("RT something I saw")},
        {.author = 5,
         .key = 15,
         .seq = 7,
         .signature = sign("quite another report from the square")},
        {.author = 5,
         .key = 16,
         .seq = 6,
         .signature = sign("and a second one by that author there")},
    };
    size_t authors;
    assert_int_equal(feed_fold_voices(v, 6, &authors), 4);
    assert_int_equal(authors, 4 - 1); /* the author of two, and who passed it on first leads it */
    assert_int_equal(v[0].key, 12);   /* sorted by time: the earliest copy leads */
    assert_true(v[0].leads);
}

struct fixture {
    struct arena a;
    char *dir;
    feed_writer_t *w;
    struct error e;
    int n;
};

#define HOUR 3600000LL
static const int64_t now_ms = 1783000000000LL;

static void add(struct fixture *f, int64_t at, int author, const char *text)
{
    struct feed_change c = {.kind = FEED_POST, .post = {.service = FEED_X, .created_ms = at}};
    char *id = arena_printf(&f->a, "%d", f->n++), *who = arena_printf(&f->a, "a%d", author);
    c.post.id = (struct feed_slice){id, strlen(id)};
    c.post.author_id = (struct feed_slice){who, strlen(who)};
    char *copy = arena_strdup(&f->a, text);
    c.post.text = (struct feed_slice){copy, strlen(copy)};
    assert_ok(feed_writer_add(f->w, &c, &f->e), f->e);
}

static struct feed_trends trends(struct fixture *f)
{
    const struct feed_trend_options o = {.now_ms = now_ms, .min_authors = 3};
    struct feed_trends x;
    feed_store_t *s;
    assert_ok(feed_writer_flush(f->w, &f->e), f->e);
    assert_ok(feed_store_open(f->dir, &s, &f->e), f->e);
    assert_ok(feed_trends(s, &o, &f->a, &x, &f->e), f->e);
    feed_store_close(s);
    return x;
}

static const struct feed_trend *find(const struct feed_trends *x, const char *term)
{
    for (size_t i = 0; i < x->n; i++)
        if (strcmp(x->trends[i].term, term) == 0) return &x->trends[i];
    return NULL;
}

static void test_stories(void **state)
{
    (void)state;
    struct fixture f = {.dir = NULL};
    f.dir = test_folder(&f.a);
    assert_ok(
        feed_writer_open(f.dir, &(struct feed_write_options){.segment_posts = 500}, &f.w, &f.e),
        f.e);
    for (int h = 0; h < 25; h++) /* #daily is said by twenty in every hour, this one included */
        for (int k = 0; k < 20; k++)
            add(&f, now_ms - h * HOUR - HOUR / 2, 100 + k,
                arena_printf(&f.a, "#daily %d x%d y%d", k, h, k));
    for (int k = 0; k < 12; k++) /* twelve authors, each in words of their own */
        add(&f, now_ms - 1000 * (60 - k), k,
            arena_printf(&f.a, "w%d #quake v%d u%d felt t%d", k, k * 7, k * 5, k * 3));
    for (int k = 0; k < 40; k++) /* forty that spread one text */
        add(&f, now_ms - 1000 * (300 - k), 200 + k,
            "buy #scamcoin now before it is too late friends");
    struct feed_trends x = trends(&f);
    const struct feed_trend *quake = find(&x, "#quake"), *scam = find(&x, "#scamcoin");
    assert_non_null(quake);
    assert_int_equal(quake->voices, 12);
    assert_int_equal(quake->copies, 0);
    assert_true(quake == &x.trends[0]);
    assert_int_equal(quake->first_ms, now_ms - 60000);
    assert_int_equal(quake->spread[FEED_SPREAD - 1], 12);
    assert_null(find(&x, "#daily"));
    assert_non_null(scam);
    assert_int_equal(scam->voices, 1);
    assert_int_equal(scam->copies, 39);
    assert_true(scam->score < quake->score);
    for (int k = 0; k < 11; k++) { /* deleted posts do not count a moment later */
        char *id = arena_printf(&f.a, "%d", 25 * 20 + k);
        struct feed_change c = {.kind = FEED_DELETE,
                                .post = {.service = FEED_X, .id = {id, strlen(id)}}};
        assert_ok(feed_writer_add(f.w, &c, &f.e), f.e);
    }
    x = trends(&f);
    assert_null(find(&x, "#quake"));
    assert_ok(feed_writer_close(f.w, &f.e), f.e);
    assert_ok(file_remove_tree(f.dir, &f.e), f.e);
    arena_fini(&f.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likeness),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_stories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
