/* feed_trends.c: what is talked about more than before, and by how many who do not copy each other.
 *
 *   1. every post of the window is read: of its tags, cashtags and pairs of neighbouring words those
 *      are counted that its author has not named before in the window
 *   2. of the most named ones, the index says in how many posts they stood in the windows before;
 *      what stands out is (named - expected) / sqrt(expected + 1), expected in the same measure
 *   3. of those that stand out most, the posts are looked at again: copies and reposts are folded
 *      (feed_minhash.c), and who leads a group of one text is a voice. A story's rank is
 *      (voices - expected) / sqrt(expected + 1)
 *   4. a story whose posts are those of a better one is folded into it
 *
 * A crowd that copies one text is one voice; a story of one voice says so. Nothing is kept from one
 * call to the next, so a post that was deleted is not counted. */
#include "feed/trends/feed_trends_internal.h"

#include <strings.h>
#include <xxhash.h>

#define MAX_POSTS   400000 /* of a window; with more it is cut to the newest */
#define MAX_TERMS   400    /* that are held against their history */
#define MAX_STORIES 60     /* whose posts are looked at again */
#define MAX_VOICES  4000   /* posts of a story */
#define COUNT_LIMIT 50000  /* posts of a term in its history */

struct term {
    uint64_t hash;
    int64_t named;
    double expected, score;
    char *text, *match;
    struct feed_voice *voices;
    size_t n, cap;
    uint64_t posts; /* of which voices are the newest */
    bool folded;
    struct feed_trend *trend;
};

struct finder {
    struct feed_store *s;
    const struct feed_trend_options *o;
    struct arena *a;
    struct feed_terms terms;
    struct feed_keys
        counts; /* by term's hash: authors; then its place among the chosen, plus one */
    struct feed_filter named; /* (term, author) */
    struct term *chosen;
    size_t n_chosen;
    int64_t from, to; /* seq */
    int64_t oldest;   /* seq, of the posts that were read */
    uint64_t posts;
    bool cut;
};

typedef void each_fn(struct finder *f, const struct feed_post *p, int64_t seq);

static int each_post(struct finder *f, each_fn *fn, struct error *e)
{
    f->posts = 0;
    for (size_t i = f->s->m.n; i-- > 0;) {
        struct feed_segment *s = &f->s->m.segments[i];
        sqlite3_stmt *q;
        int rc;
        TRY(feed_segment_open(s, false, e));
        TRY(feed_segment_query(s, FEED_Q_SCAN, &q, e));
        sqlite3_bind_text(q, 1, "", -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 2, f->from);
        sqlite3_bind_int64(q, 3, f->to);
        while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
            struct feed_post p;
            if (f->posts++ >= MAX_POSTS) {
                f->cut = true;
                break;
            }
            feed_row_post(q, 0, &p);
            fn(f, &p, sqlite3_column_int64(q, 0));
        }
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) feed_sql_error(s->db, s->path, e);
        sqlite3_reset(q);
        if (rc == SQLITE_ROW) return 0;
        if (rc != SQLITE_DONE) return ERROR_FAILED;
    }
    return 0;
}

static uint64_t author_of(const struct feed_post *p)
{
    return feed_key(p->service, "u", p->author_id.n ? p->author_id : p->author);
}

/* A word that says something next to another one: four bytes and more, not all digits. */
static bool is_telling(const struct feed_terms *t, const struct feed_term *x)
{
    const char *s = feed_term_text(t, x);
    if (x->kind != FEED_WORD || x->n < 4) return false;
    if ((uint8_t)s[0] >= 0xf0 || (uint8_t)s[0] == 0xe2) return false; /* emoji, other signs */
    for (uint32_t i = 0; i < x->n; i++)
        if (s[i] < '0' || s[i] > '9') return true;
    return false;
}

/* The next candidate of the post's terms from *i on, its hash in *hash; false: none is left. A pair
 * of words is items i and i + 1. */
