/* cmd_feed_trends.c: `colossus feed trends`. */
#include "cmd/cmd_feed_internal.h"

#include <string.h>

struct trend_options {
    const char *window, *now, *lang;
    int64_t history, limit, authors;
    bool json;
};

#define AT(field) offsetof(struct trend_options, field)
static const struct option rows[] = {
    CMD_TEXT("window", 'w', window, "TIME", "1 h", "what is new: so far back"),
    CMD_INT("history", 0, history, "windows", "24", 1, 10000,
            "so many before it are held against it"),
    CMD_INT("limit", 'l', limit, NULL, "20", 1, 60, "so many stories"),
    CMD_INT("min-authors", 0, authors, NULL, "3", 1, 1e9, "what fewer named is no story"),
    CMD_TEXT("now", 0, now, "TIME", NULL, "the window's end; without it the newest post"),
    CMD_TEXT("lang", 0, lang, "LANGUAGE", NULL, "posts of this language alone"),
    CMD_FLAG("json", 0, json, "as JSON"),
};
#undef AT

const struct option_table cmd_feed_trends_table = {
    "feed trends",
    "STORE [options]",
    "what is talked about more than before, by how many who do not copy each other",
    "Tags, cashtags and pairs of words of the window are held against their own history. Posts of\n"
    "nearly one text, and reposts, are one voice; what has a single voice says so.\n\n"
    "  colossus feed trends posts --window 1h\n"
    "  colossus feed trends posts --window 15min --lang en --json",
    rows,
    ARRAY_LEN(rows)};

static void print(const struct feed_trends *x)
{
    char from[32], to[32], last[32];
    feed_time_text(x->now_ms - (int64_t)(x->window_s * 1000), from);
    feed_time_text(x->now_ms, to);
    printf("%llu posts from %s to %s%s\n", (unsigned long long)x->posts, from, to,
           x->cut ? ", the newest of them" : "");
    if (x->covered < 0.5)
        printf("the store has no history before that: what is common looks like what is new\n");
    if (x->n == 0) printf("nothing stands out\n");
    for (size_t i = 0; i < x->n; i++) {
        const struct feed_trend *t = &x->trends[i];
        printf("\n%s", t->term);
        for (size_t k = 0; k < t->n_also; k++)
            printf("%s%s", k ? ", " : "  (also ", t->also[k]);
        printf("%s\n", t->n_also ? ")" : "");
        printf("    %zu voices, %.1f expected; %llu posts, %zu of them copies%s\n", t->voices,
               t->expected, (unsigned long long)t->posts, t->copies,
               t->voices <= 1 ? "; a single source" : "");
        feed_time_text(t->first_ms, from);
        feed_time_text(t->last_ms, last);
        printf("    %s to %s; the first: ", from, last);
        feed_print_text(t->first.text);
        putchar('\n');
    }
}

static int trends(const struct option_line *l, void *options, struct error *e)
{
    const struct trend_options *o = options;
    struct feed_trend_options t = {
        .history = o->history, .limit = o->limit, .min_authors = o->authors, .lang = o->lang};
    struct feed_trends x;
    feed_store_t *store;
    TRY(feed_only_store(l, "colossus feed trends posts", e));
    TRY(feed_time_option("window", o->window, &t.window_s, e));
    TRY(feed_moment_option("now", o->now, &t.now_ms, e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = feed_trends(store, &t, l->arena, &x, e);
    feed_store_close(store);
    if (rc < 0) return rc;
    if (o->json)
        feed_print_json(feed_trends_json(&x));
    else
        print(&x);
    return 0;
}

int cmd_feed_trends(int argc, char **argv)
{
    return cmd_run(&cmd_feed_trends_table, argc, argv, sizeof(struct trend_options), trends);
}
