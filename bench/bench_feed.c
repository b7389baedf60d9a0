/* bench_feed.c: how fast posts come in and are found.
 *
 *   bench_feed ingest DIR POSTS     compact lines of JSON (at most 400 bytes) into a new store
 *   bench_feed v1 DIR POSTS         the same for statuses of the size of X's API v1.1
 *   bench_feed search DIR QUERIES   a mix of queries on the store, while 6,000 posts a second arrive
 *   bench_feed burst DIR SECONDS    143,000 posts a second arrive for so long, in a new store
 *
 * Posts are made up from a seed: words of a Zipf distribution over 60,000, a tag in a fifth of them,
 * a cashtag in a twentieth, one in thirty of Chinese characters, 2,000,000 authors. Lines are written
 * to a file of DIR first; what is measured is feed_read_file and the writer. Prints a line a figure. */
#include "feed/feed.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define WORDS   60000
#define AUTHORS 2000000
#define T0      1783000000000LL
#define RATE    6000

static void fail(const struct error *e) __attribute__((noreturn));
static void fail(const struct error *e)
{
    fprintf(stderr, "bench_feed: %s\n", e->text);
    exit(1);
}

/* ------------------------------------------------------------------ made-up posts */

/* Ranks 0 .. n - 1, the k-th about 1 / (k + 1) as often as the first. */
static uint64_t zipf(uint64_t i, uint64_t draw, uint64_t n)
{
    double k = exp(rng_uniform(7, i, draw) * log((double)n + 1)) - 1;
    return MIN((uint64_t)k, n - 1);
}

static void put_word(struct str *s, uint64_t rank)
{
    static const char first[] = "bdfgklmnprstvz", second[] = "aeiou";
    uint64_t h = rank * 2654435761u + 17;
    size_t n = 1 + (rank > 40) + (rank > 900) + h % 2;
    for (uint64_t x = rank, k = 0; k < n || x; k++) {
        str_append_char(s, first[(x + h * (k == 0)) % 14]);
        str_append_char(s, second[x / 14 % 5]);
        x /= 70;
    }
}

static void put_text(struct str *s, uint64_t i)
{
    if (i % 30 == 0) {
        for (uint64_t k = 0; k < 8 + i % 25; k++) {
            unsigned c = 0x4e00 + (unsigned)zipf(i, 100 + k, 2000);
            str_printf(s, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                       (char)(0x80 | (c & 0x3f)));
        }
        return;
    }
    for (uint64_t k = 0; k < 6 + rng_u64(8, i, 0) % 21; k++) {
        if (k) str_append_char(s, ' ');
        put_word(s, zipf(i, k, WORDS));
    }
    if (i % 5 == 1) {
        str_puts(s, " #");
        put_word(s, zipf(i, 50, 3000));
    }
    if (i % 20 == 2) str_printf(s, " $T%c%c", (char)('A' + zipf(i, 51, 26)), (char)('A' + i % 3));
}

static int64_t time_of(uint64_t i)
{
    return T0 + (int64_t)(i * 1000 / RATE);
}

static void put_line(struct str *s, uint64_t i)
{
    str_printf(s, "{\"id\":\"%llu\",\"text\":\"", (unsigned long long)(2000000000000000000ULL + i));
    put_text(s, i);
    str_printf(s, "\",\"created_at\":%lld,\"author\":\"u%llu\",\"lang\":\"%s\",\"likes\":%llu}\n",
               (long long)time_of(i), (unsigned long long)zipf(i, 60, AUTHORS),
               i % 30 ? "en" : "zh", (unsigned long long)(zipf(i, 61, 10000)));
}

