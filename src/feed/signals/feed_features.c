/* feed_features.c: what was said about a symbol before a day of trading began.
 *
 * A day has the posts from 09:30 of New York of the day of trading before to its own 09:30, that
 * minute excluded. Likes and reposts are no features: a store has what they became, not what they were
 * then. Posts of one text, and reposts, are folded within these posts and those of the day before.
 *
 *   volume        log(1 + posts), less its mean over the twenty days before
 *   authors       the same of authors who were the first to say something
 *   novelty       texts that were not there the day before either, over posts, less its mean
 *   sentiment     mean polarity of texts, each once
 *   disagreement  standard deviation of that
 *   campaign      share of posts in texts that four and more authors posted within two hours without
 *                 saying whose it is
 *
 * Everything goes by the posts before `cut_ms` and by features of earlier days. That nothing else is
 * read is shown by taking the rest away (feed_features_guard), not by reading this file. */
#include "feed/signals/feed_signals_internal.h"

#define BEFORE      20
#define CAMPAIGN_MS (2 * 3600000)
#define CAMPAIGN_N  4

const char *const feed_signal_names[] = {"volume",       "authors",  "novelty", "sentiment",
                                         "disagreement", "campaign", NULL};

/* The first post at or after ms. */
static size_t first_at(const struct feed_said *said, size_t n, int64_t ms)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (said[mid].ms < ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct raw { /* of a day's posts */
    double posts, authors, fresh, texts, mean, deviation, campaign;
};

/* Posts of a group that is a campaign: four authors within two hours. v is of one group, by time. */
static bool is_campaign(const struct feed_voice *const *v, size_t n, const struct feed_said *said)
{
    for (size_t i = 0, k = 0; i < n; i++) {
        while (said[v[i]->seq].ms - said[v[k]->seq].ms > CAMPAIGN_MS)
            k++;
        size_t authors = 0;
        for (size_t j = k; j <= i && authors < CAMPAIGN_N; j++) {
            bool seen = false;
            for (size_t b = k; b < j && !seen; b++)
                seen = v[b]->author == v[j]->author;
            authors += !seen;
        }
        if (authors >= CAMPAIGN_N) return true;
    }
    return false;
}

static double campaign_share(const struct feed_said *said, const struct feed_voice *v, size_t n,
                             size_t today)
{
    const struct feed_voice **group = mem_alloc((n + 1) * sizeof(struct feed_voice *));
    size_t within = 0;
    for (size_t g = 0; g < n; g++) {
        size_t k = 0, own = 0;
        if (v[g].group != g) continue;
        for (size_t i = g; i < n; i++) {
            if (v[i].group != g || said[v[i].seq].original) continue;
            group[k++] = &v[i];
            own += (size_t)v[i].seq >= today;
        }
        if (k >= CAMPAIGN_N && own && is_campaign(group, k, said)) within += own;
    }
    mem_free(group);
    return (double)within;
}

/* Of the posts [today, end), and for what is new of those from `before` on. */
static struct raw measure(const struct feed_said *said, size_t before, size_t today, size_t end)
{
    struct raw r = {.posts = (double)(end - today)};
    size_t n = end - before, authors;
    if (end == today) return r;
    struct feed_voice *v = mem_calloc(n, sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        const struct feed_said *s = &said[before + i];
        v[i] = (struct feed_voice){.author = s->author,
                                   .key = s->key,
                                   .original = s->original,
                                   .seq = (int64_t)(before + i),
                                   .signature = s->signature};
    }
    feed_fold_voices(v, n, &authors);
    struct feed_keys texts = {0}, leaders = {0};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        const struct feed_said *s = &said[v[i].seq];
        if ((size_t)v[i].seq < today) continue;
        int64_t *seen = feed_keys_at(&texts, v[i].group + 1, true);
        if (*seen) continue;
        *seen = 1;
        r.texts++;
        r.fresh += v[i].leads;
        sum += s->polarity;
        squares += s->polarity * s->polarity;
        int64_t *who = feed_keys_at(&leaders, s->author, true);
        r.authors += *who == 0;
        *who = 1;
    }
    r.mean = sum / r.texts;
    r.deviation = sqrt(MAX(squares / r.texts - r.mean * r.mean, 0));
    r.campaign = campaign_share(said, v, n, today) / r.posts;
    feed_keys_fini(&texts);
    feed_keys_fini(&leaders);
    mem_free(v);
    return r;
}

