/* base_names.c: words and numbers as people type them.
 *
 * A mistyped name is answered with the one that was probably meant, and a number may carry the
 * suffix everyone uses for it. Both parsers are strict: what they do not understand whole is
 * refused, because "1O0" taken as 1 costs a training run. */
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
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
        if (distance >= (int)MAX(n, m)) continue;
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

/* ------------------------------------------------------------------ numbers */

/* 0 where there is no such suffix. */
static double suffix_factor(const char *suffix)
{
    static const struct {
        const char *suffix;
        double factor;
    } table[] = {
        {"", 1.0},   {"k", 1e3},     {"M", 1e6},     {"G", 1e9},     {"T", 1e12},
        {"P", 1e15}, {"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strcmp(suffix, table[i].suffix) == 0) return table[i].factor;
    return 0.0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copies digits, dropping single '_' between two of them; the number of digits copied. */
static size_t take_digits(const char **in, char *out, size_t *used, size_t size)
{
    const char *s = *in;
    size_t digits = 0;
    while (is_digit(*s) || (*s == '_' && digits && s[-1] != '_' && is_digit(s[1]))) {
        if (*s != '_' && *used + 1 < size) {
            out[(*used)++] = *s;
            digits++;
        } else if (*s != '_') {
            return 0; /* longer than any number worth typing */
        }
        s++;
    }
    *in = s;
    return digits;
}

/* Splits text into a plain decimal number for strtod and the factor of its suffix. */
static int number_split(const char *text, char *plain, size_t size, double *factor, bool *whole)
{
    size_t used = 0;
    const char *s = text;
    if (*s == '+' || *s == '-') plain[used++] = *s++;
    size_t digits = take_digits(&s, plain, &used, size);
    *whole = true;
    if (*s == '.') {
        *whole = false;
        plain[used++] = *s++;
        digits += take_digits(&s, plain, &used, size - 1);
    }
    if (!digits || used + 4 > size) return ERROR_FAILED;
    bool exponent = (*s == 'e' || *s == 'E');
    if (exponent) {
        *whole = false;
        plain[used++] = *s++;
        if (*s == '+' || *s == '-') plain[used++] = *s++;
        if (!take_digits(&s, plain, &used, size)) return ERROR_FAILED;
    }
    plain[used] = '\0';
    *factor = suffix_factor(s);
    return *factor > 0.0 ? 0 : ERROR_FAILED;
}

int parse_number(const char *text, double *value)
{
    char plain[80];
    double factor;
    bool whole;
    TRY(number_split(text, plain, sizeof(plain), &factor, &whole));
    double v = strtod(plain, NULL) * factor;
    if (!isfinite(v)) return ERROR_FAILED;
    *value = v;
    return 0;
}

int parse_int(const char *text, int64_t *value)
{
    char plain[80];
    double factor;
    bool whole;
    TRY(number_split(text, plain, sizeof(plain), &factor, &whole));
    if (!whole) { /* "1.5k", "2e9": exact in a double as long as it stays below 2^53 */
        double v = strtod(plain, NULL) * factor;
        if (!(fabs(v) <= 0x1p53) || v != floor(v)) return ERROR_FAILED;
        *value = (int64_t)v;
        return 0;
    }
    errno = 0;
    long long v = strtoll(plain, NULL, 10);
    int64_t scaled;
    if (errno == ERANGE || __builtin_mul_overflow((int64_t)v, (int64_t)factor, &scaled))
        return ERROR_FAILED;
    *value = scaled;
    return 0;
}
