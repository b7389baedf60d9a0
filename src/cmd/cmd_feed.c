/* cmd_feed.c: `colossus feed`: the table of its commands, and those that fill and keep a store. */
#include "cmd/cmd_feed_internal.h"

#include <signal.h>
#include <string.h>

volatile sig_atomic_t feed_stopped;

static void on_signal(int number)
{
    (void)number;
    feed_stopped = 1;
}

void feed_catch_signals(void)
{
    signal_catch(SIGINT, on_signal, 0, NULL);
    signal_catch(SIGTERM, on_signal, 0, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void feed_print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(j);
}

static int unit_option(const char *option, const char *text, enum unit_kind kind, double *out,
                       struct error *e)
{
    const char *unit;
    *out = 0;
    if (!text || (unit_parse(text, kind, out, &unit) == UNIT_OK && *out > 0)) return 0;
    error_set_code(e, ERROR_USAGE, "--%s takes %s, not '%.60s'", option,
                   kind == UNIT_BYTES ? "a size" : "a time", text);
    return error_hint(e, kind == UNIT_BYTES ? "for example --%s '20 GB'" : "for example --%s '7 d'",
                      option);
}

int feed_time_option(const char *option, const char *text, double *out, struct error *e)
{
    return unit_option(option, text, UNIT_SECONDS, out, e);
}

int feed_size_option(const char *option, const char *text, double *out, struct error *e)
{
    return unit_option(option, text, UNIT_BYTES, out, e);
}

int feed_moment_option(const char *option, const char *text, int64_t *ms, struct error *e)
{
    *ms = 0;
    if (!text) return 0;
    if (feed_time_parse((struct feed_slice){(char *)(uintptr_t)text, strlen(text)}, ms)) return 0;
    error_set_code(e, ERROR_USAGE, "--%s takes a moment, not '%.60s'", option, text);
    return error_hint(e, "for example --%s 2026-07-04T12:00:00Z", option);
}

int feed_only_store(const struct option_line *l, const char *example, struct error *e)
{
    if (l->n_rest == 1) return 0;
    error_set_code(e, ERROR_USAGE, "one STORE is needed, %d given", l->n_rest);
    return error_hint(e, "%s", example);
}

/* Whether the option is among the names, which are separated by blanks. */
static bool is_named(const char *name, const char *names)
{
    const size_t n = strlen(name);
    for (const char *p = names; *p; p += strspn(p, " ")) {
        size_t k = strcspn(p, " ");
        if (k == n && memcmp(p, name, n) == 0) return true;
        p += k;
    }
    return false;
}

int feed_refuse_options(const struct option_line *l, const char *names, const char *when,
                        struct error *e)
{
    for (size_t i = 0; i < l->table->n_rows; i++) {
        const char *name = l->table->rows[i].name;
        if (l->origins[i] != ORIGIN_FLAG || !is_named(name, names)) continue;
        error_set_code(e, ERROR_USAGE, "--%s changes nothing %s", name, when);
        return error_hint(e, "leave it out");
    }
    return 0;
}

/* ------------------------------------------------------------------ ingest */

struct ingest_options {
    struct option_list maps;
    const char *keep, *keep_size;
    int64_t bad, segment;
    bool ack, dry_run, json;
};

#define AT(field) offsetof(struct ingest_options, field)
static const struct option ingest_rows[] = {
    CMD_LIST("map", 'm', maps, "FIELD=COLUMN,...",
             "which column or member is the id, text, time, author, author_id, name, lang, likes, "
             "reposts, replies, followers, reply_to"),
    CMD_TEXT("keep", 0, keep, "TIME", NULL, "drop posts that are older, from now on; 7 d"),
    CMD_TEXT("keep-size", 0, keep_size, "SIZE", NULL,
             "drop the oldest posts beyond it, from now on; 20 GB"),
    CMD_INT("segment", 0, segment, "posts", "0", 0, 1000000,
            "so many posts a file of the store, from now on; 0: a million, or as it was told"),
    CMD_INT("list-bad", 0, bad, NULL, "20", 0, 1e9, "list so many records that are not understood"),
    CMD_FLAG("ack", 0, ack, "print how many changes are safe on disk, a line each time"),
    CMD_FLAG("dry-run", 'n', dry_run, "read and count, and write nothing"),
    CMD_FLAG("json", 0, json, "the counts as JSON"),
};
#undef AT

const struct option_table cmd_feed_ingest_table = {
    "feed ingest",
    "STORE [FILE|-]... [options]",
    "take posts in from files or standard input",
    "Forms are told by content, packed (gzip, zstd) or not: X's API v2 and v1.1, compliance\n"
    "events, Bluesky's Jetstream, Mastodon's statuses and events, CSV, JSON lines, and what\n"
    "`feed export` writes. A record that is not understood is listed and counted.\n"
    "The same file again changes nothing: a post is known by its id.\n\n"
    "  echo '{\"id\": 1, \"time\": \"2026-07-04\", \"author\": \"ada\", \"text\": \"a fox\"}' "
    ">fox\n"
    "  colossus feed ingest posts fox\n"
    "  gzip <fox | colossus feed ingest posts -\n"
    "  colossus feed ingest posts fox --map id=id,text=text,time=time --dry-run",
    ingest_rows,
    ARRAY_LEN(ingest_rows)};

struct ingest {
    const struct ingest_options *o;
    feed_writer_t *writer; /* NULL: a dry run */
    struct feed_counts counts;
    struct progress progress;
    uint64_t listed, acknowledged;
};

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    struct ingest *in = ctx;
    return in->writer ? feed_writer_add(in->writer, c, e) : 0;
}

