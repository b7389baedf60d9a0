/* cmd_feed_search.c: `colossus feed search`. */
#include "cmd/cmd_feed_internal.h"

#include <poll.h>
#include <string.h>

struct search_options {
    int64_t limit, depth;
    const char *half_life, *now, *page;
    bool newest, follow, explain, scan, json;
    double follow_s;
};

#define AT(field) offsetof(struct search_options, field)
static const struct option search_rows[] = {
    CMD_INT("limit", 'l', limit, "posts", "20", 1, 10000, "so many posts a page"),
    CMD_INT("depth", 0, depth, "posts", "2000", 1, 10000000,
            "rank the newest so many matches; --explain says when there are more"),
    CMD_TEXT("half-life", 0, half_life, "TIME", "6 h", "age at which a post is worth half"),
    CMD_TEXT("now", 0, now, "TIME", NULL, "count age from this moment: 2026-07-04T12:00:00Z"),
    CMD_FLAG("newest", 0, newest, "by time alone, and to any depth"),
    CMD_TEXT("page", 0, page, "PAGE", NULL, "go on where an earlier answer says 'next'"),
    CMD_FLAG("follow", 'f', follow, "print matches as they come, until ctrl-c"),
    CMD_REAL("follow-for", 0, follow_s, "s", "0", 0, 1e9, "with --follow: stop after so long"),
    CMD_FLAG("explain", 0, explain, "what was looked up, how often terms occur, what was cut off"),
    CMD_FLAG("scan", 0, scan, "read every post instead of the index: the same answer, slowly"),
    CMD_FLAG("json", 0, json, "as JSON"),
};
#undef AT

const struct option_table cmd_feed_search_table = {
    "feed search",
    "STORE QUERY [options]",
    "find posts, in X's query language",
    "What stands side by side must all hold; OR, brackets, '-', \"words in a row\", #tag, "
    "$CASHTAG,\n"
    "@name, from: to: lang: url: is: has: filter: conversation_id: since: until: since_id: "
    "max_id:\n"
    "min_faves: min_retweets: min_replies: min_quotes: min_followers: sample:\n"
    "The newest matches are ranked by words, age and engagement (docs/feed.md).\n\n"
    "  colossus feed search posts 'from:alice \"launch window\" -scrub (rocket OR #space)'\n"
    "  colossus feed search posts '$TSLA lang:en since:2026-07-01 min_faves:10' --newest",
    search_rows,
    ARRAY_LEN(search_rows)};

void feed_print_text(struct feed_slice s)
{
    for (size_t i = 0, k; i < s.n; i += MAX(k, 1)) {
        k = text_steers(s.s + i, s.n - i);
        putchar(s.s[i] == '\n' ? ' ' : k ? '?' : s.s[i]);
    }
}

static void print_post(const struct feed_post *p)
{
    char when[32];
    feed_time_text(p->created_ms, when);
    printf("%s  %s  ", when, feed_service_names[p->service]);
    if (p->author.n) putchar('@');
    feed_print_text(p->author.n ? p->author : p->author_id);
    printf("  ");
    feed_print_text(p->id);
    printf("\n    ");
    feed_print_text(p->text);
    putchar('\n');
}

/* A score that a number cannot hold any more is told by its logarithm. */
static void print_parts(const struct feed_hit *h)
{
    char recency[32], score[32];
    snprintf(recency, sizeof(recency), h->half_lives < 40 ? "%.4g" : "1/2^%.1f",
             h->half_lives < 40 ? h->recency : h->half_lives);
    snprintf(score, sizeof(score), h->half_lives < 40 ? "%.4g" : "e^%.2f",
             h->half_lives < 40 ? h->score : h->order);
    printf("    score %s = words %.4g x recency %s x engagement %.4g\n", score, h->bm25, recency,
           h->engagement);
}