/* A status as the older API sends it: most of it is of no use here. */
static void put_v1(struct str *s, uint64_t i)
{
    static const char colour[] = "\"C0DEED\"";
    char when[32];
    feed_time_text(time_of(i), when);
    str_printf(s, "{\"created_at\":\"%s\",\"id\":%llu,\"id_str\":\"%llu\",\"text\":\"", when,
               (unsigned long long)(2000000000000000000ULL + i),
               (unsigned long long)(2000000000000000000ULL + i));
    put_text(s, i);
    str_printf(s, "\",\"source\":\"web\",\"truncated\":false,\"in_reply_to_status_id\":null,");
    for (int copy = 0; copy < 2; copy++) {
        str_printf(s,
                   "\"%s\":{\"id\":%llu,\"id_str\":\"%llu\",\"name\":\"Made Up %llu\","
                   "\"screen_name\":\"u%llu\",\"location\":\"Nowhere, \\u00e9\",\"url\":null,"
                   "\"description\":\"one \\\"who\\\" writes\",\"followers_count\":%llu",
                   copy ? "quoted_user" : "user", (unsigned long long)zipf(i, 60, AUTHORS),
                   (unsigned long long)zipf(i, 60, AUTHORS), (unsigned long long)(i % 997),
                   (unsigned long long)zipf(i, 60, AUTHORS), (unsigned long long)(i % 5000));
        for (int k = 0; k < 14; k++)
            str_printf(s,
                       ",\"profile_image_url_%d\":\"http:\\/\\/images.example.org\\/%llu\\/normal."
                       "jpeg\",\"profile_color_%d\":%s,\"profile_flag_%d\":false",
                       k, (unsigned long long)i, k, colour, k);
        str_puts(s, "},");
    }
    str_puts(s, "\"geo\":null,\"coordinates\":null,\"place\":null,\"entities\":{\"hashtags\":[],"
                "\"urls\":[],\"user_mentions\":[{\"screen_name\":\"x\",\"indices\":[3,18]}]},"
                "\"retweet_count\":3,\"favorite_count\":4,\"favorited\":false,\"lang\":\"en\"}\n");
}

static void write_lines(const char *path, uint64_t n, void (*put)(struct str *, uint64_t))
{
    FILE *f = fopen(path, "w");
    struct str s = {0};
    if (!f) {
        perror(path);
        exit(1);
    }
    for (uint64_t i = 0; i < n; i++) {
        put(&s, i);
        if (s.len > 1 << 20 || i + 1 == n) {
            fwrite(s.data, 1, s.len, f);
            str_clear(&s);
        }
    }
    fclose(f);
    str_fini(&s);
}

/* ------------------------------------------------------------------ ingest */

static feed_writer_t *writer;

static int take(void *ctx, const struct feed_change *c, struct error *e)
{
    (void)ctx;
    return feed_writer_add(writer, c, e);
}

static double peak_mb(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_maxrss / 1024;
}

