/* cmd_feed_follow.c: `colossus feed follow`. */
#include "cmd/cmd_feed_internal.h"

#include <string.h>

struct follow_options {
    const char *url, *token_file, *keep, *keep_size, *remove_rule;
    struct option_list rules;
    int64_t memory;
    double seconds, hurry;
    int source;
    bool list_rules, json;
};

#define AT(field) offsetof(struct follow_options, field)
static const struct option rows[] = {
    CMD_CHOICE("source", 's', source, "x", feed_follow_names, "which service's stream it is"),
    CMD_TEXT("url", 'u', url, "ADDRESS", NULL,
             "of the service (x), or of the stream; without it the service's usual one"),
    CMD_TEXT("token-file", 0, token_file, "FILE", NULL, "file that holds the bearer token"),
    CMD_LIST("rule", 0, rules, "QUERY", "x: add this rule to the stream's before following"),
    CMD_FLAG("list-rules", 0, list_rules, "x: print the stream's rules, and stop"),
    CMD_TEXT("remove-rule", 0, remove_rule, "ID", NULL, "x: remove a rule, and stop"),
    CMD_TEXT("keep", 0, keep, "TIME", NULL, "drop posts that are older, from now on; 7 d"),
    CMD_TEXT("keep-size", 0, keep_size, "SIZE", NULL,
             "drop the oldest posts beyond it, from now on; 20 GB"),
    CMD_INT("memory", 0, memory, "bytes", "64M", 4096, 1e12,
            "of posts that wait for the store; more of them wait on disk"),
    CMD_REAL("for", 0, seconds, "s", "0", 0, 1e9, "end after so long; 0: on ctrl-c"),
    CMD_REAL("hurry", 0, hurry, NULL, "1", 1, 1e4, "divide all waits by this, for tests"),
    CMD_FLAG("json", 0, json, "the counts at the end as JSON"),
};
#undef AT

const struct option_table cmd_feed_follow_table = {
    "feed follow",
    "STORE [options]",
    "take in a live stream of X, Mastodon or Bluesky's Jetstream",
    "Connections are made again as the service documents, from where the stream was; what the\n"
    "service cannot give any more is recorded as a gap, which `feed stats` shows. The rate, the\n"
    "lag and what waits are logged every ten seconds.\n\n"
    "  colossus feed follow posts --token-file token --rule 'rocket lang:en'\n"
    "  colossus feed follow posts --source jetstream\n"
    "  colossus feed follow posts --source mastodon --token-file token \\\n"
    "      --url https://example.social/api/v1/streaming/public",
    rows,
    ARRAY_LEN(rows)};

/* X's documentation, Bluesky's "Jetstream". Mastodon has many servers. */
static const char *const usual[] = {"https://api.x.com", NULL,
                                    "wss://jetstream2.us-east.bsky.network/subscribe"};

static int read_token(const char *path, struct arena *a, const char **token, struct error *e)
{
    size_t n = 0;
    return path ? cmd_read_key_file(path, a, token, 1, &n, e) : 0;
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static int check_scheme(const char *url, enum feed_follow_source source, struct error *e)
{
    bool socket = source == FEED_FOLLOW_JETSTREAM;
    if (socket ? begins(url, "ws://") || begins(url, "wss://")
               : begins(url, "http://") || begins(url, "https://"))
        return 0;
    error_set_code(e, ERROR_USAGE, "--url: '%.100s' is no address of a stream of %s", url,
                   feed_follow_names[source]);
    return error_hint(e, "it begins with %s", socket ? "wss:// or ws://" : "https:// or http://");
}

static int rules(const struct follow_options *o, const struct feed_follow_options *f, bool *stop,
                 struct error *e)
{
    json_t *answer;
    *stop = o->list_rules || o->remove_rule;
    if ((*stop || o->rules.count) && f->source != FEED_FOLLOW_X)
        return error_set_code(e, ERROR_USAGE, "only X's streams have rules");
    if (o->remove_rule) {
        TRY(feed_rules(f, FEED_RULE_REMOVE, o->remove_rule, &answer, e));
        json_decref(answer);
    }
    for (size_t i = 0; i < o->rules.count; i++) {
        TRY(feed_rules(f, FEED_RULE_ADD, o->rules.items[i], &answer, e));
        json_decref(answer);
    }
    if (!o->list_rules) return 0;
    TRY(feed_rules(f, FEED_RULE_LIST, NULL, &answer, e));
    feed_print_json(answer);
    return 0;
}

static int follow(const struct option_line *l, void *options, struct error *e)
{
    const struct follow_options *o = options;
    struct feed_follow_options f = {.url = o->url ? o->url : usual[o->source],
                                    .source = (enum feed_follow_source)o->source,
                                    .name = feed_follow_names[o->source],
                                    .memory = (size_t)o->memory,
                                    .seconds = o->seconds,
                                    .hurry = o->hurry,
                                    .stopped = &feed_stopped};
    struct feed_counts c = {0};
    struct feed_write_counts w = {0};
    bool stop;
    TRY(feed_only_store(l, "colossus feed follow posts --source jetstream", e));
    f.dir = l->rest[0];
    if (!f.url) {
        error_set_code(e, ERROR_USAGE, "--url is missing");
        return error_hint(e, "for example --url https://example.social/api/v1/streaming/public");
    }
    TRY(check_scheme(f.url, f.source, e));
    TRY(feed_time_option("keep", o->keep, &f.write.keep_s, e));
    TRY(feed_size_option("keep-size", o->keep_size, &f.write.keep_bytes, e));
    TRY(read_token(o->token_file, l->arena, &f.token, e));
    if (o->list_rules || o->remove_rule)
        TRY(feed_refuse_options(l, "keep keep-size memory for json",
                                "with --list-rules or --remove-rule, which do not follow", e));
    TRY(rules(o, &f, &stop, e));
    if (stop) return 0;
    feed_catch_signals();
    int rc = feed_follow(&f, &c, &w, e);
    if (o->json)
        feed_print_json(json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "records", (json_int_t)c.records,
                                  "posts", (json_int_t)c.posts, "bad", (json_int_t)c.bad, "added",
                                  (json_int_t)w.added, "duplicates", (json_int_t)w.duplicates,
                                  "deleted", (json_int_t)w.deleted));
    else
        printf("%llu posts came, %llu were new\n", (unsigned long long)c.posts,
               (unsigned long long)w.added);
    return rc;
}

int cmd_feed_follow(int argc, char **argv)
{
    return cmd_run(&cmd_feed_follow_table, argc, argv, sizeof(struct follow_options), follow);
}