static bool next_candidate(const struct feed_terms *t, size_t *i, uint64_t *hash, bool *pair)
{
    for (; *i < t->n; ++*i) {
        const struct feed_term *x = &t->items[*i];
        *pair = false;
        *hash = x->hash;
        if (x->kind == FEED_TAG || x->kind == FEED_CASH) return true;
        if (*i + 1 == t->n || !is_telling(t, x) || !is_telling(t, x + 1)) continue;
        if (x[1].pos != x->pos + 1) continue;
        *pair = true;
        *hash = x->hash * 31 + x[1].hash;
        return true;
    }
    return false;
}

static bool is_of_language(const struct finder *f, const struct feed_post *p)
{
    const char *lang = f->o->lang;
    return !lang || (p->lang.n == strlen(lang) && strncasecmp(p->lang.s, lang, p->lang.n) == 0);
}

static void count_post(struct finder *f, const struct feed_post *p, int64_t seq)
{
    uint64_t hash, author = author_of(p);
    bool pair;
    f->oldest = MIN(f->oldest, seq);
    if (!is_of_language(f, p)) return;
    feed_terms_clear(&f->terms);
    feed_terms_of_text(&f->terms, p->text.s, p->text.n);
    for (size_t i = 0; next_candidate(&f->terms, &i, &hash, &pair); i++) {
        uint64_t both = hash * 0x9e3779b97f4a7c15ULL ^ author;
        if (feed_filter_has(&f->named, both)) continue;
        feed_filter_add(&f->named, both);
        ++*feed_keys_at(&f->counts, hash, true);
    }
}