static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void ingest(const char *dir, uint64_t n, bool v1)
{
    struct error e = {0};
    struct arena a = {0};
    struct feed_counts counts = {0};
    const struct feed_map map = {0};
    const struct feed_read_options o = {.sink = take, .map = &map};
    const struct feed_write_options w = {0};
    char *lines = arena_printf(&a, "%s/lines.jsonl", dir),
         *store = arena_printf(&a, "%s/store", dir);
    if (file_make_dirs(dir, &e) < 0 || file_remove_tree(store, &e) < 0) fail(&e);
    write_lines(lines, n, v1 ? put_v1 : put_line);
    double t0 = time_now_s(), c0 = cpu_s(), r0 = thread_cpu_s();
    if (feed_writer_open(store, &w, &writer, &e) < 0) fail(&e);
    if (feed_read_file(lines, &o, &counts, &e) < 0 || feed_writer_flush(writer, &e) < 0) fail(&e);
    double found = time_now_s() - t0, reader = thread_cpu_s() - r0, both = cpu_s() - c0;
    if (feed_writer_close(writer, &e) < 0) fail(&e);
    double whole = time_now_s() - t0;
    printf(
        "%llu posts of %.0f bytes: %.0f posts/s until searchable, %.0f posts/s with all segments "
        "sealed; %.1f us of CPU a post to read, %.1f to write, %.1f with merging; %.0f MB\n",
        (unsigned long long)counts.posts, (double)counts.bytes / (double)n, (double)n / found,
        (double)n / whole, 1e6 * reader / (double)n, 1e6 * (both - reader) / (double)n,
        1e6 * (cpu_s() - c0 - reader) / (double)n, peak_mb());
    file_remove_tree(lines, &e);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ arrival at a pace */

struct pace {
    const char *store;
    double rate, seconds; /* seconds 0: until stop */
    uint64_t first, sent;
    atomic_bool stop;
    double behind_s; /* the writer held the reader up */
};

static void *arrive(void *ctx)
{
    struct pace *p = ctx;
    struct error e = {0};
    struct str s = {0};
    struct feed_counts counts = {0};
    const struct feed_map map = {0};
    const struct feed_read_options o = {.sink = take, .map = &map};
    feed_reader_t *r = feed_reader_new(&o, &counts);
    double t0 = time_now_s();
    while (!atomic_load(&p->stop)) {
        double now = time_now_s() - t0;
        if (p->seconds > 0 && now > p->seconds) now = p->seconds;
        uint64_t due = (uint64_t)(now * p->rate);
        for (; p->sent < due; p->sent++) {
            str_clear(&s);
            put_line(&s, p->first + p->sent);
            if (feed_reader_line(r, s.data, s.len - 1, NULL, &e) < 0) fail(&e);
            if (p->sent % 64 == 0 && feed_writer_pump(writer, false, &e) < 0) fail(&e);
        }
        if (feed_writer_pump(writer, false, &e) < 0) fail(&e);
        if (p->seconds > 0 && p->sent >= (uint64_t)(p->seconds * p->rate)) break;
        poll(NULL, 0, 5);
    }
    p->behind_s = time_now_s() - t0 - p->seconds;
    str_fini(&s);
    feed_reader_free(r);
    return NULL;
}

static void burst(const char *dir, double seconds)
{
    struct error e = {0};
    struct arena a = {0};
    const struct feed_write_options w = {0};
    char *store = arena_printf(&a, "%s/store", dir);
    struct pace p = {.store = store, .rate = 143000, .seconds = seconds};
    if (file_make_dirs(dir, &e) < 0 || file_remove_tree(store, &e) < 0) fail(&e);
    if (feed_writer_open(store, &w, &writer, &e) < 0) fail(&e);
    arrive(&p);
    double t0 = time_now_s();
    if (feed_writer_flush(writer, &e) < 0) fail(&e);
    printf(
        "%llu posts in %.1f s: reading ended %.1f s after the burst, all searchable %.1f s after "
        "it, %llu in the store, %.0f MB\n",
        (unsigned long long)p.sent, seconds, p.behind_s, p.behind_s + time_now_s() - t0,
        (unsigned long long)feed_writer_counts(writer).added, peak_mb());
    if (feed_writer_close(writer, &e) < 0) fail(&e);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ search */

static const char *const kinds[] = {"rare word", "common word", "phrase",         "author",
                                    "two words", "time span",   "two characters", "tag"};

static void put_query(struct str *s, size_t kind, uint64_t i)
{
    const uint64_t r = rng_u64(9, i, 0);
    str_clear(s);
    switch (kind) {
    case 0: put_word(s, 20000 + r % 30000); break;
    case 1: put_word(s, r % 50); break;
    case 2:
        str_append_char(s, '"');
        put_word(s, r % 200);
        str_append_char(s, ' ');
        put_word(s, r / 200 % 200);
        str_append_char(s, '"');
        break;
    case 3: str_printf(s, "from:u%llu", (unsigned long long)zipf(i, 1, AUTHORS)); break;
    case 4:
        put_word(s, r % 500);
        str_append_char(s, ' ');
        put_word(s, 500 + r / 500 % 3000);
        break;
    case 5:
        put_word(s, r % 2000);
        str_printf(s, " since_time:%lld until_time:%lld",
                   (long long)(T0 / 1000 + (int64_t)(r % 600)),
                   (long long)(T0 / 1000 + (int64_t)(r % 600) + 120));
        break;
    case 6:
        for (int k = 0; k < 2; k++) {
            unsigned c = 0x4e00 + (unsigned)zipf(i, 2 + (uint64_t)k, 2000);
            str_printf(s, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                       (char)(0x80 | (c & 0x3f)));
        }
        break;
    default: str_append_char(s, '#'); put_word(s, r % 3000);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct times {
    double *wall, *cpu; /* [n], of the searching thread */
    size_t n;
};

static void print_times(const char *name, struct times *x)
{
    double *t = x->wall, *c = x->cpu;
    size_t n = x->n;
    qsort(t, n, sizeof(*t), by_value);
    qsort(c, n, sizeof(*c), by_value);
    printf("%-16s %6zu queries  p50 %7.2f ms  p90 %7.2f ms  p99 %7.2f ms  max %7.2f ms; "
           "of CPU p50 %7.2f ms  p90 %7.2f ms  p99 %7.2f ms\n",
           name, n, 1e3 * t[n / 2], 1e3 * t[n * 9 / 10], 1e3 * t[n * 99 / 100], 1e3 * t[n - 1],
           1e3 * c[n / 2], 1e3 * c[n * 9 / 10], 1e3 * c[n * 99 / 100]);
}

/* Seconds until posts with a word that nothing else has are found, one after another. */
static void find_fresh(feed_store_t *store, int times)
{
    struct error e = {0};
    double worst = 0, sum = 0;
    for (int k = 0; k < times; k++) {
        char word[40], id[64];
        feed_query_t *q;
        snprintf(word, sizeof(word), "fresh%dx%llx", k, (unsigned long long)feed_now_ms());
        snprintf(id, sizeof(id), "fresh-%s", word);
        struct feed_change c = {.post = {.id = {id, strlen(id)},
                                         .text = {word, strlen(word)},
                                         .created_ms = time_of(20000000)}};
        double t0 = time_now_s();
        if (feed_writer_add(writer, &c, &e) < 0 || feed_query_parse(word, &q, &e) < 0) fail(&e);
        for (bool found = false; !found;) {
            const struct feed_search_options o = {.limit = 1};
            struct arena a = {0};
            struct feed_answer x;
            if (feed_writer_pump(writer, false, &e) < 0) fail(&e);
            if (feed_search(store, q, &o, &a, &x, &e) < 0) fail(&e);
            found = x.n_hits > 0;
            str_fini(&x.plan);
            arena_fini(&a);
            if (!found) poll(NULL, 0, 5);
        }
        double s = time_now_s() - t0;
        feed_query_free(q);
        sum += s;
        worst = MAX(worst, s);
    }
    printf("a post is found  mean %.2f s, worst %.2f s after it came (%d posts)\n", sum / times,
           worst, times);
}

static void search(const char *dir, size_t n)
{
    struct error e = {0};
    struct arena all = {0};
    const struct feed_write_options w = {0};
    char *path = arena_printf(&all, "%s/store", dir);
    struct feed_stats stats;
    feed_store_t *store;
    struct str text = {0};
    enum { KINDS = ARRAY_LEN(kinds) };
    struct times times[KINDS + 1] = {0};
    for (size_t k = 0; k <= KINDS; k++) {
        times[k].wall = arena_alloc(&all, (n + 1) * sizeof(double));
        times[k].cpu = arena_alloc(&all, (n + 1) * sizeof(double));
    }
    if (feed_writer_open(path, &w, &writer, &e) < 0 || feed_store_open(path, &store, &e) < 0 ||
        feed_store_stats(store, &all, &stats, &e) < 0)
        fail(&e);
    printf("%llu posts in %llu segments, %.1f GB; %d posts/s arrive\n",
           (unsigned long long)stats.posts, (unsigned long long)stats.segments,
           (double)stats.bytes / 1e9, RATE);
    find_fresh(store, 5);
    struct pace p = {.store = path, .rate = RATE, .first = stats.posts};
    pthread_t thread;
    if (pthread_create(&thread, NULL, arrive, &p) != 0) exit(1);
    for (size_t i = 0; i < n; i++) {
        const struct feed_search_options o = {.limit = 20};
        struct arena a = {0};
        struct feed_answer x;
        feed_query_t *q;
        size_t kind = i % KINDS;
        put_query(&text, kind, i);
        double t0 = time_now_s(), c0 = thread_cpu_s();
        if (feed_query_parse(text.data, &q, &e) < 0 || feed_search(store, q, &o, &a, &x, &e) < 0)
            fail(&e);
        struct times *to[] = {&times[kind], &times[KINDS]};
        double wall = time_now_s() - t0, cpu = thread_cpu_s() - c0;
        for (size_t k = 0; k < ARRAY_LEN(to); k++) {
            to[k]->wall[to[k]->n] = wall;
            to[k]->cpu[to[k]->n++] = cpu;
        }
        str_fini(&x.plan);
        feed_query_free(q);
        arena_fini(&a);
        poll(NULL, 0, 2);
    }
    atomic_store(&p.stop, true);
    pthread_join(thread, NULL);
    for (size_t k = 0; k < KINDS; k++)
        if (times[k].n) print_times(kinds[k], &times[k]);
    print_times("all", &times[KINDS]);
    feed_store_close(store);
    if (feed_writer_close(writer, &e) < 0) fail(&e);
    str_fini(&text);
    arena_fini(&all);
}

int main(int argc, char **argv)
{
    double n;
    if (argc != 4 || parse_number(argv[3], &n) < 0 || n < 1) {
        fprintf(stderr, "usage: bench_feed ingest|v1|search|burst DIR NUMBER\n");
        return 2;
    }
    if (strcmp(argv[1], "ingest") == 0)
        ingest(argv[2], (uint64_t)n, false);
    else if (strcmp(argv[1], "v1") == 0)
        ingest(argv[2], (uint64_t)n, true);
    else if (strcmp(argv[1], "burst") == 0)
        burst(argv[2], n);
    else
        search(argv[2], (size_t)n);
    return 0;
}