static struct raw measure_day(const struct feed_said *said, size_t n_said,
                              const struct feed_day *days, size_t d)
{
    if (d == 0) return (struct raw){0}; /* when its posts begin is not known */
    size_t today = first_at(said, n_said, days[d - 1].cut_ms),
           end = first_at(said, n_said, days[d].cut_ms);
    size_t before = d > 1 ? first_at(said, n_said, days[d - 2].cut_ms) : today;
    return measure(said, before, today, end);
}

static double fresh_share(const struct raw *r)
{
    return r->posts > 0 ? r->fresh / r->posts : 0;
}

static void fill_day(const struct raw *raw, size_t d, struct feed_day *day)
{
    const struct raw *r = &raw[d];
    double volume = 0, authors = 0, fresh = 0, with = 0;
    size_t from = d > BEFORE ? d - BEFORE : 0;
    for (size_t i = from; i < d; i++) {
        volume += log1p(raw[i].posts);
        authors += log1p(raw[i].authors);
        fresh += fresh_share(&raw[i]);
        with += raw[i].posts > 0;
    }
    double n = (double)MAX(d - from, (size_t)1);
    day->posts = (size_t)r->posts;
    day->x[FEED_SIGNAL_VOLUME] = log1p(r->posts) - volume / n;
    day->x[FEED_SIGNAL_AUTHORS] = log1p(r->authors) - authors / n;
    day->x[FEED_SIGNAL_NOVELTY] = r->posts > 0 ? fresh_share(r) - fresh / MAX(with, 1) : 0;
    day->x[FEED_SIGNAL_SENTIMENT] = r->mean;
    day->x[FEED_SIGNAL_DISAGREEMENT] = r->deviation;
    day->x[FEED_SIGNAL_CAMPAIGN] = r->campaign;
}

void feed_features_fill(const struct feed_said *said, size_t n_said, struct feed_day *days,
                        size_t from, size_t to)
{
    size_t first = from > BEFORE ? from - BEFORE : 0;
    struct raw *raw = mem_calloc(to + 1, sizeof(*raw));
    for (size_t d = first; d < to; d++)
        raw[d] = measure_day(said, n_said, days, d);
    for (size_t d = from; d < to; d++)
        fill_day(raw, d, &days[d]);
    mem_free(raw);
}

size_t feed_features_guard(const struct feed_said *said, size_t n_said, const struct feed_day *days,
                           size_t n_days, size_t step)
{
    size_t wrong = 0;
    for (size_t d = 1; d < n_days; d += MAX(step, (size_t)1)) {
        /* all that was known at the cut: posts before it, days before it, and when it is */
        size_t known = first_at(said, n_said, days[d].cut_ms);
        struct feed_said *past = mem_alloc((known + 1) * sizeof(*past));
        struct feed_day *until = mem_alloc((d + 1) * sizeof(*until));
        if (known) memcpy(past, said, known * sizeof(*past));
        memcpy(until, days, (d + 1) * sizeof(*until));
        until[d].open = until[d].close = until[d].target = NAN;
        memset(until[d].x, 0xff, sizeof(until[d].x));
        feed_features_fill(past, known, until, d, d + 1);
        wrong += memcmp(until[d].x, days[d].x, sizeof(days[d].x)) != 0;
        mem_free(past);
        mem_free(until);
    }
    return wrong;
}
