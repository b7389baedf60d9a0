/* test_feed_signals.c: when New York opens, that no feature looks ahead and that the guard would notice,
 * that an edge is found where one is planted and none where there is none, and campaigns of three
 * strengths among posts that only look like some. */
#include "feed/signals/feed_signals_internal.h"
#include "test_cmocka.h"

static void test_new_york(void **state)
{
    (void)state;
    static const struct {
        const char *date, *utc; /* NULL: no day */
    } cases[] = {{"2014-01-02", "2014-01-02T14:30:00.000Z"},
                 {"2014-07-01", "2014-07-01T13:30:00.000Z"},
                 {"2014-03-07", "2014-03-07T14:30:00.000Z"},
                 {"2014-03-10", "2014-03-10T13:30:00.000Z"},
                 {"2014-10-31", "2014-10-31T13:30:00.000Z"},
                 {"2014-11-03", "2014-11-03T14:30:00.000Z"},
                 {"2006-03-31", "2006-03-31T14:30:00.000Z"},
                 {"2006-04-03", "2006-04-03T13:30:00.000Z"},
                 {"2006-10-27", "2006-10-27T13:30:00.000Z"},
                 {"2006-10-30", "2006-10-30T14:30:00.000Z"},
                 {"2026-12-31", "2026-12-31T14:30:00.000Z"},
                 {"2014-02-30", NULL},
                 {"2014-13-01", NULL},
                 {"2014-1-2", NULL},
                 {"yesterday", NULL},
                 {"2014-01-02x", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms;
        char text[32];
        bool good = feed_new_york_open(cases[i].date, &ms);
        if (good != (cases[i].utc != NULL)) fail_msg("%s", cases[i].date);
        if (!good) continue;
        feed_time_text(ms, text);
        assert_string_equal(text, cases[i].utc);
    }
}

static void test_polarity(void **state)
{
    (void)state;
    struct feed_lexicon x;
    struct feed_terms scratch = {0};
    struct error e = {0};
    assert_ok(feed_lexicon_read(&x, &e), e);
    static const struct {
        const char *text;
        int sign;
    } cases[] = {{"what a great day", 1},     {"this is horrible", -1}, {"not great at all", -1},
                 {"never a horrible", 1},     {"the table", 0},         {"", 0},
                 {"great. horrible. bad", -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct feed_slice s = {(char *)(uintptr_t)cases[i].text, strlen(cases[i].text)};
        double v = feed_polarity(&x, &scratch, s);
        if ((v > 0) - (v < 0) != cases[i].sign) fail_msg("'%s': %g", cases[i].text, v);
        assert_true(v >= -1 && v <= 1);
    }
    feed_terms_fini(&scratch);
    feed_lexicon_fini(&x);
}

/* ------------------------------------------------------------------ features */

#define DAYS 60
#define PER  40 /* posts a day */

static void make_days(struct feed_day *days, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        days[i] = (struct feed_day){.cut_ms = 1400000000000LL + (int64_t)i * 86400000};
        days[i].open = 100;
        days[i].close = 100 + rng_normal(5, i, 0);
        days[i].target = days[i].close / days[i].open - 1;
    }
}

static void make_said(struct feed_said *said, const struct feed_day *days)
{
    for (size_t i = 0; i < DAYS * PER; i++) {
        struct feed_said *s = &said[i];
        double t = (double)i / (DAYS * PER); /* now more, now fewer */
        t += 0.03 * sin(20 * t);
        *s = (struct feed_said){.ms = days[0].cut_ms + (int64_t)(t * DAYS * 86400000),
                                .author = rng_u64(1, i, 0) % 50,
                                .key = i + 1,
                                .polarity = rng_uniform(2, i, 0) - 0.5};
        bool burst = i / PER % 3 == 0 && i % PER < 8; /* of one text; else of two hundred */
        uint64_t text = burst ? 1000 + i / PER : rng_u64(3, i, 0) % 200;
        for (size_t k = 0; k < FEED_MINHASHES; k++)
            s->signature.mins[k] = (uint32_t)rng_u64(4, text, k);
    }
}

static void test_guard(void **state)
{
    (void)state;
    struct feed_day days[DAYS], leaky[DAYS];
    struct feed_said *said = mem_calloc(DAYS * PER, sizeof(*said));
    make_days(days, DAYS);
    make_said(said, days);
    feed_features_fill(said, DAYS * PER, days, 0, DAYS);
    for (size_t f = 0; f < FEED_N_SIGNALS; f++) { /* they say something */
        bool differs = false;
        for (size_t d = 25; d + 1 < DAYS; d++)
            differs |= days[d].x[f] != days[d + 1].x[f];
        if (!differs) fail_msg("%s is the same every day", feed_signal_names[f]);
    }
    size_t posts = 0;
    for (size_t i = 0; i < DAYS * PER; i++)
        posts += said[i].ms >= days[29].cut_ms && said[i].ms < days[30].cut_ms;
    assert_int_equal(days[30].posts, posts);
    assert_int_equal(feed_features_guard(said, DAYS * PER, days, DAYS, 1), 0);
    /* the same features with an hour of the future in them */
    memcpy(leaky, days, sizeof(days));
    for (size_t d = 0; d < DAYS; d++)
        leaky[d].cut_ms += 3600000;
    feed_features_fill(said, DAYS * PER, leaky, 0, DAYS);
    for (size_t d = 0; d < DAYS; d++)
        leaky[d].cut_ms -= 3600000;
    assert_true(feed_features_guard(said, DAYS * PER, leaky, DAYS, 1) > DAYS / 2);
    memcpy(leaky, days, sizeof(days)); /* and with the day's own price */
    for (size_t d = 0; d < DAYS; d++)
        leaky[d].x[FEED_SIGNAL_SENTIMENT] += leaky[d].target;
    assert_true(feed_features_guard(said, DAYS * PER, leaky, DAYS, 1) > DAYS / 2);
    mem_free(said);
}

/* ------------------------------------------------------------------ tests of an edge */

static struct feed_signal_result walk_made(uint64_t seed, double edge, size_t n)
{
    struct feed_day *days = mem_calloc(n, sizeof(*days));
    struct feed_signal_result r = {0};
    const struct feed_signal_options o = {.n_symbols = 1, .cost_bp = 5, .draws = 400, .seed = 9};
    for (size_t i = 0; i < n; i++) {
        days[i].posts = 1;
        for (size_t f = 0; f < FEED_N_SIGNALS; f++)
            days[i].x[f] = rng_normal(seed, i, f);
        days[i].target =
            0.01 * (edge * days[i].x[FEED_SIGNAL_SENTIMENT] + rng_normal(seed, i, 100));
    }
    feed_walk(days, n, &o, &r);
    for (size_t f = 0; f < FEED_N_SIGNALS; f++)
        r.rho[f] = feed_rank_correlation(days, n, f, &r.p[f], &r.ranked);
    mem_free(days);
    return r;
}

static void test_edge(void **state)
{
    (void)state;
    size_t found = 0, false_ones = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct feed_signal_result with = walk_made(seed, 0.5, 500),
                                  without = walk_made(seed + 100, 0, 500);
        found += with.edge;
        false_ones += without.edge;
        assert_int_equal(with.tested, 380);
        assert_int_equal(with.ranked, 500);
        assert_true(with.rho[FEED_SIGNAL_SENTIMENT] > 0.3);
        assert_true(with.p[FEED_SIGNAL_SENTIMENT] < 1e-6);
        const struct feed_interval *h = &without.strategies[0].hit_rate;
        assert_true(h->low < h->mean && h->mean < h->high && h->high < 0.65);
        assert_true(with.strategies[0].net_bp.mean > with.strategies[1].net_bp.mean);
    }
    assert_true(found >= 18);
    assert_true(false_ones <= 1);
    struct feed_signal_result few = walk_made(1, 0.5, 100); /* none is tested */
    assert_true(!few.edge && few.tested == 0 && isnan(few.strategies[0].net_bp.low));
}