static void list_bad(void *ctx, const struct feed_bad *b)
{
    struct ingest *in = ctx;
    if (in->listed++ < (uint64_t)in->o->bad)
        log_warn("%s:%llu: %s", b->path, (unsigned long long)b->record, b->why);
}

static void acknowledge(struct ingest *in)
{
    uint64_t done = in->writer && in->o->ack ? feed_writer_done(in->writer) : 0;
    if (done == in->acknowledged) return;
    in->acknowledged = done;
    printf("%llu\n", (unsigned long long)done);
    fflush(stdout);
}

static int pause_of(void *ctx, bool idle, struct error *e)
{
    struct ingest *in = ctx;
    (void)idle;
    if (in->writer) TRY(feed_writer_pump(in->writer, false, e));
    acknowledge(in);
    if (!in->o->json && !in->o->ack) progress_update(&in->progress, (double)in->counts.posts);
    if (!feed_stopped) return 0;
    return error_set_code(e, ERROR_AGAIN, "stopped; what was read is in the store");
}

static void report(const struct ingest *in, double seconds)
{
    const struct feed_counts *c = &in->counts;
    struct feed_write_counts w = {0};
    struct cmd_json j;
    if (in->writer) w = feed_writer_counts(in->writer);
    const struct {
        const char *name, *words;
        uint64_t n;
    } all[] = {
        {"records", "records read", c->records},
        {"posts", "posts in them", c->posts},
        {"changes", "deletions and the like", c->changes},
        {"others", "records of no interest", c->others},
        {"bad", "records not understood", c->bad},
        {"service_errors", "errors that the service reported", c->errors},
        {"limited", "posts that the service left out", c->limited},
        {"added", "posts added", w.added},
        {"duplicates", "posts that were there", w.duplicates},
        {"updated", "posts replaced by a newer version", w.updated},
        {"deleted", "posts that vanished", w.deleted},
        {"refused", "posts that came after their deletion", w.refused},
        {"expired", "posts older than what is kept", w.expired},
    };
    if (in->o->json) {
        struct json_writer *out = cmd_json_begin(&j);
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            jsonw_int(out, all[i].name, (int64_t)all[i].n);
        jsonw_int(out, "bytes", (int64_t)c->bytes);
        jsonw_real(out, "seconds", seconds);
        cmd_json_end(&j, true);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i].n || i < 2) printf("%12llu  %s\n", (unsigned long long)all[i].n, all[i].words);
}