static void print_answer(const struct feed_answer *x, const struct search_options *o)
{
    for (size_t i = 0; i < x->n_hits; i++) {
        const struct feed_hit *h = &x->hits[i];
        print_post(&h->post);
        if (o->explain) print_parts(h);
    }
    if (o->explain) {
        printf("%s%llu matches looked at in %.2f ms\n", x->plan.data,
               (unsigned long long)x->matches, 1000 * x->seconds);
        if (x->cut && !o->newest)
            printf("there may be more matches, older than these: --depth goes further back\n");
    }
    if (x->next) printf("next: --page %s\n", x->next);
}

static int read_options(const struct option_line *l, const struct search_options *o,
                        struct feed_search_options *s, struct error *e)
{
    *s = (struct feed_search_options){
        .limit = o->limit, .depth = o->depth, .newest = o->newest, .page = o->page};
    if (o->follow)
        TRY(feed_refuse_options(l, "limit depth half-life now newest page explain scan",
                                "with --follow, which prints every match as it comes", e));
    else
        TRY(feed_refuse_options(l, "follow-for", "without --follow", e));
    if (o->newest)
        TRY(feed_refuse_options(l, "depth half-life now", "with --newest, which goes by time", e));
    if (o->json) TRY(feed_refuse_options(l, "explain", "with --json, which has its parts", e));
    TRY(feed_time_option("half-life", o->half_life, &s->half_life_s, e));
    return feed_moment_option("now", o->now, &s->now_ms, e);
}

/* New matches as they come: what is newer than anything that was there. */
static int follow(feed_store_t *store, feed_query_t *q, const struct search_options *o,
                  struct error *e)
{
    double until = o->follow_s > 0 ? time_now_s() + o->follow_s : INFINITY;
    feed_tail_t *tail;
    feed_catch_signals();
    TRY(feed_tail_new(store, &tail, e));
    int rc = 0;
    while (rc >= 0 && !feed_stopped && time_now_s() < until) {
        struct arena a = {0};
        struct feed_post *posts;
        size_t n;
        rc = feed_tail_next(tail, &a, &posts, &n, e);
        for (size_t i = 0; rc >= 0 && i < n; i++) {
            if (!feed_query_matches(q, &posts[i])) continue;
            struct str line = {0};
            if (o->json) {
                feed_post_json(&posts[i], &line);
                puts(line.data);
            } else {
                print_post(&posts[i]);
            }
            str_fini(&line);
        }
        fflush(stdout);
        arena_fini(&a);
        if (rc == 0) poll(NULL, 0, 200);
    }
    feed_tail_free(tail);
    return rc;
}

static int search(const struct option_line *l, void *options, struct error *e)
{
    const struct search_options *o = options;
    struct feed_search_options s;
    feed_store_t *store;
    feed_query_t *q;
    struct feed_answer x = {0};
    if (l->n_rest != 2) {
        error_set_code(e, ERROR_USAGE, "STORE and QUERY are needed, %d words given", l->n_rest);
        return error_hint(e, "a query is one word of the shell: "
                             "colossus feed search posts 'from:alice rocket'");
    }
    TRY(read_options(l, o, &s, e));
    TRY(feed_query_parse(l->rest[1], &q, e));
    int rc = feed_store_open(l->rest[0], &store, e);
    if (rc >= 0) {
        if (o->follow)
            rc = follow(store, q, o, e);
        else
            rc = (o->scan ? feed_search_scan : feed_search)(store, q, &s, l->arena, &x, e);
        if (rc >= 0 && !o->follow && o->json)
            feed_print_json(feed_answer_json(&x));
        else if (rc >= 0 && !o->follow)
            print_answer(&x, o);
        str_fini(&x.plan);
        feed_store_close(store);
    }
    feed_query_free(q);
    return rc < 0 ? rc : 0;
}

int cmd_feed_search(int argc, char **argv)
{
    return cmd_run(&cmd_feed_search_table, argc, argv, sizeof(struct search_options), search);
}