/* Posts on every other day, and prices that turn daily: yesterday is the day of trading before, not
 * the last one that had posts. A feature that never changes ranks with nothing. */
static void test_gaps(void **state)
{
    (void)state;
    enum { N = 800 };
    struct feed_day *days = mem_calloc(N, sizeof(*days));
    struct feed_signal_result r = {0};
    const struct feed_signal_options o = {.n_symbols = 1, .draws = 400, .seed = 9};
    for (size_t i = 0; i < N; i++) {
        days[i].posts = i % 2;
        for (size_t f = 0; f < FEED_N_SIGNALS; f++)
            days[i].x[f] = f == FEED_SIGNAL_CAMPAIGN ? 0 : rng_normal(1, i, f);
        days[i].target = (i % 2 ? 0.01 : -0.01) * (1 + rng_uniform(1, i, 50));
    }
    feed_walk(days, N, &o, &r);
    assert_int_equal(r.tested, N / 2 - 120);
    assert_true(r.strategies[3].hit_rate.mean == 0 && r.strategies[4].hit_rate.mean == 1);
    double p;
    size_t used;
    for (size_t n = 700; n < N; n++) {
        assert_true(feed_rank_correlation(days, n, FEED_SIGNAL_CAMPAIGN, &p, &used) == 0);
        assert_true(p == 1 && used == n / 2);
    }
    mem_free(days);
}

