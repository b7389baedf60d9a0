/* cmd_feed_signals.c: `colossus feed signals`: what posts say about prices, and who pushes them. */
#include "cmd/cmd_feed_internal.h"

#include <string.h>

#define MAX_SYMBOLS 64

struct signal_options {
    const char *prices, *symbols, *svg, *span, *until;
    int64_t train, draws, seed;
    double cost_bp;
    bool alerts, json;
};

#define AT(field) offsetof(struct signal_options, field)
static const struct option rows[] = {
    CMD_TEXT("prices", 0, prices, "DIR", NULL, "folder with SYMBOL.csv: Date, Open, Close"),
    CMD_TEXT("symbols", 0, symbols, "SYMBOL,...", NULL, "cashtags without '$'; each has a table"),
    CMD_REAL("cost", 0, cost_bp, "bp", "10", 0, 10000,
             "of a round trip, in hundredths of a per cent"),
    CMD_INT("train", 0, train, "days", "120", 20, 100000,
            "days with posts before the first that is tested"),
    CMD_INT("draws", 0, draws, NULL, "2000", 200, 1000000, "of the bootstrap behind each interval"),
    CMD_INT("seed", 0, seed, NULL, "1", 0, 1e18, "of the bootstrap"),
    CMD_TEXT("svg", 0, svg, "FILE", NULL, "a picture of signals against price"),
    CMD_FLAG("alerts", 0, alerts,
             "campaigns instead: one text of several accounts in a short time"),
    CMD_TEXT("span", 0, span, "TIME", "2 h", "with --alerts: how short that time is"),
    CMD_TEXT("until", 0, until, "TIME", NULL, "with --alerts: posts before this moment alone"),
    CMD_FLAG("json", 0, json, "as JSON, with every day"),
};
#undef AT

const struct option_table cmd_feed_signals_table = {
    "feed signals",
    "STORE [options]",
    "do posts say what a price will do, and who pushes it?",
    "For each symbol and day of trading six features of the posts before 09:30 of New York are "
    "held\n"
    "against close over open, walking forward, beside baselines that need no posts, with "
    "intervals.\n"
    "\"no edge at 95 %\" is a result. Features are computed again without the future: where one\n"
    "changes, the command fails.\n\n"
    "  echo '{\"id\": 2, \"time\": \"2026-07-06\", \"text\": \"$FOX is up\"}' | "
    "colossus feed ingest posts -\n"
    "  mkdir -p prices; printf 'Date,Open,Close\\n2026-07-02,9,8\\n2026-07-06,8,9\\n' "
    ">prices/FOX.csv\n"
    "  colossus feed signals posts --prices prices --symbols FOX --svg signals.svg\n"
    "  colossus feed signals posts --alerts",
    rows,
    ARRAY_LEN(rows)};

/* "AAPL,JPM" as a list in the arena. */
static int read_symbols(const char *text, struct arena *a, const char **out, size_t *n,
                        struct error *e)
{
    *n = 0;
    for (const char *p = text ? text : ""; *p;) {
        size_t k = strcspn(p, ",");
        bool good = k > 0 && k <= 12 && *n < MAX_SYMBOLS;
        for (size_t i = 0; i < k; i++)
            good &= (p[i] >= 'A' && p[i] <= 'Z') || p[i] == '.';
        if (!good) {
            error_set_code(e, ERROR_USAGE, "--symbols: '%.*s' is no symbol",
                           (int)MIN(k, (size_t)40), p);
            return error_hint(e, "capital letters, joined by commas: --symbols AAPL,JPM");
        }
        out[*n] = arena_strndup(a, p, k);
        for (size_t i = 0; i < *n; i++)
            if (strcmp(out[i], out[*n]) == 0)
                return error_set_code(e, ERROR_USAGE, "--symbols: '%s' is given twice", out[i]);
        ++*n;
        p += k + (p[k] == ',');
    }
    return 0;
}

static void print_interval(const struct feed_interval *x, double scale)
{
    if (isnan(x->mean))
        printf("     N/A  (no days)        ");
    else if (isnan(x->low))
        printf("%8.1f  (too few days)  ", scale * x->mean);
    else
        printf("%8.1f  (%6.1f .. %6.1f)", scale * x->mean, scale * x->low, scale * x->high);
}