static int by_named(const void *a, const void *b)
{
    const struct term *x = a, *y = b;
    if (x->named != y->named) return x->named < y->named ? 1 : -1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int by_score(const void *a, const void *b)
{
    const struct term *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    bool tag = x->text && strchr("#$", x->text[0]), other = y->text && strchr("#$", y->text[0]);
    if (tag != other) return tag ? -1 : 1; /* a tag names a story better than two of its words */
    return by_named(a, b);
}

/* The candidates that most authors named; the others are forgotten. */
static void choose(struct finder *f)
{
    size_t n = 0;
    struct term *all = mem_calloc(f->counts.n + 1, sizeof(*all));
    for (size_t i = 0; i < f->counts.cap; i++) {
        const struct feed_map_item *x = &f->counts.items[i];
        if (x->used && x->value >= f->o->min_authors)
            all[n++] = (struct term){.hash = x->key, .named = x->value};
    }
    if (n) qsort(all, n, sizeof(*all), by_named);
    f->n_chosen = MIN(n, (size_t)MAX_TERMS);
    f->chosen = all;
}

static void index_chosen(struct finder *f)
{
    feed_keys_clear(&f->counts);
    for (size_t i = 0; i < f->n_chosen; i++)
        *feed_keys_at(&f->counts, f->chosen[i].hash, true) = (int64_t)i + 1;
}

/* What the chosen are called, and what the index is asked for each. */
static void name_post(struct finder *f, const struct feed_post *p, int64_t seq)
{
    uint64_t hash;
    bool pair;
    (void)seq;
    feed_terms_clear(&f->terms);
    feed_terms_of_text(&f->terms, p->text.s, p->text.n);
    for (size_t i = 0; next_candidate(&f->terms, &i, &hash, &pair); i++) {
        const int64_t *at = feed_keys_at(&f->counts, hash, false);
        if (!at || !*at || f->chosen[*at - 1].text) continue;
        struct term *t = &f->chosen[*at - 1];
        const struct feed_term *x = &f->terms.items[i];
        const char *first = feed_term_text(&f->terms, x),
                   *second = feed_term_text(&f->terms, x + pair);
        t->text = pair ? arena_printf(f->a, "%.*s %.*s", (int)x->n, first, (int)x[1].n, second)
                       : arena_strndup(f->a, first, x->n);
        t->match = pair ? arena_printf(f->a, "\"%.*s\" AND \"%.*s\"", (int)x->n, first, (int)x[1].n,
                                       second)
                        : arena_printf(f->a, "\"%.*s\"", (int)x->n, first);
    }
}

static int count_between(struct finder *f, const char *match, int64_t from, int64_t to,
                         int64_t *out, struct error *e)
{
    *out = 0;
    for (size_t i = 0; i < f->s->m.n && *out < COUNT_LIMIT; i++) {
        struct feed_segment *s = &f->s->m.segments[i];
        sqlite3_stmt *q;
        TRY(feed_segment_query(s, FEED_Q_BETWEEN, &q, e));
        sqlite3_bind_text(q, 1, match, -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 2, from);
        sqlite3_bind_int64(q, 3, to);
        sqlite3_bind_int(q, 4, COUNT_LIMIT);
        int rc = sqlite3_step(q);
        if (rc == SQLITE_ROW) *out += sqlite3_column_int64(q, 0);
        if (rc != SQLITE_ROW) feed_sql_error(s->db, s->path, e);
        sqlite3_reset(q);
        if (rc != SQLITE_ROW) return ERROR_FAILED;
    }
    return 0;
}

static int oldest_of(struct finder *f, int64_t *oldest, struct error *e)
{
    *oldest = INT64_MAX;
    for (size_t i = 0; i < f->s->m.n; i++) {
        int64_t first;
        struct feed_segment *s = &f->s->m.segments[i];
        TRY(feed_sql_int(s->db, s->path, "SELECT min(seq) FROM posts", &first, e));
        if (first) *oldest = MIN(*oldest, first);
    }
    return 0;
}

/* How much each of the chosen was to be expected, in authors, by the windows before. */
static int hold_against_history(struct finder *f, double *covered, struct error *e)
{
    const int64_t window = f->to - f->from;
    int64_t oldest, begin = f->from - (int64_t)f->o->history * window;
    TRY(oldest_of(f, &oldest, e));
    begin = MAX(MAX(begin, oldest), feed_manifest_oldest(&f->s->m));
    *covered = begin < f->from ? (double)(f->from - begin) / (double)window : 0;
    for (size_t i = 0; i < f->n_chosen; i++) {
        struct term *t = &f->chosen[i];
        int64_t before = 0, now = 0;
        if (!t->match) continue;
        if (*covered > 0) TRY(count_between(f, t->match, begin, f->from - 1, &before, e));
        TRY(count_between(f, t->match, f->from, f->to, &now, e));
        double share = now ? (double)t->named / (double)now : 1;
        t->expected = *covered >= 0.5 ? (double)before / *covered * MIN(share, 1.0) : 0;
        t->score = ((double)t->named - t->expected) / sqrt(t->expected + 1);
    }
    qsort(f->chosen, f->n_chosen, sizeof(*f->chosen), by_score);
    f->n_chosen = MIN(f->n_chosen, (size_t)MAX_STORIES);
    while (f->n_chosen &&
           (f->chosen[f->n_chosen - 1].score <= 0 || !f->chosen[f->n_chosen - 1].text))
        f->n_chosen--;
    return 0;
}

static void voice_post(struct finder *f, const struct feed_post *p, int64_t seq)
{
    uint64_t hash;
    bool pair, signed_already = false;
    struct feed_signature signature;
    if (!is_of_language(f, p)) return;
    feed_terms_clear(&f->terms);
    feed_terms_of_text(&f->terms, p->text.s, p->text.n);
    for (size_t i = 0; next_candidate(&f->terms, &i, &hash, &pair); i++) {
        const int64_t *at = feed_keys_at(&f->counts, hash, false);
        if (!at || !*at) continue;
        struct term *t = &f->chosen[*at - 1];
        if (t->n && t->voices[t->n - 1].seq == seq) continue; /* named twice */
        t->posts++;
        if (t->n == MAX_VOICES) continue;
        if (t->n == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 64;
            t->voices = mem_realloc(t->voices, t->cap * sizeof(*t->voices));
        }
        if (!signed_already) feed_signature_of(&f->terms, &signature);
        signed_already = true;
        t->voices[t->n++] = (struct feed_voice){
            .author = author_of(p),
            .key = feed_key(p->service, "p", p->id),
            .original = p->repost_of.n ? feed_key(p->service, "p", p->repost_of) : 0,
            .seq = seq,
            .signature = signature};
    }
}

static int read_post(struct finder *f, int64_t seq, struct feed_post *out, struct error *e)
{
    for (size_t i = 0; i < f->s->m.n; i++) {
        struct feed_segment *s = &f->s->m.segments[i];
        sqlite3_stmt *q;
        TRY(feed_segment_query(s, FEED_Q_GET, &q, e));
        sqlite3_bind_int64(q, 1, seq);
        bool there = sqlite3_step(q) == SQLITE_ROW;
        if (there) {
            feed_row_post(q, 0, out);
            feed_post_copy(out, f->a);
        }
        sqlite3_reset(q);
        if (there) break;
    }
    return 0;
}

/* Voices, copies, span and spread of a story. */
static int tell(struct finder *f, struct term *t, struct feed_trend *x, struct error *e)
{
    size_t groups = feed_fold_voices(t->voices, t->n, &x->voices);
    x->term = t->text;
    x->posts = t->posts;
    x->copies = t->n - groups;
    x->expected = t->expected * (double)x->voices / (double)MAX(t->named, 1);
    x->score = ((double)x->voices - x->expected) / sqrt(x->expected + 1);
    x->first_ms = feed_ms_of_seq(t->voices[0].seq);
    x->last_ms = feed_ms_of_seq(t->voices[t->n - 1].seq);
    for (size_t i = 0; i < t->n; i++) {
        double at = (double)(t->voices[i].seq - f->from) / ((double)(f->to - f->from) + 1);
        size_t part = MIN((size_t)(at * FEED_SPREAD), (size_t)FEED_SPREAD - 1);
        x->spread[part]++;
        x->led[part] += t->voices[i].leads;
    }
    t->score = x->score;
    t->trend = x;
    return read_post(f, t->voices[0].seq, &x->first, e);
}

/* Whether most posts of b are posts of a; both sorted by seq. */
static bool is_within(const struct term *a, const struct term *b)
{
    size_t same = 0;
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        same += a->voices[i].seq == b->voices[k].seq;
        if (a->voices[i].seq < b->voices[k].seq)
            i++;
        else
            k++;
    }
    return 10 * same >= 6 * b->n;
}