static int read_files(const struct option_line *l, struct ingest *in, const struct feed_map *map,
                      struct error *e)
{
    const struct feed_read_options r = {
        .sink = take, .ctx = in, .map = map, .on_bad = list_bad, .on_pause = pause_of};
    if (l->n_rest == 1) return feed_read_file("-", &r, &in->counts, e);
    for (int i = 1; i < l->n_rest; i++)
        TRY(feed_read_file(l->rest[i], &r, &in->counts, e));
    return 0;
}

static int ingest(const struct option_line *l, void *options, struct error *e)
{
    const struct ingest_options *o = options;
    struct ingest in = {.o = o};
    struct feed_map map = {0};
    struct feed_write_options w = {.segment_posts = (uint64_t)o->segment};
    if (l->n_rest < 1) {
        error_set_code(e, ERROR_USAGE, "STORE is missing");
        return error_hint(e, "colossus feed ingest posts statuses.jsonl");
    }
    for (size_t i = 0; i < o->maps.count; i++)
        TRY(feed_map_parse(o->maps.items[i], l->arena, &map, e));
    TRY(feed_time_option("keep", o->keep, &w.keep_s, e));
    TRY(feed_size_option("keep-size", o->keep_size, &w.keep_bytes, e));
    if (o->dry_run) TRY(feed_refuse_options(l, "keep keep-size segment ack", "with --dry-run", e));
    if (!o->dry_run) TRY(feed_writer_open(l->rest[0], &w, &in.writer, e));
    feed_catch_signals();
    double t0 = time_now_s();
    progress_init(&in.progress, "ingest", "posts", 0);
    int rc = read_files(l, &in, &map, e);
    bool stopped = rc == ERROR_AGAIN;
    int flushed = in.writer ? feed_writer_flush(in.writer, rc < 0 && !stopped ? NULL : e) : 0;
    acknowledge(&in);
    if (rc >= 0) rc = flushed;
    if (rc >= 0 && !o->json && !o->ack) progress_fini(&in.progress, (double)in.counts.posts);
    if (rc >= 0 || stopped) report(&in, time_now_s() - t0);
    int closed = feed_writer_close(in.writer, rc < 0 ? NULL : e);
    if (rc < 0 || closed < 0) return rc < 0 ? rc : closed;
    const struct feed_counts *c = &in.counts;
    if (c->bad == 0 || c->bad < c->records) return 0;
    error_set(e, "none of %llu records was understood", (unsigned long long)c->records);
    return error_hint(e, "the warnings say why; --map names columns or members of another form");
}

static int cmd_feed_ingest(int argc, char **argv)
{
    return cmd_run(&cmd_feed_ingest_table, argc, argv, sizeof(struct ingest_options), ingest);
}

/* ------------------------------------------------------------------ stats, verify, vacuum, export */

struct keep_options {
    bool json, whole, repair;
};

#define AT(field) offsetof(struct keep_options, field)
static const struct option json_rows[] = {CMD_FLAG("json", 0, json, "as JSON")};
static const struct option verify_rows[] = {
    CMD_FLAG("repair", 0, repair, "put damaged files aside, so that the others go on"),
    CMD_FLAG("json", 0, json, "as JSON")};
static const struct option vacuum_rows[] = {
    CMD_FLAG("all", 'a', whole, "every segment, not only those that posts vanished from"),
    CMD_FLAG("json", 0, json, "as JSON")};
#undef AT

const struct option_table cmd_feed_stats_table = {
    "feed stats",
    "STORE [options]",
    "how many posts, of which time and service, and known gaps",
    "  colossus feed stats posts",
    json_rows,
    ARRAY_LEN(json_rows)};
const struct option_table cmd_feed_verify_table = {
    "feed verify",
    "STORE [options]",
    "hold the index against the posts, and look for doubles",
    "First what a process left undone is finished. Exit code 1 where something is wrong.\n"
    "A segment that cannot be read stops every command: --repair puts its file aside, and makes\n"
    "a list of segments that cannot be read anew (which deletions it knew is lost then).\n\n"
    "  colossus feed verify posts",
    verify_rows,
    ARRAY_LEN(verify_rows)};