static void test_holm(void **state)
{
    (void)state;
    double p[] = {0.01, 0.04, 0.03, 0.005};
    const double wanted[] = {0.03, 0.06, 0.06, 0.02};
    feed_holm(p, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs(p[i] - wanted[i]) < 1e-12);
}

/* ------------------------------------------------------------------ campaigns */

#define EPOCH_MS 1400000000000LL
#define HOUR_MS  3600000LL

struct world {
    struct arena a;
    char *dir;
    feed_writer_t *w;
    struct error e;
    uint64_t drawn;
    int id;
};

static uint64_t draw(struct world *x, uint64_t n)
{
    return rng_u64(11, x->drawn++, 0) % n;
}

static struct feed_slice slice(struct world *x, const char *s)
{
    return (struct feed_slice){arena_strdup(&x->a, s), strlen(s)};
}

static void say(struct world *x, int64_t ms, const char *author, const char *text, bool repost)
{
    struct feed_change c = {.kind = FEED_POST, .post = {.service = FEED_X, .created_ms = ms}};
    c.post.id = slice(x, arena_printf(&x->a, "%d", ++x->id));
    c.post.author = c.post.author_id = slice(x, author);
    c.post.text = slice(x, text);
    if (repost) c.post.flags = FEED_REPOST;
    assert_ok(feed_writer_add(x->w, &c, &x->e), x->e);
}

/* Words of a vocabulary in which some are common, as in talk. */
static char *words(struct world *x, size_t n)
{
    struct str s = {0};
    for (size_t i = 0; i < n; i++) {
        uint64_t k = draw(x, 3) ? draw(x, 600) : draw(x, 30);
        str_printf(&s, "%sw%c%c%c", i ? " " : "", (char)('a' + k % 26), (char)('a' + k / 26 % 26),
                   "ok"[k % 2]);
    }
    char *text = arena_strdup(&x->a, s.data);
    str_fini(&s);
    return text;
}

/* The text with so many of its words exchanged. */
static char *vary(struct world *x, const char *text, size_t changes)
{
    char *copy = arena_strdup(&x->a, text);
    for (size_t i = 0; i < changes; i++) {
        size_t n = strlen(copy), at = draw(x, n);
        while (at > 0 && copy[at - 1] != ' ')
            at--;
        for (size_t k = at; copy[k] && copy[k] != ' '; k++)
            copy[k] = (char)('a' + draw(x, 26));
    }
    return copy;
}

static char *old_author(struct world *x)
{
    return arena_printf(&x->a, "old%d", (int)draw(x, 300));
}

static void background(struct world *x)
{
    for (int i = 0; i < 9000; i++) { /* sixty days; one in ten of an author who never came before */
        char *author = draw(x, 10) ? old_author(x) : arena_printf(&x->a, "guest%d", i);
        char *text =
            arena_printf(&x->a, "$T%c %s", (char)('A' + draw(x, 5)), words(x, 8 + draw(x, 8)));
        say(x, EPOCH_MS + (int64_t)i * 60 * 24 * HOUR_MS / 9000, author, text, false);
    }
    for (int i = 0; i < 60; i++) { /* a headline that three to nine old accounts share */
        int64_t at = EPOCH_MS + (20 + (int64_t)draw(x, 38)) * 24 * HOUR_MS;
        char *text = arena_printf(&x->a, "$TA %s", words(x, 12));
        for (size_t k = 0, n = 3 + draw(x, 7); k < n; k++)
            say(x, at + (int64_t)draw(x, 2 * HOUR_MS), old_author(x),
                arena_printf(&x->a, "%s %d", text, (int)draw(x, 99)), false);
    }
    for (int i = 0; i < 20; i++) { /* what many pass on, and say so */
        int64_t at = EPOCH_MS + (20 + (int64_t)draw(x, 38)) * 24 * HOUR_MS;
        char *text = words(x, 12);
        for (int k = 0; k < 30; k++)
            say(x, at + (int64_t)draw(x, HOUR_MS), arena_printf(&x->a, "fan%d_%d", i, k),
                k % 2 ? text : arena_printf(&x->a, "RT @old1: %s", text), k % 2);
    }
    for (int i = 0; i < 300; i++) { /* machines of old accounts that post one form every day */
        int64_t at = EPOCH_MS + (int64_t)i * 60 * 24 * HOUR_MS / 300;
        say(x, at, arena_printf(&x->a, "old%d", i % 4),
            arena_printf(&x->a, "$TB wadok price alert wabok now at %d wacok volume wafok high %d",
                         (int)draw(x, 500), (int)draw(x, 500)),
            false);
    }
}

