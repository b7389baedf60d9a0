/* cluster_fault.c: faults that a test tells ranks to have, as a text: KIND:rank=R@step=S, several with
 * commas between them. */
#include "cluster/launch/cluster_launch_internal.h"

#include <string.h>

static const char *const kinds[CLUSTER_FAULTS + 1] = {"kill", "hang", "freeze",
                                                      "slow", "flip", NULL};

const char *launch_fault_word(enum cluster_fault_kind k)
{
    return kinds[k];
}

static int wrong(const char *at, size_t n, const char *what, struct error *e)
{
    error_set_code(e, ERROR_USAGE, "'%.*s' is no fault: %s", (int)MIN(n, (size_t)80), at, what);
    return error_hint(e, "for example kill:rank=1@step=5; kinds: kill, hang, freeze, slow, flip");
}

/* "name=NUMBER" at the head of text; NULL: it is not that, or not a number up to max. */
static const char *read_field(const char *text, const char *name, int64_t max, int64_t *out)
{
    char digits[20];
    size_t n = strlen(name);
    if (strncmp(text, name, n) != 0) return NULL;
    size_t count = strspn(text + n, "0123456789");
    if (count == 0 || count >= sizeof(digits)) return NULL;
    memcpy(digits, text + n, count);
    digits[count] = '\0';
    if (parse_int(digits, out) < 0 || *out > max) return NULL;
    return text + n + count;
}

static int read_one(const char *at, size_t n, struct cluster_fault *f, struct error *e)
{
    int64_t rank, step;
    size_t kind = 0, word = strcspn(at, ":,");
    while (kinds[kind] && (strlen(kinds[kind]) != word || memcmp(at, kinds[kind], word) != 0))
        kind++;
    if (!kinds[kind]) return wrong(at, n, "its kind is not known", e);
    if (at[word] != ':') return wrong(at, n, "behind its kind stands no ':'", e);
    const char *rest = read_field(at + word + 1, "rank=", CLUSTER_RANKS_MAX - 1, &rank);
    if (!rest) return wrong(at, n, "'rank=' and a number are missing", e);
    rest = read_field(rest, "@step=", (int64_t)1 << 50, &step);
    if (!rest || step < 1) return wrong(at, n, "'@step=' and a number from 1 on are missing", e);
    if (rest != at + n) return wrong(at, n, "something stands behind the step", e);
    *f = (struct cluster_fault){(enum cluster_fault_kind)kind, (int)rank, step};
    return 0;
}

int cluster_faults_parse(const char *list, struct cluster_fault *out, size_t *n, struct error *e)
{
    *n = 0;
    if (!*list) return wrong(list, 0, "it is empty", e);
    for (const char *at = list; *at;) {
        size_t length = strcspn(at, ",");
        if (*n == CLUSTER_FAULTS_MAX)
            return error_set_code(e, ERROR_USAGE, "more than %d faults", CLUSTER_FAULTS_MAX);
        TRY(read_one(at, length, &out[*n], e));
        ++*n;
        at += length;
        if (*at == ',' && !*++at) return wrong(list, strlen(list), "it ends in a comma", e);
    }
    return 0;
}

void launch_faults_print(const struct cluster_fault *f, size_t n, struct str *out)
{
    for (size_t i = 0; i < n; i++)
        str_printf(out, "%s%s:rank=%d@step=%lld", out->len ? "," : "", kinds[f[i].kind], f[i].rank,
                   (long long)f[i].step);
}