const struct option_table cmd_feed_vacuum_table = {
    "feed vacuum",
    "STORE [options]",
    "make deleted posts leave the files, and give room back",
    "Posts older than what is kept go too.\n\n  colossus feed vacuum posts",
    vacuum_rows,
    ARRAY_LEN(vacuum_rows)};
const struct option_table cmd_feed_export_table = {
    "feed export",
    "STORE",
    "print every post as a line of JSON",
    "What `feed ingest` reads back.\n\n  colossus feed export posts >posts.jsonl",
    NULL,
    0};

static void print_gaps(const struct feed_stats *s)
{
    char from[32], to[32];
    for (size_t i = 0; i < s->n_gaps; i++) {
        feed_time_text(s->gaps[i].from_ms, from);
        feed_time_text(s->gaps[i].to_ms, to);
        printf("gap          %s .. %s  %s: %s\n", from, to, s->gaps[i].source, s->gaps[i].why);
    }
}

static json_t *stats_json(const struct feed_stats *s)
{
    json_t *services = json_object(), *gaps = json_array();
    for (int i = 0; i < FEED_N_SERVICES; i++)
        json_object_set_new(services, feed_service_names[i],
                            json_integer((json_int_t)s->by_service[i]));
    for (size_t i = 0; i < s->n_gaps; i++)
        json_array_append_new(gaps,
                              json_pack("{s:s,s:s,s:I,s:I}", "source", s->gaps[i].source, "why",
                                        s->gaps[i].why, "from_ms", (json_int_t)s->gaps[i].from_ms,
                                        "to_ms", (json_int_t)s->gaps[i].to_ms));
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:o,s:o}", "posts", (json_int_t)s->posts,
                     "segments", (json_int_t)s->segments, "bytes", (json_int_t)s->bytes,
                     "tombstones", (json_int_t)s->tombstones, "oldest_ms", (json_int_t)s->oldest_ms,
                     "newest_ms", (json_int_t)s->newest_ms, "keep_s", s->keep_s, "keep_bytes",
                     s->keep_bytes, "services", services, "gaps", gaps);
}

static void print_stats(const struct feed_stats *s)
{
    char a[32], b[32];
    printf("posts        %llu in %llu segments, %s\n", (unsigned long long)s->posts,
           (unsigned long long)s->segments, format_bytes(a, (double)s->bytes));
    if (s->posts) {
        feed_time_text(s->oldest_ms, a);
        feed_time_text(s->newest_ms, b);
        printf("from         %s to %s\n", a, b);
    }
    for (int i = 0; i < FEED_N_SERVICES; i++)
        if (s->by_service[i])
            printf("%-12s %llu\n", feed_service_names[i], (unsigned long long)s->by_service[i]);
    printf("deleted      %llu ids and authors are remembered\n", (unsigned long long)s->tombstones);
    if (s->keep_s > 0) printf("kept for     %s\n", format_duration(a, s->keep_s));
    if (s->keep_bytes > 0) printf("kept up to   %s\n", format_bytes(a, s->keep_bytes));
    print_gaps(s);
}

