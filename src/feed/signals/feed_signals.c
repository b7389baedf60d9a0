/* feed_signals.c: a symbol's posts against its prices: read, measured, tested. */
#include "feed/signals/feed_signals_internal.h"

#include <stdlib.h>

#define MAX_POSTS 2000000

static int by_time(const void *a, const void *b)
{
    const struct feed_said *x = a, *y = b;
    if (x->ms != y->ms) return x->ms < y->ms ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

struct said_list {
    struct feed_said *items; /* by time (mem_free) */
    size_t n;
};

/* Every post with the symbol's cashtag. */
static int read_said(feed_store_t *s, const char *symbol, const struct feed_lexicon *lexicon,
                     struct arena *a, struct said_list *out, struct error *e)
{
    const struct feed_search_options o = {.limit = MAX_POSTS, .depth = MAX_POSTS, .newest = true};
    struct feed_terms scratch = {0};
    struct feed_answer x;
    feed_query_t *q;
    TRY(feed_query_parse(arena_printf(a, "$%s", symbol), &q, e));
    int rc = feed_search(s, q, &o, a, &x, e);
    out->n = rc < 0 ? 0 : x.n_hits;
    out->items = mem_calloc(out->n + 1, sizeof(*out->items));
    for (size_t i = 0; i < out->n; i++) {
        const struct feed_post *p = &x.hits[i].post;
        struct feed_said *said = &out->items[i];
        *said = (struct feed_said){
            .ms = p->created_ms,
            .author = feed_key(p->service, "u", p->author_id.n ? p->author_id : p->author),
            .key = feed_key(p->service, "p", p->id),
            .text = p->text};
        if (p->repost_of.n) said->original = feed_key(p->service, "p", p->repost_of);
        said->polarity = feed_polarity(lexicon, &scratch, p->text);
        feed_terms_clear(&scratch);
        feed_terms_of_text(&scratch, p->text.s, p->text.n);
        feed_signature_of(&scratch, &said->signature);
    }
    if (out->n) qsort(out->items, out->n, sizeof(*out->items), by_time);
    if (rc >= 0 && x.cut) log_warn("of %s only the newest %d posts are taken", symbol, MAX_POSTS);
    str_fini(&x.plan);
    feed_query_free(q);
    feed_terms_fini(&scratch);
    return rc;
}

/* Days from the one before the first post to the first one behind the last: a day's posts begin at the
 * cut of the day before. */
static void trim(struct feed_day **days, size_t *n, const struct said_list *said)
{
    size_t first = 0, last = *n;
    while (first < *n && (*days)[first].cut_ms < said->items[0].ms)
        first++;
    first -= first > 0;
    while (last > first && last > 1 && (*days)[last - 2].cut_ms > said->items[said->n - 1].ms)
        last--;
    *days += first;
    *n = last - first;
}

static int one_symbol(feed_store_t *s, const char *symbol, const struct feed_lexicon *lexicon,
                      const struct feed_signal_options *o, struct feed_signals *out,
                      struct error *e)
{
    struct feed_signal_result *r = &out->results[out->n];
    struct said_list said;
    struct feed_day *days;
    size_t n_days;
    *r = (struct feed_signal_result){.symbol = symbol};
    TRY(feed_market_read(o->prices, symbol, out->arena, &days, &n_days, e));
    TRY(read_said(s, symbol, lexicon, out->arena, &said, e));
    if (said.n == 0) {
        mem_free(said.items);
        error_set(e, "no post in the store has $%s", symbol);
        return error_hint(e, "symbols are cashtags: --symbols AAPL,JPM");
    }
    trim(&days, &n_days, &said);
    feed_features_fill(said.items, said.n, days, 0, n_days);
    r->posts = said.n;
    r->guard_days = n_days > 1 ? (n_days - 2) / 7 + 1 : 0;
    r->guard_wrong = feed_features_guard(said.items, said.n, days, n_days, 7);
    feed_walk(days, n_days, o, r);
    for (size_t f = 0; f < FEED_N_SIGNALS; f++)
        r->rho[f] = feed_rank_correlation(days, n_days, f, &r->p[f], &r->ranked);
    r->points = arena_alloc(out->arena, (n_days + 1) * sizeof(*r->points));
    for (size_t i = 0; i < n_days; i++) {
        struct feed_signal_point *at = &r->points[r->n_points++];
        *at = (struct feed_signal_point){
            days[i].cut_ms, days[i].posts, days[i].close, days[i].target, {0}};
        memcpy(at->x, days[i].x, sizeof(at->x));
    }
    mem_free(said.items);
    out->n++;
    return 0;
}

int feed_signals(feed_store_t *s, const struct feed_signal_options *o, struct arena *a,
                 struct feed_signals *out, struct error *e)
{
    struct feed_lexicon lexicon;
    *out = (struct feed_signals){.arena = a, .cost_bp = o->cost_bp};
    out->results = arena_alloc(a, (o->n_symbols + 1) * sizeof(*out->results));
    TRY(feed_lexicon_read(&lexicon, e));
    int rc = 0;
    for (size_t i = 0; i < o->n_symbols && rc >= 0; i++)
        rc = one_symbol(s, o->symbols[i], &lexicon, o, out, e);
    feed_lexicon_fini(&lexicon);
    if (rc < 0) return rc;
    double *p = mem_alloc((out->n * FEED_N_SIGNALS + 1) * sizeof(*p));
    for (size_t i = 0; i < out->n; i++)
        memcpy(p + i * FEED_N_SIGNALS, out->results[i].p, sizeof(out->results[i].p));
    feed_holm(p, out->n * FEED_N_SIGNALS);
    for (size_t i = 0; i < out->n; i++) {
        memcpy(out->results[i].p_holm, p + i * FEED_N_SIGNALS, sizeof(out->results[i].p_holm));
        out->edges += out->results[i].edge;
    }
    mem_free(p);
    return 0;
}

/* ------------------------------------------------------------------ as JSON */

static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *interval_json(const struct feed_interval *x)
{
    return json_pack("[o,o,o]", real(x->low), real(x->mean), real(x->high));
}

static json_t *result_json(const struct feed_signal_result *r)
{
    json_t *strategies = json_object(), *features = json_object(), *days = json_array();
    for (size_t i = 0; i < FEED_N_STRATEGIES; i++)
        json_object_set_new(strategies, feed_strategy_names[i],
                            json_pack("{s:I,s:o,s:o}", "days", (json_int_t)r->strategies[i].days,
                                      "hit_rate", interval_json(&r->strategies[i].hit_rate),
                                      "net_bp", interval_json(&r->strategies[i].net_bp)));
    for (size_t f = 0; f < FEED_N_SIGNALS; f++)
        json_object_set_new(features, feed_signal_names[f],
                            json_pack("{s:o,s:o,s:o}", "rank_correlation", real(r->rho[f]), "p",
                                      real(r->p[f]), "p_holm", real(r->p_holm[f])));
    for (size_t i = 0; i < r->n_points; i++) {
        const struct feed_signal_point *x = &r->points[i];
        json_t *day =
            json_pack("{s:I,s:I,s:o,s:o}", "cut_ms", (json_int_t)x->cut_ms, "posts",
                      (json_int_t)x->posts, "close", real(x->close), "target", real(x->target));
        for (size_t f = 0; f < FEED_N_SIGNALS; f++)
            json_object_set_new(day, feed_signal_names[f], real(x->x[f]));
        json_array_append_new(days, day);
    }
    return json_pack("{s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:b,s:I,s:I,s:o}", "symbol", r->symbol,
                     "posts", (json_int_t)r->posts, "days_with_posts", (json_int_t)r->days,
                     "days_tested", (json_int_t)r->tested, "strategies", strategies, "features",
                     features, "beyond_always_long_bp", interval_json(&r->beyond_bp),
                     "smallest_edge_bp", real(r->smallest_bp), "edge", (int)r->edge, "guard_days",
                     (json_int_t)r->guard_days, "guard_wrong", (json_int_t)r->guard_wrong, "days",
                     days);
}

json_t *feed_signals_json(const struct feed_signals *x)
{
    json_t *all = json_array();
    for (size_t i = 0; i < x->n; i++)
        json_array_append_new(all, result_json(&x->results[i]));
    return json_pack("{s:o,s:f,s:I,s:s}", "symbols", all, "cost_bp", x->cost_bp, "edges",
                     (json_int_t)x->edges, "sentiment", "VADER's words");
}