struct strength {
    const char *name;
    size_t accounts, old, changes, cashtags;
    int64_t span_ms;
};
static const struct strength strengths[] = {{"strong", 40, 0, 0, 3, 10 * 60000},
                                            {"medium", 15, 3, 1, 1, 30 * 60000},
                                            {"weak", 7, 2, 2, 1, 100 * 60000}};

static void plant(struct world *x, const struct strength *s, int number)
{
    int64_t at =
        EPOCH_MS + (20 + (int64_t)draw(x, 38)) * 24 * HOUR_MS + (int64_t)draw(x, 20) * HOUR_MS;
    char *text =
        arena_printf(&x->a, "%s%s", s->cashtags > 1 ? "$TC $TD $TE " : "$TC ", words(x, 15));
    for (size_t k = 0; k < s->accounts; k++) {
        char *author =
            k < s->old ? old_author(x) : arena_printf(&x->a, "camp%c%d_%zu", s->name[0], number, k);
        say(x, at + (int64_t)draw(x, (uint64_t)s->span_ms), author,
            arena_printf(&x->a, "%s %zu", vary(x, text, s->changes), k), false);
    }
}

static void test_campaigns(void **state)
{
    (void)state;
    const int each = 12;
    struct world x = {0};
    struct feed_alerts out;
    feed_store_t *s;
    bool found[3][12] = {{false}};
    size_t right = 0, caught = 0;
    x.dir = test_folder(&x.a);
    assert_ok(
        feed_writer_open(x.dir, &(struct feed_write_options){.segment_posts = 4000}, &x.w, &x.e),
        x.e);
    background(&x);
    for (int i = 0; i < each; i++)
        for (size_t k = 0; k < ARRAY_LEN(strengths); k++)
            plant(&x, &strengths[k], i);
    assert_ok(feed_writer_flush(x.w, &x.e), x.e);
    assert_ok(feed_store_open(x.dir, &s, &x.e), x.e);
    assert_ok(feed_alerts(s, &(struct feed_alert_options){0}, &x.a, &out, &x.e), x.e);
    for (size_t i = 0; i < out.n; i++) {
        bool good = false;
        for (size_t k = 0; k < out.alerts[i].n_shown; k++) {
            int number;
            char kind, author[64];
            const struct feed_slice who = out.alerts[i].shown[k].author;
            snprintf(author, sizeof(author), "%.*s", (int)who.n, who.s);
            if (sscanf(author, "camp%c%d_", &kind, &number) != 2) continue;
            good = true;
            found[kind == 's' ? 0 : kind == 'm' ? 1 : 2][number] = true;
        }
        right += good;
    }
    for (size_t k = 0; k < ARRAY_LEN(strengths); k++) {
        size_t n = 0;
        for (int i = 0; i < each; i++)
            n += found[k][i];
        print_message("%s: %zu of %d found\n", strengths[k].name, n, each);
        caught += n;
    }
    print_message("%zu of %zu alerts are campaigns\n", right, out.n);
    assert_true(out.n > 0 && 10 * right >= 9 * out.n);
    assert_true(10 * caught >= 8 * 3 * (size_t)each);
    /* before the first of them there is nothing to tell */
    assert_ok(feed_alerts(s, &(struct feed_alert_options){.until_ms = EPOCH_MS + 19 * 24 * HOUR_MS},
                          &x.a, &out, &x.e),
              x.e);
    assert_int_equal(out.n, 0);
    json_decref(feed_alerts_json(&out));
    feed_store_close(s);
    assert_ok(feed_writer_close(x.w, &x.e), x.e);
    assert_ok(file_remove_tree(x.dir, &x.e), x.e);
    arena_fini(&x.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_york),  cmocka_unit_test(test_polarity),
        cmocka_unit_test(test_guard),     cmocka_unit_test(test_edge),
        cmocka_unit_test(test_gaps),      cmocka_unit_test(test_holm),
        cmocka_unit_test(test_campaigns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