static int stats(const struct option_line *l, void *options, struct error *e)
{
    const struct keep_options *o = options;
    struct feed_stats s;
    feed_store_t *store;
    TRY(feed_only_store(l, "colossus feed stats posts", e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = feed_store_stats(store, l->arena, &s, e);
    feed_store_close(store);
    if (rc < 0) return rc;
    if (o->json)
        feed_print_json(stats_json(&s));
    else
        print_stats(&s);
    return 0;
}

static int verify(const struct option_line *l, void *options, struct error *e)
{
    const struct keep_options *o = options;
    struct feed_verify v;
    TRY(feed_only_store(l, "colossus feed verify posts", e));
    int rc = feed_store_verify(l->rest[0], o->repair, &v, e);
    const bool looked = v.damaged == 0 || o->repair;
    if (rc >= 0 && o->json)
        feed_print_json(json_pack("{s:I,s:I,s:I,s:I,s:I,s:s}", "segments", (json_int_t)v.segments,
                                  "posts", (json_int_t)v.posts, "terms", (json_int_t)v.terms,
                                  "wrong", (json_int_t)v.wrong, "damaged", (json_int_t)v.damaged,
                                  "report", v.report.len ? v.report.data : ""));
    else if (rc >= 0 && !looked)
        fputs(v.report.data, stdout);
    else if (rc >= 0)
        printf("%s%llu posts and %llu entries of the index in %llu segments: %s\n",
               v.report.len ? v.report.data : "", (unsigned long long)v.posts,
               (unsigned long long)v.terms, (unsigned long long)v.segments,
               v.wrong ? "not all is well" : "all is well");
    str_fini(&v.report);
    if (rc < 0) return rc;
    if (v.wrong) return error_set(e, "%llu faults", (unsigned long long)v.wrong);
    if (looked) return 0;
    error_set(e, "files that are damaged: %llu", (unsigned long long)v.damaged);
    return error_hint(e, "'colossus feed verify %.200s --repair' puts them aside", l->rest[0]);
}

static int vacuum(const struct option_line *l, void *options, struct error *e)
{
    const struct keep_options *o = options;
    uint64_t touched, expired;
    TRY(feed_only_store(l, "colossus feed vacuum posts", e));
    TRY(feed_store_vacuum(l->rest[0], o->whole, &touched, e));
    TRY(feed_replies_sweep(l->rest[0], &expired, e));
    if (o->json)
        feed_print_json(json_pack("{s:I,s:I}", "segments", (json_int_t)touched, "answers_expired",
                                  (json_int_t)expired));
    else
        printf("%llu segments written anew\n", (unsigned long long)touched);
    if (!o->json && expired) printf("%llu answers expired\n", (unsigned long long)expired);
    return 0;
}

static int export(const struct option_line *l, void *options, struct error *e)
{
    feed_store_t *store;
    uint64_t posts;
    (void)options;
    TRY(feed_only_store(l, "colossus feed export posts", e));
    TRY(feed_store_open(l->rest[0], &store, e));
    int rc = feed_store_export(store, stdout, &posts, e);
    feed_store_close(store);
    return rc;
}

static int cmd_feed_stats(int argc, char **argv)
{
    return cmd_run(&cmd_feed_stats_table, argc, argv, sizeof(struct keep_options), stats);
}
static int cmd_feed_verify(int argc, char **argv)
{
    return cmd_run(&cmd_feed_verify_table, argc, argv, sizeof(struct keep_options), verify);
}
static int cmd_feed_vacuum(int argc, char **argv)
{
    return cmd_run(&cmd_feed_vacuum_table, argc, argv, sizeof(struct keep_options), vacuum);
}
static int cmd_feed_export(int argc, char **argv)
{
    return cmd_run(&cmd_feed_export_table, argc, argv, sizeof(struct keep_options), export);
}

static const struct cmd_entry feed_commands[] = {
    {"ingest", cmd_feed_ingest, "feed", "take posts in from files or standard input"},
    {"search", cmd_feed_search, "feed", "find posts, in X's query language"},
    {"ask", cmd_feed_ask, "feed", "answer a question from posts, with its sources"},
    {"answers", cmd_feed_answers, "feed", "answers that were kept, and which have expired"},
    {"trends", cmd_feed_trends, "feed", "what is talked about more than before"},
    {"signals", cmd_feed_signals, "feed", "do posts say what a price will do, and who pushes it?"},
    {"serve", cmd_feed_serve, "feed", "search, trends and new matches over HTTP, and a page"},
    {"follow", cmd_feed_follow, "feed", "take in a live stream"},
    {"stats", cmd_feed_stats, "feed", "what a store holds, and known gaps"},
    {"verify", cmd_feed_verify, "feed", "hold the index against the posts"},
    {"vacuum", cmd_feed_vacuum, "feed", "make deleted posts leave the files"},
    {"export", cmd_feed_export, "feed", "print every post as a line of JSON"},
};

int cmd_feed(int argc, char **argv)
{
    return cmd_dispatch("feed", feed_commands, ARRAY_LEN(feed_commands), argc, argv);
}
