/* feed_minhash.c: near-duplicates found without comparing each post with each.
 *
 * A signature has 32 minima. Eight bands of four are looked up in a table; posts that share a band
 * are compared, and are of one group where 0.6 of their signatures agree. Of two texts as like as
 * that, 0.66 share a band; at 0.8, 0.98. */
#include "feed/trends/feed_trends_internal.h"

#define BANDS    8
#define ROWS     (FEED_MINHASHES / BANDS)
#define LIKENESS 0.6

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

void feed_signature_of(const struct feed_terms *t, struct feed_signature *out)
{
    uint64_t words[3] = {0};
    size_t n = 0;
    memset(out->mins, 0xff, sizeof(out->mins));
    for (size_t i = 0; i <= t->n; i++) {
        bool word = i < t->n && t->items[i].kind == FEED_WORD;
        if (i < t->n && !word) continue;
        if (word) {
            words[0] = words[1];
            words[1] = words[2];
            words[2] = t->items[i].hash;
            n++;
        }
        if (n < 3 && i < t->n) continue; /* a text of one or two words is one piece */
        if (i == t->n && n >= 3) break;
        uint64_t piece = mix(words[0] * 3 + mix(words[1] * 5 + mix(words[2])));
        for (uint64_t k = 0; k < FEED_MINHASHES; k++) {
            uint32_t h = (uint32_t)(mix(piece + k * 0x9e3779b97f4a7c15ULL) >> 32);
            if (h < out->mins[k]) out->mins[k] = h;
        }
    }
}

double feed_signature_likeness(const struct feed_signature *a, const struct feed_signature *b)
{
    size_t same = 0;
    for (size_t k = 0; k < FEED_MINHASHES; k++)
        same += a->mins[k] == b->mins[k];
    return (double)same / FEED_MINHASHES;
}

/* The first of the group that i belongs to, by links to earlier ones. */
static size_t find(struct feed_voice *v, size_t i)
{
    while (v[i].group != i) {
        v[i].group = v[v[i].group].group;
        i = v[i].group;
    }
    return i;
}

static void join(struct feed_voice *v, size_t a, size_t b)
{
    a = find(v, a);
    b = find(v, b);
    if (a < b)
        v[b].group = a;
    else
        v[a].group = b;
}

static int by_seq(const void *a, const void *b)
{
    const struct feed_voice *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

size_t feed_fold_voices(struct feed_voice *v, size_t n, size_t *authors)
{
    struct feed_keys table = {0}, leaders = {0};
    size_t groups = 0;
    *authors = 0;
    if (n) qsort(v, n, sizeof(*v), by_seq);
    for (size_t i = 0; i < n; i++)
        v[i].group = i;
    for (size_t i = 0; i < n; i++) {
        uint64_t original = v[i].original ? v[i].original : v[i].key;
        int64_t *at = feed_keys_at(&table, mix(original), true);
        if (*at)
            join(v, (size_t)*at - 1, i);
        else
            *at = (int64_t)i + 1;
        for (size_t b = 0; b < BANDS; b++) {
            uint64_t h = b + 1;
            for (size_t k = 0; k < ROWS; k++)
                h = mix(h ^ v[i].signature.mins[b * ROWS + k]);
            at = feed_keys_at(&table, h, true);
            if (*at == 0)
                *at = (int64_t)i + 1;
            else if (feed_signature_likeness(&v[*at - 1].signature, &v[i].signature) >= LIKENESS)
                join(v, (size_t)*at - 1, i);
        }
    }
    for (size_t i = 0; i < n; i++) {
        v[i].leads = find(v, i) == i;
        if (!v[i].leads) continue;
        groups++;
        int64_t *seen = feed_keys_at(&leaders, v[i].author, true);
        *authors += *seen == 0;
        *seen = 1;
    }
    for (size_t i = 0; i < n; i++)
        v[i].group = find(v, i);
    feed_keys_fini(&table);
    feed_keys_fini(&leaders);
    return groups;
}
