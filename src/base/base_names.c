/* base_names.c: a mistyped name is answered with the one that was probably meant. */
#include "base/base.h"

#include <string.h>

#define NAME_MAX_LENGTH 64

/* Insertions, deletions, substitutions and swaps of neighbours, each of cost 1 ("optimal string
 * alignment"). Three rows of the table are enough. */
static int name_distance(const char *a, size_t n, const char *b, size_t m)
{
    int rows[3][NAME_MAX_LENGTH + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int cost = a[i - 1] != b[j - 1];
            int best = MIN(MIN(last[j] + 1, now[j - 1] + 1), last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, before[j - 2] + 1);
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

/* Two edits make "dir" of "lr" and "cost" of "fast": of a short word they leave too little, unless
 * it begins the same. */
static bool is_far(const char *word, size_t n, const char *other, int distance)
{
    return distance >= 2 && n < 6 && (n < 3 || word[0] != other[0]);
}

const char *name_nearest(const char *word, const char *const *candidates, size_t count)
{
    size_t n = strlen(word);
    if (n > NAME_MAX_LENGTH) return NULL;
    int best_distance = (int)MAX(2, n / 3);
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t m = strlen(candidates[i]);
        /* Each letter that one has more is an edit. */
        if (m > NAME_MAX_LENGTH || (int)(n > m ? n - m : m - n) > best_distance) continue;
        int distance = name_distance(word, n, candidates[i], m);
        /* Two edits turn "x" into "up": with nothing in common it is not what was meant. */
        if (distance >= (int)MAX(n, m) || is_far(word, n, candidates[i], distance)) continue;
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* Edits between the sections of two keys that end alike. */
static int section_distance(const char *a, const char *b)
{
    size_t n = (size_t)(last_part(a) - a), m = (size_t)(last_part(b) - b);
    if (n > NAME_MAX_LENGTH || m > NAME_MAX_LENGTH) return NAME_MAX_LENGTH;
    return name_distance(a, n, b, m);
}

const char *name_nearest_key(const char *key, const char *const *keys, size_t count)
{
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(last_part(keys[i]), last_part(key)) != 0) continue;
        if (!best || section_distance(key, keys[i]) < section_distance(key, best)) best = keys[i];
    }
    if (!best) best = name_nearest(key, keys, count);
    for (size_t i = 0; i < count && !best; i++) {
        const char *last = last_part(keys[i]);
        if (!strchr(key, '.') && name_nearest(key, &last, 1)) best = keys[i];
    }
    for (size_t i = 0; i < count && !best; i++)
        if (key[0] && strncmp(keys[i], key, strlen(key)) == 0) best = keys[i];
    return best;
}