static void print_result(const struct feed_signal_result *r)
{
    printf("%s: %zu posts, %zu days with some, %zu of them tested\n", r->symbol, r->posts, r->days,
           r->tested);
    printf("  look-ahead guard: %zu days without the future, %zu came out otherwise\n",
           r->guard_days, r->guard_wrong);
    printf("  %-13s  right, %% (95 %% interval)       net of cost, bp a day (95 %%)\n", "");
    for (size_t i = 0; i < FEED_N_STRATEGIES; i++) {
        printf("  %-13s", feed_strategy_names[i]);
        print_interval(&r->strategies[i].hit_rate, 100);
        printf("   ");
        print_interval(&r->strategies[i].net_bp, 1);
        printf("\n");
    }
    printf("  model less always long, bp a day: ");
    print_interval(&r->beyond_bp, 1);
    if (isnan(r->smallest_bp))
        printf("\n  smallest edge that would show: N/A\n");
    else
        printf("\n  smallest edge that would show: %.1f bp a day\n", r->smallest_bp);
    for (size_t f = 0; f < FEED_N_SIGNALS; f++)
        printf("  %-13s rank correlation %7.3f, p %.3f, corrected for all %.3f\n",
               feed_signal_names[f], r->rho[f], r->p[f], r->p_holm[f]);
    printf("  %s\n\n",
           r->edge ? "an edge, beyond both intervals, corrected for the symbols"
           : r->tested
               ? "no edge at 95 %"
               : "not tested: too few days with posts (--train DAYS come before the first)");
}

static int print_signals(const struct option_line *l, const struct signal_options *o,
                         feed_store_t *store, struct error *e)
{
    const char *symbols[MAX_SYMBOLS];
    struct feed_signals x;
    struct feed_signal_options s = {.prices = o->prices,
                                    .symbols = symbols,
                                    .cost_bp = o->cost_bp,
                                    .train_days = o->train,
                                    .draws = o->draws,
                                    .seed = (uint64_t)o->seed};
    size_t wrong = 0;
    TRY(read_symbols(o->symbols, l->arena, symbols, &s.n_symbols, e));
    TRY(feed_signals(store, &s, l->arena, &x, e));
    for (size_t i = 0; i < x.n; i++)
        wrong += x.results[i].guard_wrong;
    if (o->svg) TRY(feed_signals_svg(&x, o->svg, e));
    if (o->json) {
        feed_print_json(feed_signals_json(&x));
    } else {
        printf("target: close over open; sentiment by VADER's words; a round trip costs %g bp\n\n",
               o->cost_bp);
        for (size_t i = 0; i < x.n; i++)
            print_result(&x.results[i]);
        printf("%zu of %zu symbols have an edge\n", x.edges, x.n);
    }
    return wrong ? error_set(e, "%zu features look ahead", wrong) : 0;
}

static int print_alerts(const struct option_line *l, const struct signal_options *o,
                        feed_store_t *store, struct error *e)
{
    struct feed_alert_options a = {0};
    struct feed_alerts x;
    char from[32], to[32];
    TRY(feed_time_option("span", o->span, &a.span_s, e));
    TRY(feed_moment_option("until", o->until, &a.until_ms, e));
    TRY(feed_alerts(store, &a, l->arena, &x, e));
    if (o->json) {
        feed_print_json(feed_alerts_json(&x));
        return 0;
    }
    printf("%llu posts looked at%s, %zu campaigns\n", (unsigned long long)x.looked,
           x.cut ? " (the earliest of them: there are more)" : "", x.n);
    for (size_t i = 0; i < x.n; i++) {
        const struct feed_alert *t = &x.alerts[i];
        feed_time_text(t->first_ms, from);
        feed_time_text(t->last_ms, to);
        printf("\nscore %.1f: %zu posts of %zu authors, %s to %s; %.0f %% of the authors are new, "
               "%.0f %% of the posts name three cashtags and more\n",
               t->score, t->posts, t->authors, from, to, 100 * t->fresh, 100 * t->stuffed);
        for (size_t k = 0; k < t->n_shown; k++) {
            printf("    @");
            feed_print_text(t->shown[k].author.n ? t->shown[k].author : t->shown[k].author_id);
            printf("  ");
            feed_print_text(t->shown[k].text);
            putchar('\n');
        }
    }
    return 0;
}

static int signals(const struct option_line *l, void *options, struct error *e)
{
    const struct signal_options *o = options;
    feed_store_t *store;
    TRY(feed_only_store(l, "colossus feed signals posts --prices prices --symbols AAPL", e));
    if (!o->alerts && (!o->prices || !o->symbols || !*o->symbols)) {
        error_set_code(e, ERROR_USAGE, "--prices and --symbols are needed");
        return error_hint(e, "--prices DIR --symbols AAPL,JPM; or --alerts, which needs no prices");
    }
    if (o->alerts)
        TRY(feed_refuse_options(l, "prices symbols cost train draws seed svg",
                                "with --alerts, which reads posts alone", e));
    else
        TRY(feed_refuse_options(l, "span until", "without --alerts", e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = o->alerts ? print_alerts(l, o, store, e) : print_signals(l, o, store, e);
    feed_store_close(store);
    return rc;
}

int cmd_feed_signals(int argc, char **argv)
{
    return cmd_run(&cmd_feed_signals_table, argc, argv, sizeof(struct signal_options), signals);
}