static void fold_stories(struct finder *f, struct feed_trends *out)
{
    qsort(f->chosen, f->n_chosen, sizeof(*f->chosen), by_score);
    for (size_t i = 0; i < f->n_chosen; i++) {
        struct term *t = &f->chosen[i];
        for (size_t k = 0; k < i && t->trend && !t->folded; k++) {
            struct term *better = &f->chosen[k];
            if (better->folded || !better->trend || !is_within(better, t)) continue;
            t->folded = true;
            struct feed_trend *x = better->trend;
            if (x->n_also < ARRAY_LEN(x->also)) x->also[x->n_also++] = t->text;
        }
    }
    for (size_t i = 0; i < f->n_chosen && (int64_t)out->n < f->o->limit; i++) {
        const struct term *t = &f->chosen[i];
        if (!t->folded && t->trend && t->score > 0) out->trends[out->n++] = *t->trend;
    }
}

static int find_all(struct finder *f, struct feed_trends *out, struct error *e)
{
    f->oldest = f->to;
    TRY(each_post(f, count_post, e));
    out->posts = f->posts;
    if (f->cut) { /* the window that was read, and history in windows as long */
        f->from = f->oldest;
        out->window_s = (double)(f->to - f->from) / (1 << FEED_SEQ_BITS) / 1000;
    }
    choose(f);
    index_chosen(f);
    TRY(each_post(f, name_post, e));
    TRY(hold_against_history(f, &out->covered, e));
    index_chosen(f);
    TRY(each_post(f, voice_post, e));
    out->cut = f->cut;
    struct feed_trend *all = arena_alloc(f->a, (f->n_chosen + 1) * sizeof(*all));
    out->trends = arena_alloc(f->a, (f->n_chosen + 1) * sizeof(*out->trends));
    for (size_t i = 0; i < f->n_chosen; i++)
        if (f->chosen[i].n) TRY(tell(f, &f->chosen[i], &all[i], e));
    fold_stories(f, out);
    return 0;
}

int feed_trends(feed_store_t *s, const struct feed_trend_options *o, struct arena *a,
                struct feed_trends *out, struct error *e)
{
    struct feed_trend_options filled = *o;
    struct finder f = {.s = s, .o = &filled, .a = a};
    int64_t newest = 0;
    if (filled.window_s <= 0) filled.window_s = 3600;
    if (filled.window_s > 1e9)
        return error_set_code(e, ERROR_USAGE, "a window of trends has at most 11,574 days");
    if (filled.history <= 0) filled.history = 24;
    if (filled.limit <= 0) filled.limit = 20;
    if (filled.min_authors <= 0) filled.min_authors = 3;
    *out = (struct feed_trends){0};
    TRY(feed_manifest_refresh(&s->m, e));
    for (size_t i = 0; i < s->m.n; i++) {
        int64_t last;
        struct feed_segment *seg = &s->m.segments[i];
        TRY(feed_segment_open(seg, false, e));
        TRY(feed_sql_int(seg->db, seg->path, "SELECT max(seq) FROM posts", &last, e));
        if (last) newest = MAX(newest, feed_ms_of_seq(last));
    }
    int64_t now = filled.now_ms ? filled.now_ms : MIN(newest, feed_now_ms());
    f.to = feed_seq_of_ms(now + 1) - 1;
    f.from = feed_seq_of_ms(now - (int64_t)(filled.window_s * 1000));
    f.from = MAX(f.from, feed_manifest_oldest(&s->m));
    out->now_ms = now;
    out->window_s = filled.window_s;
    f.oldest = f.to;
    feed_filter_init(&f.named, 4000000);
    int rc = find_all(&f, out, e);
    for (size_t i = 0; i < f.n_chosen; i++)
        mem_free(f.chosen[i].voices);
    mem_free(f.chosen);
    feed_keys_fini(&f.counts);
    feed_filter_fini(&f.named);
    feed_terms_fini(&f.terms);
    return rc;
}

json_t *feed_trends_json(const struct feed_trends *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n; i++) {
        const struct feed_trend *t = &x->trends[i];
        json_t *spread = json_array(), *led = json_array(), *also = json_array();
        for (size_t k = 0; k < FEED_SPREAD; k++) {
            json_array_append_new(spread, json_integer((json_int_t)t->spread[k]));
            json_array_append_new(led, json_integer((json_int_t)t->led[k]));
        }
        for (size_t k = 0; k < t->n_also; k++)
            json_array_append_new(also, json_string(t->also[k]));
        json_array_append_new(
            list,
            json_pack("{s:s,s:I,s:I,s:I,s:f,s:f,s:I,s:I,s:b,s:o,s:o,s:o,s:o}", "term", t->term,
                      "posts", (json_int_t)t->posts, "voices", (json_int_t)t->voices, "copies",
                      (json_int_t)t->copies, "expected", t->expected, "score", t->score, "first_ms",
                      (json_int_t)t->first_ms, "last_ms", (json_int_t)t->last_ms, "single_source",
                      (int)(t->voices <= 1), "first", feed_post_to_json(&t->first), "spread",
                      spread, "voices_over_time", led, "also", also));
    }
    return json_pack("{s:o,s:I,s:I,s:f,s:f,s:b}", "trends", list, "posts", (json_int_t)x->posts,
                     "now_ms", (json_int_t)x->now_ms, "window_s", x->window_s, "history_windows",
                     x->covered, "cut", (int)x->cut);
}
